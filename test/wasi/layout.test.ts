import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { alignTo, flatten, layoutOf, loweredShape } from '../../src/wasi/layout.ts';
import { httpTypes } from '../../src/wasi/http-types.ts';
import { monotonicClock } from '../../src/wasi/clocks.ts';
import { ioError, ioPoll, ioStreams } from '../../src/wasi/io.ts';
import { parseInterface, type WitInterface, type WitType } from '../../src/wasi/wit.ts';
import { typedSample } from './samples.ts';

const known = new Map<string, WitInterface>();
for (const { name, wit } of [ioError, ioPoll, ioStreams, monotonicClock, httpTypes]) {
  known.set(name, parseInterface(name, wit, known));
}

/** The type that a WIT text denotes, in an interface that uses those of wasi:http/types. */
function typeOf(text: string, declarations = ''): WitType {
  const uses = 'use wasi:http/types.{error-code, method, fields, future-incoming-response, output-stream};';
  const found = parseInterface('test:a/b', `${uses} ${declarations} type t = ${text};`, known).types.get('t');
  assert.ok(found !== undefined);
  return found;
}

const sized = (kind: 'enum' | 'flags', count: number): number =>
  layoutOf({ kind, names: Array.from({ length: count }, (_, index) => `n${index}`) }).size;

suite('layoutOf', () => {
  // The sizes that wit-bindgen reserves for return areas of these types.
  const LAYOUTS: readonly (readonly [string, number, number])[] = [
    ['bool', 1, 1],
    ['char', 4, 4],
    ['string', 8, 4],
    ['tuple<u8, u64>', 16, 8],
    ['tuple<u64, u8>', 16, 8],
    ['tuple<u8, u16, u8>', 6, 2],
    ['option<u8>', 2, 1],
    ['option<u64>', 16, 8],
    ['option<string>', 12, 4],
    ['result', 1, 1],
    ['result<list<u8>, u8>', 12, 4],
    ['result<u64, output-stream>', 16, 8],
    ['option<result<result<future-incoming-response, error-code>>>', 56, 8],
    ['method', 12, 4],
    ['error-code', 32, 8],
    ['result<future-incoming-response, error-code>', 40, 8],
  ];
  for (const [text, size, align] of LAYOUTS) {
    test(`${text} has ${size} bytes aligned to ${align}`, () => {
      assert.deepEqual(layoutOf(typeOf(text)), { size, align });
    });
  }

  test('discriminants and flags take as many bytes as their number needs', () => {
    assert.deepEqual(
      [1, 256, 257, 65_536, 65_537].map((count) => sized('enum', count)),
      [1, 1, 2, 2, 4],
    );
    assert.deepEqual(
      [1, 8, 9, 16, 17, 32].map((count) => sized('flags', count)),
      [1, 1, 2, 2, 4, 4],
    );
  });

  test('size is a multiple of alignment, and both grow with a tuple', () => {
    fc.assert(
      fc.property(typedSample, ({ type }) => {
        const { size, align } = layoutOf(type);
        assert.ok([1, 2, 4, 8].includes(align));
        assert.equal(size % align, 0);
        const pair = layoutOf({ kind: 'tuple', items: [{ kind: 'u8' }, type] });
        assert.deepEqual(pair, { size: alignTo(1, align) + size, align });
      }),
      { numRuns: 200 },
    );
  });
});

suite('flatten', () => {
  const FLAT: readonly (readonly [string, string])[] = [
    ['variant v { a(f32), b(u32) }', 'i32 i32'],
    ['variant v { a(f32), b(u64) }', 'i32 i64'],
    ['variant v { a(f64), b(u32) }', 'i32 i64'],
    ['variant v { a(f64), b(f32) }', 'i32 i64'],
    ['variant v { a(f64), b }', 'i32 f64'],
    ['variant v { a(string), b(tuple<f32, f64, u8>) }', 'i32 i32 i64 i32'],
    ['enum v { a, b }', 'i32'],
    ['record v { a: u8, b: option<s64> }', 'i32 i32 i64'],
    ['flags v { a, b }', 'i32'],
  ];
  for (const [declaration, flat] of FLAT) {
    test(`${declaration} is passed as ${flat}`, () => {
      assert.equal(flatten(typeOf('v', declaration)).join(' '), flat);
    });
  }
});

const u32s = (count: number): WitType => ({
  kind: 'tuple',
  items: Array.from({ length: count }, () => ({ kind: 'u32' })),
});

const shape = (params: number, results: number): ReturnType<typeof loweredShape> =>
  loweredShape({ name: 'f', params: [['p', u32s(params)]], result: results === 0 ? null : u32s(results) });

suite('loweredShape', () => {
  test('16 parameters are flat, 17 go through memory', () => {
    assert.deepEqual(shape(16, 0), {
      core: { params: Array.from({ length: 16 }, () => 'i32'), results: [] },
      paramsInMemory: false,
      retptr: false,
    });
    assert.deepEqual(shape(17, 0), { core: { params: ['i32'], results: [] }, paramsInMemory: true, retptr: false });
  });

  test('one result is flat, two go through memory', () => {
    assert.deepEqual(shape(1, 1).core, { params: ['i32'], results: ['i32'] });
    assert.deepEqual(shape(1, 2), {
      core: { params: ['i32', 'i32'], results: [] },
      paramsInMemory: false,
      retptr: true,
    });
  });
});
