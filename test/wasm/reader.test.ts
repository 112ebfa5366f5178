import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { ThawError } from '../../src/errors.ts';
import { Reader } from '../../src/wasm/reader.ts';
import { Writer } from '../../src/wasm/writer.ts';

const reader = (...bytes: number[]): Reader => new Reader(Uint8Array.from(bytes));

/** `offset` in hex, as the message has it. */
const malformedAt = (offset: string) => (error: unknown) =>
  error instanceof ThawError && error.code === 'WASM_MALFORMED' && error.message.endsWith(`byte offset ${offset}`);

/** A number's LEB128 bytes, padded with redundant ones to `length`. */
function padded(bytes: Uint8Array, length: number, fill: 0x00 | 0x7f): number[] {
  const out = Array.from(bytes);
  while (out.length < length) {
    out.push((out.pop() ?? 0) | 0x80, fill);
  }
  return out;
}

describe('integers', () => {
  test('u32, s32, s33 and s64 read what Writer writes, and nothing more', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer(),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        (u, s, l) => {
          const read = new Reader(new Writer(1).u32(u).s32(s).s32(s).s64(l).finish());
          assert.deepEqual([read.u32(), read.s32(), read.s33(), read.s64()], [u, s, s, l]);
          assert.ok(read.eof);
        },
      ),
    );
  });

  test('u64 and its skipping agree', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        const bytes: number[] = [];
        for (let rest = value; bytes.length === 0 || rest > 0n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
        bytes.push((bytes.pop() ?? 0) & 0x7f);
        const [read, skipped] = [reader(...bytes), reader(...bytes)];
        assert.equal(read.u64(), value);
        skipped.skipU64();
        assert.ok(read.eof && skipped.eof);
      }),
    );
  });

  test('padding up to the allowed length is read as the same number', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 10 }), (value, length) => {
        const fill = value < 0 ? 0x7f : 0x00;
        const bytes = padded(new Writer().s32(value).finish(), length, fill);
        assert.equal(reader(...bytes).s64(), BigInt(value));
        if (bytes.length <= 5) assert.equal(reader(...bytes).s32(), value);
      }),
    );
    assert.equal(reader(0x81, 0x80, 0x80, 0x80, 0x00).u32(), 1);
  });

  test('the limits of each width are read', () => {
    assert.equal(reader(0xff, 0xff, 0xff, 0xff, 0x0f).u32(), 2 ** 32 - 1);
    assert.equal(reader(0xff, 0xff, 0xff, 0xff, 0x07).s32(), 2 ** 31 - 1);
    assert.equal(reader(0x80, 0x80, 0x80, 0x80, 0x78).s32(), -(2 ** 31));
    assert.equal(reader(0xff, 0xff, 0xff, 0xff, 0x0f).s33(), 2 ** 32 - 1);
    assert.equal(reader(0x80, 0x80, 0x80, 0x80, 0x70).s33(), -(2 ** 32));
  });

  const refused: [string, number[], (read: Reader) => unknown][] = [
    ['u32 of 33 bits', [0xff, 0xff, 0xff, 0xff, 0x1f], (r) => r.u32()],
    ['u32 of 6 bytes', [0x80, 0x80, 0x80, 0x80, 0x80, 0x00], (r) => r.u32()],
    ['u64 of 65 bits', [...Array<number>(9).fill(0xff), 0x02], (r) => r.u64()],
    ['u64 of 65 bits, skipped', [...Array<number>(9).fill(0xff), 0x02], (r) => r.skipU64()],
    ['s32 above 2^31-1', [0xff, 0xff, 0xff, 0xff, 0x0f], (r) => r.s32()],
    ['s32 below -2^31', [0x80, 0x80, 0x80, 0x80, 0x70], (r) => r.s32()],
    ['s32 of 6 bytes', [0x80, 0x80, 0x80, 0x80, 0x80, 0x00], (r) => r.s32()],
    ['s33 above 2^32-1', [0xff, 0xff, 0xff, 0xff, 0x1f], (r) => r.s33()],
    ['s64 above 2^63-1', [...Array<number>(9).fill(0xff), 0x01], (r) => r.s64()],
    ['s64 of 11 bytes', [...Array<number>(10).fill(0x80), 0x00], (r) => r.s64()],
  ];
  for (const [what, bytes, read] of refused) {
    test(`refuses ${what}, naming where it starts`, () => {
      const r = reader(0, ...bytes);
      r.byte();
      assert.throws(() => read(r), malformedAt('0x1'));
    });
  }

  test('refuses a number that is cut short', () => {
    assert.throws(() => reader(0x80).u32(), malformedAt('0x1'));
    assert.throws(() => reader(0x80, 0x80).s64(), malformedAt('0x2'));
  });
});

describe('strings, ranges and vectors', () => {
  test('name reads what Writer writes, a byte order mark included', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        assert.equal(new Reader(new Writer().name(`\uFEFF${text}`).finish()).name(), `\uFEFF${text}`);
      }),
    );
  });

  test('name refuses bytes that are not UTF-8', () => {
    assert.throws(() => reader(2, 0xc0, 0x80).name(), malformedAt('0x1'));
    assert.throws(() => reader(3, 0xed, 0xa0, 0x80).name(), malformedAt('0x1'));
  });

  test('name refuses a length beyond the end', () => {
    assert.throws(() => reader(3, 0x61, 0x62).name(), malformedAt('0x1'));
  });

  test('sub stays within its range, moves its parent past it and keeps absolute offsets', () => {
    const parent = reader(1, 2, 3, 4);
    parent.byte();
    const child = parent.sub(2);
    assert.equal(parent.offset, 3);
    assert.deepEqual([child.offset, child.left, child.byte(), child.peek(), child.byte()], [1, 2, 2, 3, 3]);
    assert.ok(child.eof);
    assert.equal(child.peek(), -1);
    assert.throws(() => child.byte(), malformedAt('0x3'));
    assert.throws(() => parent.sub(2), malformedAt('0x3'));
  });

  test('bytes is a view, skip moves, expectEnd refuses what is left over', () => {
    const read = reader(1, 2, 3);
    assert.deepEqual(Array.from(read.bytes(2)), [1, 2]);
    assert.throws(() => read.expectEnd('the test'), malformedAt('0x2'));
    read.skip(1);
    read.expectEnd('the test');
    assert.throws(() => read.skip(1), malformedAt('0x3'));
  });

  test('vec reads its items in order', () => {
    const read = reader(3, 10, 20, 30);
    assert.deepEqual(
      read.vec('items', (index) => [index, read.byte()]),
      [
        [0, 10],
        [1, 20],
        [2, 30],
      ],
    );
  });

  test('vec refuses a count beyond the bytes left before it reads an item', () => {
    let items = 0;
    assert.throws(() => reader(0xff, 0xff, 0xff, 0xff, 0x0f, 0).vec('items', () => items++), malformedAt('0x0'));
    assert.equal(items, 0);
  });

  test('section and vec of Writer put a length and a count before the content', () => {
    const body = new Writer(0);
    body.vec([5, 6], (value, index) => body.byte(value).byte(index));
    assert.deepEqual(Array.from(new Writer(0).section(7, body.finish()).finish()), [7, 5, 2, 5, 0, 6, 1]);
  });
});
