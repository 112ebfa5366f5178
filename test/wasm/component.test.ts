import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import * as fc from 'fast-check';
import { ThawError } from '../../src/errors.ts';
import { readComponent } from '../../src/wasm/component.ts';
import { decodeComponent } from '../../src/wasm/link.ts';
import { assertLinked, thawError } from './linked.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const fixture = (name: string): Promise<Uint8Array> =>
  parse(readFileSync(new URL(`fixtures/${name}.wat`, import.meta.url), 'utf8'));

/** A section whose size takes two bytes. */
const section = (id: number, content: number[]): number[] => [
  id,
  (content.length & 0x7f) | 0x80,
  content.length >> 7,
  ...content,
];

describe('readComponent() says what a file is that is no component', () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ['empty', new Uint8Array(), /the file is empty/],
    ['a core module', text('\0asm\x01\0\0\0'), /core module; name its world with --wit and --world/],
    ['text', text('\n  (component)'), /WebAssembly text; .* jco parse/],
    ['text that begins with a comment', text(';; hello\n(module)'), /WebAssembly text/],
    ['JavaScript', text('export default {}'), /begins with 65 78 70 6f 72 74 20 64 \("export default \{"\)/],
    ['an ELF file', Uint8Array.of(0x7f, 0x45, 0x4c, 0x46), /begins with 7f 45 4c 46/],
    ['three bytes of magic', text('\0as'), /begins with 00 61 73/],
  ];
  for (const [name, bytes, message] of cases) {
    it(name, () => assert.throws(() => readComponent(bytes), thawError('NOT_A_COMPONENT', message)));
  }
});

describe('readComponent() refuses damage', () => {
  const preamble = '\0asm\x0d\0\x01\0';
  const cases: [string, string, string, RegExp][] = [
    ['cut in the preamble', '\0asm\x0d\0', 'WASM_MALFORMED', /unexpected end at byte offset 0x6/],
    ['another layer', '\0asm\x0d\0\x02\0', 'WASM_MALFORMED', /layer 2/],
    ['another version', '\0asm\x0c\0\x01\0', 'WASM_UNSUPPORTED', /version 12 .* 13 is known/],
    ['an unknown section', `${preamble}\x0d\0`, 'WASM_MALFORMED', /unknown component section 13/],
    [
      'bytes after a section',
      `${preamble}\x06\x02\0\0`,
      'WASM_MALFORMED',
      /1 bytes left over after section 6 at byte offset 0xb/,
    ],
    ['a section beyond the end', `${preamble}\x06\x7f`, 'WASM_MALFORMED', /127 bytes wanted, 0 left/],
    ['a count beyond the section', `${preamble}\x06\x01\x7f`, 'WASM_MALFORMED', /127 aliases counted, 0 bytes left/],
    ['an unknown sort', `${preamble}\x06\x02\x01\x06`, 'WASM_MALFORMED', /unknown sort 0x06/],
    ['an unknown core sort', `${preamble}\x06\x03\x01\0\x13`, 'WASM_MALFORMED', /unknown core sort 0x13/],
    ['an unknown type', `${preamble}\x07\x02\x01\x3d`, 'WASM_MALFORMED', /unknown value type 0x3d/],
    ['an unknown built-in', `${preamble}\x08\x02\x01\x50`, 'WASM_MALFORMED', /unknown canonical definition 0x50/],
    ['an unknown option', `${preamble}\x08\x06\x01\x01\0\0\x01\x0a`, 'WASM_MALFORMED', /unknown canonical option 0x0a/],
    [
      'an option given twice',
      `${preamble}\x08\x07\x01\x01\0\0\x02\0\x01`,
      'WASM_MALFORMED',
      /string-encoding given twice/,
    ],
    ['post-return when lowering', `${preamble}\x08\x07\x01\x01\0\0\x01\x05\0`, 'WASM_MALFORMED', /post-return/],
    ['a nested core module', `${preamble}\x04\x08\0asm\x01\0\0\0`, 'WASM_MALFORMED', /nested component must be/],
    [
      'name attributes',
      `${preamble}\x0a\x07\x01\x02\x01a\0\x01\0`,
      'COMPONENT_UNSUPPORTED',
      /attributes of the import .* "a"/,
    ],
    ['a very long name', `${preamble}\x0a\x86\x20\x01\0\x81\x20${'a'.repeat(4097)}\0`, 'COMPONENT_UNSUPPORTED', /4097/],
  ];
  for (const [name, bytes, code, message] of cases) {
    it(name, () => {
      const binary = Uint8Array.from(bytes, (char) => char.charCodeAt(0));
      assert.throws(() => readComponent(binary), thawError(code, message));
    });
  }
});

describe('readComponent() names each construct that thaw does not run', () => {
  const cases: [string, string, RegExp][] = [
    ['resource type', '(type (resource (rep i32)))', /resource type of its own/],
    ['resource.new', '(core func (canon resource.new 0))', /built-in resource\.new, for a resource type of the guest/],
    ['resource.rep', '(core func (canon resource.rep 0))', /built-in resource\.rep, for a resource type of the guest/],
    ['task.return', '(core func (canon task.return))', /built-in task\.return, .*WASI 0\.3.*proxy@0\.2\.x/],
    ['stream.new', '(core func (canon stream.new 0))', /built-in stream\.new/],
    ['future.read', '(core func (canon future.read 0))', /built-in future\.read/],
    ['waitable-set.new', '(core func (canon waitable-set.new))', /built-in waitable-set\.new/],
    ['error-context.drop', '(core func (canon error-context.drop))', /built-in error-context\.drop/],
    ['thread.yield', '(core func (canon thread.yield))', /built-in thread\.yield/],
    ['context.get', '(core func (canon context.get i32 0))', /built-in context\.get/],
    ['async option', '(core func (canon lower (func 0) async))', /canonical option async/],
    ['callback option', '(func (canon lift (core func 0) (callback 0)))', /canonical option callback/],
    ['stream type', '(type (stream u8))', /stream type/],
    ['future type', '(type (future))', /future type/],
    ['error-context type', '(type error-context)', /type error-context/],
    ['async function type', '(type (func async))', /async function type/],
    ['list of fixed length', '(type (list u8 4))', /list type of fixed length/],
    ['value import', '(import "v" (value string))', /component value/],
    ['start function', '(import "f" (func $f)) (start $f)', /start function/],
    ['core type in an instance type', '(type (instance (core type (module))))', /core type inside an instance type/],
  ];
  for (const [name, wat, message] of cases) {
    it(name, async () => {
      const bytes = await parse(`(component ${wat})`);
      assert.throws(() => readComponent(bytes), thawError('COMPONENT_UNSUPPORTED', message));
    });
  }
});

describe('readComponent() bounds how deep things nest', () => {
  const preamble = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
  /** Components `levels` deep inside one another. */
  const components = (levels: number): number[] =>
    levels === 0 ? preamble : [...preamble, ...section(4, components(levels - 1))];
  /** A type made of `levels` instance (0x42) or component (0x41) types that each define the next. */
  const types = (opcode: number, levels: number): number[] => [
    ...preamble,
    ...section(7, [0x01, ...Array.from({ length: levels }, () => [opcode, 0x01, 0x01]).flat(), 0x7d]),
  ];
  const cases: [string, (levels: number) => number[]][] = [
    ['components', components],
    ['instance types', (levels) => types(0x42, levels)],
    ['component types', (levels) => types(0x41, levels)],
  ];
  for (const [name, make] of cases) {
    it(`${name}: 100 levels, not 101`, () => {
      assert.equal(readComponent(Uint8Array.from(make(100))).definitions.length, 1);
      assert.throws(
        () => readComponent(Uint8Array.from(make(101))),
        thawError('COMPONENT_UNSUPPORTED', /more than 100 levels deep/),
      );
    });
  }
});

describe('decodeComponent() of damaged components', () => {
  const CODES = /^(WASM_MALFORMED|WASM_UNSUPPORTED|COMPONENT_UNSUPPORTED|NOT_A_COMPONENT)$/;

  /** A plan that holds together, or an error from the table. */
  const assertPlanOrError = (bytes: Uint8Array): 'plan' | 'error' => {
    try {
      assertLinked(decodeComponent(bytes));
      return 'plan';
    } catch (error) {
      if (!(error instanceof ThawError)) throw error;
      assert.match(error.code, CODES, error.message);
      return 'error';
    }
  };

  it('cut anywhere, it is refused, but for the cuts between two sections', async () => {
    const bytes = await fixture('shim');
    const cuts = Array.from({ length: bytes.length }, (_, length) => assertPlanOrError(bytes.subarray(0, length)));
    const whole = cuts.filter((outcome) => outcome === 'plan').length;
    assert.ok(whole > 0 && whole < 100, `${whole} of ${bytes.length} cuts leave a component`);
  });

  for (const name of ['env', 'nested', 'shim']) {
    it(`with single bits flipped, ${name} gives a plan or a typed error`, async () => {
      const bytes = await fixture(name);
      const flips = fc.integer({ min: 0, max: bytes.length * 8 - 1 });
      fc.assert(
        fc.property(flips, (bit) => {
          const flipped = bytes.slice();
          flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          assertPlanOrError(flipped);
        }),
        { numRuns: 1000 },
      );
    });
  }

  it('with bytes overwritten, env gives a plan or a typed error', async () => {
    const bytes = await fixture('env');
    const patch = fc.tuple(
      fc.integer({ min: 8, max: bytes.length - 1 }),
      fc.uint8Array({ minLength: 1, maxLength: 6 }),
    );
    fc.assert(
      fc.property(patch, ([at, patched]) => {
        const damaged = bytes.slice();
        damaged.set(patched.subarray(0, damaged.length - at), at);
        assertPlanOrError(damaged);
      }),
      { numRuns: 1000 },
    );
  });
});
