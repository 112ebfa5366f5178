import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import * as fc from 'fast-check';
import { type ErrorCode, ThawError } from '../../src/errors.ts';
import { parseModule, SECTION } from '../../src/wasm/module.ts';
import { exportedFunctionTypes, importedFunctionTypes } from '../../src/wasm/signatures.ts';
import { Writer } from '../../src/wasm/writer.ts';
import { FAMILIES } from './fixtures/families.ts';
import { assertSound } from './fixtures/sound.ts';

type Section = readonly [id: number, ...body: number[]];

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

function moduleOf(...sections: Section[]): Uint8Array<ArrayBuffer> {
  const out = new Writer().bytes(HEADER);
  for (const [id, ...body] of sections) out.section(id, Uint8Array.from(body));
  return out.finish().slice();
}

const fails = (code: ErrorCode, text: string) => (error: unknown) =>
  error instanceof ThawError && error.code === code && error.message.includes(text);

const EVERYTHING = `(module $m
  (import "env" "f" (func (param i32 f64) (result i64)))
  (import "env" "m" (memory 2 10))
  (import "env" "t" (table 3 funcref))
  (import "env" "g" (global (mut i32)))
  (import "env" "e" (tag (param i32)))
  (table 4 5 externref)
  (table $init 1 funcref (ref.func $f))
  (memory 1)
  (global $stack (mut i32) (i32.const 1024))
  (global (ref null func) (ref.func $f))
  (global i64 (i64.add (i64.const 1) (i64.const 2)))
  (tag (param i64))
  (func $f (export "run") (param externref v128))
  (func $s (data.drop 1))
  (start $s)
  (export "memory" (memory 1))
  (elem (i32.const 0) func $f $s)
  (elem (table $init) (i32.const 0) funcref (ref.func $f) (ref.null func))
  (elem func $f)
  (elem declare func $s)
  (elem externref (ref.null extern))
  (data (i32.const 8) "active")
  (data "passive")
  (data (memory 1) (i32.const 0) "there")
  (@custom "extra" "abc"))`;

describe('parseModule', () => {
  test('reads what each section says', async () => {
    const module = parseModule(await parse(EVERYTHING));
    assert.deepEqual(module.imported, { func: 1, memory: 1, table: 1, global: 1, tag: 1 });
    assert.deepEqual(
      module.imports.map(({ module: from, name, type }) => `${from} ${name} ${type.kind}`),
      ['env f func', 'env m memory', 'env t table', 'env g global', 'env e tag'],
    );
    const memory = { shared: false, address: 'i32', pageSizeLog2: 16 };
    assert.deepEqual(module.memories, [
      { min: 2, max: 10, ...memory },
      { min: 1, max: null, ...memory },
    ]);
    assert.deepEqual(module.tables, [
      { min: 3, max: null },
      { min: 4, max: 5 },
      { min: 1, max: null },
    ]);
    assert.deepEqual(module.globals, [
      { type: 'i32', mutable: true },
      { type: 'i32', mutable: true },
      { type: 'ref', mutable: false },
      { type: 'i64', mutable: false },
    ]);
    assert.deepEqual(module.exports, [
      { name: 'run', kind: 'func', index: 1 },
      { name: 'memory', kind: 'memory', index: 1 },
    ]);
    assert.equal(module.start, 2);
    assert.deepEqual(
      module.data.map(({ mode }) => mode),
      ['active', 'passive', 'active'],
    );
    assert.deepEqual([module.functions.length, module.bodies.length, module.allocations], [3, 2, 0]);
    const extra = module.customs.find(({ name }) => name === 'extra');
    assert.equal(Buffer.from(module.bytes.subarray(extra?.body.start, extra?.body.end)).toString(), 'abc');
    assert.ok(module.customs.some(({ name }) => name === 'name'));
  });

  test('keeps ranges that cover the file without gaps', async () => {
    const bytes = await parse(EVERYTHING);
    const { sections, customs } = parseModule(bytes);
    const ranges = [...sections, ...customs].map(({ whole }) => whole).toSorted((a, b) => a.start - b.start);
    let at = HEADER.length;
    for (const { start, end } of ranges) {
      assert.equal(start, at);
      at = end;
    }
    assert.equal(at, bytes.length);
  });

  test('reads recursion groups, structs and arrays, and counts objects made at instantiation', async () => {
    const module = parseModule(
      await parse(`(module
        (rec (type $a (struct (field (ref null $b)) (field i8))) (type $b (array (mut i16))))
        (type $c (sub (func (param (ref $a)) (result (ref null extern)))))
        (global (ref $a) (struct.new_default $a))
        (global (ref $b) (array.new_fixed $b 1 (i32.const 1))))`),
    );
    assert.deepEqual(module.types, [
      { kind: 'struct' },
      { kind: 'array' },
      { kind: 'func', type: { params: ['ref'], results: ['ref'] } },
    ]);
    assert.equal(module.allocations, 2);
  });

  test('reads memories that are shared, have 64-bit addresses or pages of another size', () => {
    const { memories } = parseModule(moduleOf([SECTION.memory, 3, 0x03, 1, 2, 0x04, 3, 0x08, 5, 0]));
    assert.deepEqual(memories, [
      { min: 1, max: 2, shared: true, address: 'i32', pageSizeLog2: 16 },
      { min: 3, max: null, shared: false, address: 'i64', pageSizeLog2: 16 },
      { min: 5, max: null, shared: false, address: 'i32', pageSizeLog2: 0 },
    ]);
  });

  const FUNC: Section = [SECTION.type, 1, 0x60, 0, 0];
  const refused: [string, Uint8Array, ErrorCode, string][] = [
    ['an empty file', new Uint8Array(0), 'WASM_MALFORMED', '8 bytes wanted'],
    ['a component', Uint8Array.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), 'WASM_MALFORMED', 'header of a core module'],
    [
      'sections out of order',
      moduleOf([SECTION.function, 0], [SECTION.type, 0]),
      'WASM_MALFORMED',
      'section id 1 after section id 3',
    ],
    [
      'a section twice',
      moduleOf([SECTION.type, 0], [SECTION.type, 0]),
      'WASM_MALFORMED',
      'section id 1 after section id 1',
    ],
    ['an unknown section', moduleOf([14, 0]), 'WASM_UNSUPPORTED', 'section id 14'],
    ['bytes left over in a section', moduleOf([SECTION.type, 0, 0]), 'WASM_MALFORMED', 'left over after section id 1'],
    ['a section beyond the end', moduleOf([SECTION.type, 0]).subarray(0, 10), 'WASM_MALFORMED', 'byte offset 0xa'],
    [
      'functions without bodies',
      moduleOf(FUNC, [SECTION.function, 1, 0]),
      'WASM_MALFORMED',
      '1 functions declared, 0 bodies',
    ],
    [
      'bodies without functions',
      moduleOf(FUNC, [SECTION.code, 1, 2, 0, 0x0b]),
      'WASM_MALFORMED',
      '0 functions declared, 1 bodies',
    ],
    [
      'a wrong data count',
      moduleOf([SECTION.dataCount, 2], [SECTION.data, 0]),
      'WASM_MALFORMED',
      '2 data segments announced',
    ],
    ['a data count without data', moduleOf([SECTION.dataCount, 1]), 'WASM_MALFORMED', '1 data segments announced'],
    [
      'an instruction that is not constant',
      moduleOf([SECTION.global, 1, 0x7f, 0, 0x10, 0, 0x0b]),
      'WASM_MALFORMED',
      'not constant',
    ],
    ['a continuation type', moduleOf([SECTION.type, 1, 0x5d, 0]), 'WASM_UNSUPPORTED', 'type form 0x5d'],
    ['an unknown value type', moduleOf([SECTION.type, 1, 0x60, 1, 0x40, 0]), 'WASM_UNSUPPORTED', 'value type 0x40'],
    ['a shared heap type', moduleOf([SECTION.type, 1, 0x60, 1, 0x63, 0x65, 0x70, 0]), 'WASM_UNSUPPORTED', 'heap type'],
    ['a shared global', moduleOf([SECTION.global, 1, 0x7f, 2, 0x41, 0, 0x0b]), 'WASM_UNSUPPORTED', 'shared global'],
    ['a bad mutability', moduleOf([SECTION.global, 1, 0x7f, 4, 0x41, 0, 0x0b]), 'WASM_MALFORMED', 'mutability 0x4'],
    ['a shared table', moduleOf([SECTION.table, 1, 0x70, 3, 1, 1]), 'WASM_UNSUPPORTED', 'shared table'],
    ['a table of numbers', moduleOf([SECTION.table, 1, 0x7f, 0, 1]), 'WASM_MALFORMED', 'reference type'],
    ['a memory that is too large', moduleOf([SECTION.memory, 1, 0, 0x81, 0x80, 4]), 'WASM_MALFORMED', '65537 pages'],
    [
      'a memory whose maximum is too large',
      moduleOf([SECTION.memory, 1, 1, 0, 0x81, 0x80, 4]),
      'WASM_MALFORMED',
      '65537 pages',
    ],
    ['a maximum below the minimum', moduleOf([SECTION.memory, 1, 1, 2, 1]), 'WASM_MALFORMED', '2 pages at least'],
    ['unknown memory flags', moduleOf([SECTION.memory, 1, 0x10, 1]), 'WASM_UNSUPPORTED', 'memory flags 0x10'],
    [
      'an unknown import kind',
      moduleOf([SECTION.import, 1, 0, 0, 0x7f, 0]),
      'WASM_UNSUPPORTED',
      'import of an unknown kind',
    ],
    ['an unknown export kind', moduleOf([SECTION.export, 1, 0, 9, 0]), 'WASM_UNSUPPORTED', 'export of an unknown kind'],
    ['bad element flags', moduleOf([SECTION.element, 1, 8, 0]), 'WASM_MALFORMED', 'element segment flags 8'],
    ['a bad element kind', moduleOf([SECTION.element, 1, 1, 1, 0]), 'WASM_MALFORMED', 'element kind'],
    ['bad data flags', moduleOf([SECTION.data, 1, 3, 0]), 'WASM_MALFORMED', 'data segment flags 3'],
    ['a tag attribute', moduleOf([SECTION.tag, 1, 1, 0]), 'WASM_MALFORMED', 'tag attribute'],
    ['a section name that is not UTF-8', moduleOf([SECTION.custom, 1, 0xff]), 'WASM_MALFORMED', 'UTF-8'],
    [
      'a count of types beyond the section',
      moduleOf([SECTION.type, 0xff, 0xff, 0x03]),
      'WASM_MALFORMED',
      '65535 types',
    ],
  ];
  for (const [what, bytes, code, message] of refused) {
    test(`refuses ${what}`, () => assert.throws(() => parseModule(bytes), fails(code, message)));
  }

  test('takes a large recursion group', () => {
    const types = 200_000;
    const body = new Writer().bytes([1, 0x4e]).u32(types);
    for (let index = 0; index < types; index++) body.bytes([0x60, 0, 0]);
    const bytes = new Writer().bytes(HEADER).section(SECTION.type, body.finish()).finish();
    assert.equal(parseModule(bytes).types.length, types);
  });
});

describe('signatures', () => {
  test('of imports have both names, of exports the type by name', async () => {
    const module = parseModule(await parse(EVERYTHING));
    assert.deepEqual(importedFunctionTypes(module), [
      { module: 'env', name: 'f', type: { params: ['i32', 'f64'], results: ['i64'] } },
    ]);
    assert.deepEqual(Object.fromEntries(exportedFunctionTypes(module)), {
      run: { params: ['ref', 'v128'], results: [] },
    });
  });

  test('are refused when an index names nothing, or no function type', () => {
    const imported = parseModule(moduleOf([SECTION.type, 1, 0x5f, 0], [SECTION.import, 1, 1, 0x61, 1, 0x62, 0, 0]));
    assert.throws(() => importedFunctionTypes(imported), fails('WASM_MALFORMED', 'import a b'));
    const exported = parseModule(moduleOf([SECTION.export, 1, 1, 0x61, 0, 5]));
    assert.throws(() => exportedFunctionTypes(exported), fails('WASM_MALFORMED', 'export a'));
  });
});

describe('damaged modules', async () => {
  const corpus = await Promise.all([EVERYTHING, ...FAMILIES.map(({ wat }) => wat)].map((wat) => parse(wat)));

  test('are themselves sound', () => corpus.forEach((bytes) => assertSound(bytes)));

  test('cut short are refused, or are shorter modules', () => {
    for (const bytes of corpus) {
      for (let length = 0; length < bytes.length; length++) assertSound(bytes.subarray(0, length));
    }
  });

  test('with bits flipped are refused, or are other modules', () => {
    const flip = fc.record({ at: fc.nat(), bit: fc.integer({ min: 0, max: 7 }) });
    fc.assert(
      fc.property(fc.constantFrom(...corpus), fc.array(flip, { minLength: 1, maxLength: 3 }), (bytes, flips) => {
        const damaged = Uint8Array.from(bytes);
        for (const { at, bit } of flips) {
          const index = at % damaged.length;
          damaged[index] = (damaged[index] ?? 0) ^ (1 << bit);
        }
        assertSound(damaged);
      }),
      { numRuns: 3000 },
    );
  });
});
