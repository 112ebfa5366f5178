import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { Abi, MAX_LIFTED_BYTES, type Realloc } from '../../src/wasi/abi.ts';
import { HandleTable } from '../../src/wasi/handles.ts';
import { flatLifter } from '../../src/wasi/flat-values.ts';
import type { StringEncoding } from '../../src/wasm/plan.ts';
import { wellFormed } from './samples.ts';
import { Arena, ENCODINGS, WASM_PAGE } from './support.ts';

const violation = { code: 'ABI_VIOLATION' };

const withRealloc = (realloc: Realloc, encoding: StringEncoding = 'utf8'): Abi =>
  new Abi({ handles: new HandleTable(10), memory: new WebAssembly.Memory({ initial: 1 }), realloc, encoding });

const near = (value: number): fc.Arbitrary<number> => fc.integer({ min: value - 9, max: value + 9 });

suite('Abi.check', () => {
  test('passes what is aligned and inside, and nothing else', () => {
    const abi = new Arena().abi();
    const edge = fc.oneof(fc.integer(), near(0), near(WASM_PAGE), near(2 ** 31), near(2 ** 32), near(-(2 ** 31)));
    const size = fc.oneof(fc.nat(100), near(WASM_PAGE).map(Math.abs), near(2 ** 31), near(2 ** 32), near(2 ** 35));
    fc.assert(
      fc.property(edge, size, fc.constantFrom(1, 2, 4, 8), (pointer, bytes, align) => {
        // Exact arithmetic, where the implementation trusts doubles.
        const at = BigInt.asUintN(32, BigInt(pointer));
        const fits = at % BigInt(align) === 0n && at + BigInt(bytes) <= BigInt(WASM_PAGE);
        if (fits) assert.equal(abi.check(pointer, bytes, align), Number(at));
        else assert.throws(() => abi.check(pointer, bytes, align), violation);
      }),
      { numRuns: 1000 },
    );
  });

  test('follows the memory as it grows', () => {
    const arena = new Arena();
    const abi = arena.abi();
    assert.throws(() => abi.check(WASM_PAGE, 1, 1), violation);
    const before = abi.view;
    arena.memory.grow(1);
    assert.equal(abi.check(WASM_PAGE, 1, 1), WASM_PAGE);
    assert.notEqual(abi.view, before);
    assert.equal(abi.bytes.length, 2 * WASM_PAGE);
  });
});

suite('Abi.allocate', () => {
  test('refuses what a broken realloc returns', () => {
    for (const pointer of [WASM_PAGE - 4, WASM_PAGE, -8, 4, 1, 0x7fff_fff8]) {
      const abi = withRealloc(() => pointer);
      assert.throws(() => abi.allocate(8, 8), violation, `realloc returned ${pointer}`);
    }
    assert.throws(() => withRealloc(() => WASM_PAGE - 2).storeBytes('abc'), violation);
    assert.throws(() => withRealloc(() => 1, 'utf16').storeString('a'), violation);
    assert.throws(() => withRealloc(() => 1, 'latin1+utf16').storeString('a'), violation);
  });

  test('asks realloc for new memory of this size and alignment', () => {
    const asked: number[][] = [];
    const abi = withRealloc((...args) => {
      asked.push(args);
      return 8;
    });
    abi.allocate(24, 8);
    abi.storeBytes('abc');
    assert.deepEqual(asked, [
      [0, 0, 8, 24],
      [0, 0, 1, 3],
    ]);
  });

  test('an error of the guest passes through', () => {
    const failure = new WebAssembly.RuntimeError('unreachable');
    assert.throws(
      () =>
        withRealloc(() => {
          throw failure;
        }).allocate(1, 1),
      (error) => error === failure,
    );
  });

  test('a lowering without memory or realloc cannot pass values that need them', () => {
    const abi = new Abi({ handles: new HandleTable(10), memory: null, realloc: null, encoding: 'utf8' });
    assert.throws(() => abi.loadBytes(0, 0), violation);
    assert.throws(() => abi.storeBytes('a'), violation);
  });
});

suite('strings', () => {
  for (const encoding of ENCODINGS) {
    test(`${encoding}: what is stored is loaded, in any memory`, () => {
      fc.assert(
        fc.property(wellFormed, fc.boolean(), (text, growing) => {
          const abi = new Arena({ growing }).abi(encoding);
          assert.equal(abi.loadString(...abi.storeString(text)), text);
        }),
        { numRuns: 300 },
      );
    });

    test(`${encoding}: lone surrogates become U+FFFD`, () => {
      const abi = new Arena().abi(encoding);
      assert.equal(abi.loadString(...abi.storeString('a\ud800b\udc00')), 'a\ufffdb\ufffd');
    });

    test(`${encoding}: pointers and lengths near the limits of 32 bits are refused`, () => {
      const abi = new Arena().abi(encoding);
      const edges = [2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 2, 2 ** 32 - 1];
      for (const edge of edges) {
        for (const word of [edge, edge | 0]) {
          // In latin1+utf16 these are the tag with a length of 0 or 1.
          const isShort = encoding === 'latin1+utf16' && (edge === 2 ** 31 || edge === 2 ** 31 + 1);
          if (!isShort) assert.throws(() => abi.loadString(0, word), violation);
          assert.throws(() => abi.loadString(word, 2), violation);
        }
      }
      assert.equal(abi.loadString(WASM_PAGE, 0), '');
      assert.throws(() => abi.loadString(WASM_PAGE + 2, 0), violation);
      assert.throws(() => abi.loadString(WASM_PAGE - 2, 3), violation);
    });
  }

  test('utf8: what TextDecoder refuses is refused, at any length', () => {
    const abi = new Arena().abi('utf8');
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 6 }), fc.constantFrom(0, 64), (tail, ascii) => {
        const bytes = Buffer.concat([Buffer.alloc(ascii, 'a'), tail]);
        const pointer = abi.storeBytes(bytes);
        let expected: string | null = null;
        try {
          expected = decoder.decode(bytes);
        } catch {
          assert.throws(() => abi.loadString(pointer, bytes.length), violation);
        }
        if (expected !== null) assert.equal(abi.loadString(pointer, bytes.length), expected);
        abi.beginCall();
      }),
      { numRuns: 500 },
    );
    for (const bytes of ['\xff', '\xc0\x80', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xe2\x82', '\x80']) {
      const pointer = abi.storeBytes(bytes);
      assert.throws(() => abi.loadString(pointer, bytes.length), violation);
    }
  });

  test('utf8: a byte order mark is a character', () => {
    const abi = new Arena().abi('utf8');
    assert.equal(abi.loadString(...abi.storeString('\ufeffx')), '\ufeffx');
  });

  test('utf16: unpaired surrogates are refused, and so are odd pointers', () => {
    for (const [encoding, tag] of [
      ['utf16', 0],
      ['latin1+utf16', 0x8000_0000],
    ] as const) {
      const abi = new Arena().abi(encoding);
      const at = abi.allocate(8, 2);
      for (const units of [[0xd800], [0xdc00], [0xd800, 0x61], [0xdc00, 0xd800]]) {
        for (const [index, unit] of units.entries()) abi.view.setUint16(at + 2 * index, unit, true);
        assert.throws(() => abi.loadString(at, units.length + tag), violation);
      }
      assert.throws(() => abi.loadString(at + 1, 1 + tag), violation);
    }
  });

  test('latin1+utf16: Latin-1 where it will do, tagged UTF-16 else', () => {
    const abi = new Arena().abi('latin1+utf16');
    assert.equal(abi.storeString('\xff\0')[1], 2);
    assert.equal(abi.storeString('\u0100')[1], 0x8000_0001);
    assert.equal(abi.storeString('')[1], 0);
  });
});

suite('MAX_LIFTED_BYTES', () => {
  const strings = flatLifter({ kind: 'list', element: { kind: 'string' } });

  test('bounds what overlapping elements make the host copy', () => {
    const abi = new Arena().abi();
    const text = abi.storeBytes('x'.repeat(30_000));
    const count = 100;
    const list = abi.allocate(count * 8, 4);
    for (let index = 0; index < count; index++) {
      abi.view.setUint32(list + index * 8, text, true);
      abi.view.setUint32(list + index * 8 + 4, 30_000, true);
    }
    assert.throws(() => strings(abi, [list, count], 0), { code: 'GUEST_LIMIT' });
    abi.beginCall();
    const fitting = Math.floor(MAX_LIFTED_BYTES / 30_008);
    assert.equal(fitting, 34);
    assert.ok(strings(abi, [list, fitting], 0));
    assert.throws(() => strings(abi, [list, 1], 0), { code: 'GUEST_LIMIT' });
  });

  test('bounds the length of lists before they are lifted', () => {
    const abi = new Arena({ pages: 32 }).abi();
    const lift = flatLifter({ kind: 'list', element: { kind: 'u32' } });
    assert.throws(() => lift(abi, [0, MAX_LIFTED_BYTES / 4 + 1], 0), { code: 'GUEST_LIMIT' });
  });

  test('does not bound lists of bytes, which are not copied', () => {
    const abi = new Arena({ pages: 32 }).abi();
    assert.equal(abi.loadBytes(0, 2 * MAX_LIFTED_BYTES).length, 2 * MAX_LIFTED_BYTES);
  });
});
