import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { parse } from '@bytecodealliance/jco';
import { decodeComponent } from '../../src/wasm/link.ts';
import { thawError } from './linked.ts';

/** `links` components, each of which instantiates the one before it `uses` times. */
const chain = (links: number, uses: number): string =>
  Array.from({ length: links }, (_, at) => {
    const inside = at === 0 ? '' : `(instance (instantiate $c${at - 1}))`.repeat(uses);
    return `(component $c${at} ${inside})`;
  }).join('') + `(instance (instantiate $c${links - 1}))`;

/** `count` tuples, from type index `first` + 1 on, of twice the type before. */
const doubling = (first: number, count: number): string =>
  Array.from({ length: count }, (_, at) => `(type (tuple ${first + at} ${first + at}))`).join('');

describe('decodeComponent() refuses what thaw does not run, by name', () => {
  const lifted =
    '(core module $m (func (export "f"))) (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f")))';
  const cases: [string, string, RegExp][] = [
    ['composed components', `${lifted} (core func (canon lower (func $f)))`, /one composed component to another/],
    [
      'an imported core module',
      '(core type $t (module)) (import "m" (core module (type $t)))',
      /import "m" of a core module/,
    ],
    ['an imported component', '(import "c" (component))', /import "c" of a component/],
    [
      'an instance inside an interface',
      '(import "a:b/c" (instance (export "d" (instance))))',
      /instance "d" inside .* "a:b\/c"/,
    ],
    [
      'an exported import',
      '(import "f" (func $f)) (export "g" (func $f))',
      /export "g" is a function that the component imports/,
    ],
    ['an exported component', '(component $c) (export "c" (component $c))', /export "c" is a component/],
    ['an exported core module', '(core module $c) (export "c" (core module $c))', /export "c" is a core module/],
    [
      'a lifted host function',
      '(import "f" (func $f)) (core func $l (canon lower (func $f))) (func (canon lift (core func $l)))',
      /that is lifted is not of a core module/,
    ],
    ['a type without end', `(type u8) ${doubling(0, 40)}`, /type of more than 2000 parts/],
    [
      'a type without end in an interface',
      `(import "a:b/c" (instance (type u8) ${doubling(0, 40)}))`,
      /type of more than 2000 parts/,
    ],
    ['instantiations without end', chain(30, 2), /more than 1000000 definitions/],
    ['instantiations 101 deep', chain(102, 1), /more than 100 levels/],
  ];
  for (const [name, wat, message] of cases) {
    it(name, async () => {
      const bytes = await parse(`(component ${wat})`);
      assert.throws(() => decodeComponent(bytes), thawError('COMPONENT_UNSUPPORTED', message));
    });
  }
});

describe('decodeComponent() says what is wrong in a component that does not hold together', () => {
  const importing = '(core module $m (import "a" "b" (func))) ';
  const cases: [string, string, RegExp][] = [
    [
      'core module index',
      '(core instance (instantiate 3))',
      /core module index 3, where there are 0 at byte offset 0x/,
    ],
    ['func index', '(import "f" (func)) (core func (canon lower (func 1)))', /func index 1, where there are 1/],
    ['type index of an import', '(import "i" (instance (type 2)))', /type index 2, where there are 0/],
    ['type index inside a type', '(type (list 7))', /type index 7, where there are 0/],
    [
      'a component in itself',
      '(component (alias outer 1 0 (component)) (instance (instantiate 0))) (instance (instantiate 0))',
      /component index 0, where there are 0/,
    ],
    ['alias beyond the outermost', '(alias outer 1 0 (type))', /out of the outermost component/],
    [
      'alias of nothing',
      '(import "i" (instance)) (alias export 0 "f" (func))',
      /func "f" of instance 0, which has no such export/,
    ],
    [
      'alias of another sort',
      '(import "i" (instance (export "f" (func)))) (alias export 0 "f" (instance))',
      /instance "f" of instance 0, which has a func/,
    ],
    [
      'core import given nothing',
      `${importing} (core instance (instantiate $m))`,
      /import "a" "b" of core module "m", a func, given nothing/,
    ],
    [
      'core import given another kind',
      `(core module $n (memory (export "b") 1)) ${importing} (core instance $n (instantiate $n)) (core instance (instantiate $m (with "a" (instance $n))))`,
      /a func, given a core memory/,
    ],
    [
      'component import given nothing',
      '(component $c (import "x" (func))) (instance (instantiate $c))',
      /func import "x" of component 0 given nothing/,
    ],
    ['an import twice', '(import "f" (func)) (import "f" (func))', /name "f" given twice/],
    ['an export twice', '(type u8) (export "t" (type 0)) (export "t" (type 0))', /name "t" given twice/],
    ['a function of no function type', '(type u8) (import "f" (func (type 0)))', /type 0 is no function type/],
    ['an instance of no instance type', '(type u8) (import "i" (instance (type 0)))', /type 0 is no instance type/],
    ['a handle of no resource', '(type u8) (type (own 0))', /type 0 is no resource type/],
    ['a list of functions', '(type (func)) (type (list 0))', /type 0 is no value type/],
    [
      'a drop of no resource',
      '(type u8) (core func (canon resource.drop 0))',
      /resource\.drop of type 0, no resource type/,
    ],
    [
      'a lift to no function type',
      '(core module $m (func (export "f"))) (core instance $i (instantiate $m)) (type u8) (alias core export $i "f" (core func $f)) (func (type 0) (canon lift (core func $f)))',
      /lifted to type 0, no function type/,
    ],
  ];
  for (const [name, wat, message] of cases) {
    it(name, async () => {
      const bytes = await parse(`(component ${wat})`);
      assert.throws(() => decodeComponent(bytes), thawError('WASM_MALFORMED', message));
    });
  }

  it('names the core module that is damaged, and where it begins', async () => {
    const bytes = await parse('(component (core module $broken (func (export "f"))) (core instance (instantiate 0)))');
    const at = bytes.findIndex(
      (_, index) => index > 8 && isDeepStrictEqual(bytes.slice(index, index + 4), bytes.slice(0, 4)),
    );
    bytes[at + 4] = 2;
    const message = new RegExp(`in core module "broken", which begins at byte offset 0x${at.toString(16)} of`);
    assert.throws(() => decodeComponent(bytes), thawError('WASM_MALFORMED', message));
  });
});
