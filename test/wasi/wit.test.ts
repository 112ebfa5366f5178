import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { parseInterface, type WitInterface, type WitType } from '../../src/wasi/wit.ts';
import { typedSample } from './samples.ts';

const parse = (body: string, known: readonly WitInterface[] = []): WitInterface =>
  parseInterface('test:a/b', body, new Map(known.map((one) => [one.name, one])));

const refused = (body: string, message: RegExp): void => {
  assert.throws(() => parse(body), { code: 'INTERNAL', message });
};

/** Prints a type the way WIT writes it; named types go to `declarations`. */
function print(type: WitType, declarations: string[]): string {
  const inner = (one: WitType): string => print(one, declarations);
  const payload = (one: WitType | null): string => (one === null ? '' : `(${inner(one)})`);
  const declare = (keyword: string, items: readonly string[]): string => {
    const name = `t${declarations.length}`;
    declarations.push('');
    const text = `${keyword} ${name} { ${items.join(', ')}, }`;
    declarations.push(text);
    return name;
  };
  switch (type.kind) {
    case 'list':
      return `list<${inner(type.element)}>`;
    case 'option':
      return `option<${inner(type.some)}>`;
    case 'tuple':
      return `tuple<${type.items.map(inner).join(', ')}>`;
    case 'result': {
      if (type.err === null) return type.ok === null ? 'result' : `result<${inner(type.ok)}>`;
      return `result<${type.ok === null ? '_' : inner(type.ok)}, ${inner(type.err)}>`;
    }
    case 'record':
      return declare(
        'record',
        type.fields.map(([name, field]) => `${name}: ${inner(field)}`),
      );
    case 'variant':
      return declare(
        'variant',
        type.cases.map(([name, one]) => `${name}${payload(one)}`),
      );
    case 'enum':
      return declare('enum', type.names);
    case 'flags':
      return declare('flags', type.names);
    default:
      return type.kind;
  }
}

suite('parseInterface', () => {
  test('reads back every type that can be written', () => {
    fc.assert(
      fc.property(typedSample, ({ type }) => {
        const declarations: string[] = [];
        const text = print(type, declarations);
        const { types } = parse(`${declarations.join('\n')}\ntype whole = ${text};`);
        assert.deepEqual(types.get('whole'), type);
      }),
      { numRuns: 200 },
    );
  });

  test('names functions as the component model exports them', () => {
    const { funcs, resources } = parse(`
      resource thing {
        constructor(size: u32);
        get: func() -> u8;
        join: static func(a: thing, b: borrow<thing>) -> thing;
      }
      free: func();`);
    const own = { kind: 'own', resource: 'test:a/b#thing' };
    const borrow = { kind: 'borrow', resource: 'test:a/b#thing' };
    assert.deepEqual(resources, ['thing']);
    assert.deepEqual(
      [...funcs.values()],
      [
        { name: '[constructor]thing', params: [['size', { kind: 'u32' }]], result: own },
        { name: '[method]thing.get', params: [['self', borrow]], result: { kind: 'u8' } },
        {
          name: '[static]thing.join',
          params: [
            ['a', own],
            ['b', borrow],
          ],
          result: own,
        },
        { name: 'free', params: [], result: null },
      ],
    );
  });

  test('a used resource keeps the name of the interface that defines it', () => {
    const defining = parseInterface('test:x/y', 'resource r; type alias = u8;', new Map());
    const { types, resources } = parse('use test:x/y.{r, alias,}; take: func(r: r) -> alias;', [defining]);
    assert.deepEqual(types.get('r'), { kind: 'own', resource: 'test:x/y#r' });
    assert.deepEqual(types.get('alias'), { kind: 'u8' });
    assert.deepEqual(resources, []);
  });

  test('a resource may be used before it is declared, a value type may not', () => {
    assert.ok(parse('make: func() -> late; resource late;').funcs.has('make'));
    refused('make: func() -> late; type late = u8;', /type late is not declared before its use/);
  });

  test('% makes a name of a keyword, and comments are skipped', () => {
    const { types, funcs } = parse(`
      // record not-this { a: u8 }
      record r { %type: u8, %stream: u16 } // nor this
      %use: func(%flags: u8);`);
    assert.deepEqual(types.get('r'), {
      kind: 'record',
      fields: [
        ['type', { kind: 'u8' }],
        ['stream', { kind: 'u16' }],
      ],
    });
    assert.deepEqual(funcs.get('use')?.params, [['flags', { kind: 'u8' }]]);
  });

  test('what is not WIT is refused with what was expected', () => {
    refused('f: func(', /unexpected end/);
    refused('f: func() -> u8', /unexpected end/);
    refused('f: u8;', /expected func, found u8/);
    refused('f: func(); f: func();', /function f declared twice/);
    refused('type t = u8; f: func(a: borrow<t>);', /borrow of a type that is not a resource/);
    refused('use test:x/y.{r};', /not declared before: test:x\/y/);
    refused('f: func() -> @u8;', /no token at character 13/);
  });

  test('use of a name that the other interface lacks is refused', () => {
    const empty = parseInterface('test:x/y', '', new Map());
    assert.throws(() => parse('use test:x/y.{r};', [empty]), { code: 'INTERNAL', message: /test:x\/y has no type r/ });
  });
});
