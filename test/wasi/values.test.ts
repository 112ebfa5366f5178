import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import type { Abi } from '../../src/wasi/abi.ts';
import { HandleTable, HostResource } from '../../src/wasi/handles.ts';
import { flatten, layoutOf } from '../../src/wasi/layout.ts';
import { flatLifter, lower } from '../../src/wasi/flat-values.ts';
import { Source } from '../../src/wasi/source.ts';
import { loader, storer } from '../../src/wasi/stored-values.ts';
import type { WitType } from '../../src/wasi/wit.ts';
import { plain, typedSample } from './samples.ts';
import { Arena, ENCODINGS } from './support.ts';

const violation = { code: 'ABI_VIOLATION' };

/** Lowers a value of a type that becomes one core value. */
function lowered(type: WitType, abi: Abi, value: unknown): number | bigint {
  const source = new Source('lower');
  source.add(`return ${lower(source, type, 'value')};`);
  const compiled = source.compile('abi, value') as (abi: Abi, value: unknown) => number | bigint;
  return compiled(abi, value);
}

/** Stores a value in memory of its own. */
function stored(abi: Abi, type: WitType, value: unknown): number {
  const { size, align } = layoutOf(type);
  const at = abi.allocate(size, align);
  storer(type)(abi, at, value);
  return at;
}

for (const encoding of ENCODINGS) {
  suite(`values, strings as ${encoding}`, () => {
    test('store, then load, is the identity', () => {
      fc.assert(
        fc.property(typedSample, fc.boolean(), ({ type, value }, growing) => {
          const abi = new Arena({ growing }).abi(encoding);
          const at = stored(abi, type, value);
          assert.deepEqual(plain(loader(type)(abi, at)), plain(value));
        }),
        { numRuns: 300 },
      );
    });

    test('store writes inside the memory of the value only', () => {
      fc.assert(
        fc.property(typedSample, ({ type, value }) => {
          const arena = new Arena({ pages: 1 });
          const abi = arena.abi(encoding);
          const { size, align } = layoutOf(type);
          const at = abi.allocate(size, align);
          const after = arena.realloc(0, 0, 1, 8);
          abi.bytes.fill(0xa5, 0, at);
          abi.bytes.fill(0xa5, after, after + 8);
          storer(type)(abi, at, value);
          assert.ok(abi.bytes.subarray(0, at).every((byte) => byte === 0xa5));
          assert.ok(abi.bytes.subarray(after, after + 8).every((byte) => byte === 0xa5));
        }),
        { numRuns: 100 },
      );
    });

    test('lifting flat parameters gives what loading from memory gives', () => {
      fc.assert(
        fc.property(typedSample, fc.nat(3), ({ type, value, flat }, skipped) => {
          const abi = new Arena().abi(encoding);
          const passed = flat(abi);
          assert.equal(passed.length, flatten(type).length);
          const before = Array.from({ length: skipped }, () => 7);
          assert.deepEqual(plain(flatLifter(type)(abi, [...before, ...passed], skipped)), plain(value));
        }),
        { numRuns: 300 },
      );
    });
  });
}

suite('flat values', () => {
  test('narrow integers ignore the bits above them', () => {
    const abi = new Arena().abi();
    fc.assert(
      fc.property(fc.integer(), (word) => {
        const lift = (kind: 'u8' | 's8' | 'u16' | 's16' | 'u32'): unknown => flatLifter({ kind })(abi, [word], 0);
        assert.equal(lift('u8'), new Uint8Array([word])[0]);
        assert.equal(lift('s8'), new Int8Array([word])[0]);
        assert.equal(lift('u16'), new Uint16Array([word])[0]);
        assert.equal(lift('s16'), new Int16Array([word])[0]);
        assert.equal(lift('u32'), new Uint32Array([word])[0]);
        assert.equal(flatLifter({ kind: 'bool' })(abi, [word], 0), word !== 0);
      }),
    );
  });

  test('types of one core value lower to what they lift from', () => {
    const abi = new Arena().abi();
    fc.assert(
      fc.property(typedSample, ({ type, value, flat }) => {
        const direct = !['record', 'tuple', 'option', 'string', 'list'].includes(type.kind);
        fc.pre(direct && flatten(type).length === 1);
        const [expected] = flat(abi);
        const core = lowered(type, abi, value);
        assert.equal(typeof core, typeof expected);
        if (typeof core === 'bigint') assert.equal(BigInt.asIntN(64, core), expected);
        else if (type.kind === 'f32' || type.kind === 'f64') assert.equal(core, expected);
        else assert.equal(core | 0, expected);
      }),
      { numRuns: 100 },
    );
  });
});

suite('values that no guest may pass', () => {
  const abi = new Arena().abi();
  const at = abi.allocate(16, 8);
  const loadWord = (type: WitType, word: number): unknown => {
    abi.view.setUint32(at, word, true);
    return loader(type)(abi, at);
  };

  test('a char is a Unicode scalar value', () => {
    for (const code of [0xd800, 0xdbff, 0xdc00, 0xdfff, 0x11_0000, 0x7fff_ffff, 0xffff_ffff]) {
      assert.throws(() => loadWord({ kind: 'char' }, code), violation);
      assert.throws(() => flatLifter({ kind: 'char' })(abi, [code | 0], 0), violation);
    }
    for (const code of [0, 0xd7ff, 0xe000, 0x10_ffff]) {
      assert.equal(loadWord({ kind: 'char' }, code), String.fromCodePoint(code));
      assert.equal(flatLifter({ kind: 'char' })(abi, [code], 0), String.fromCodePoint(code));
    }
  });

  test('a discriminant names a case', () => {
    const types: readonly WitType[] = [
      { kind: 'option', some: { kind: 'u8' } },
      { kind: 'result', ok: null, err: { kind: 'u8' } },
      { kind: 'enum', names: ['a', 'b'] },
      {
        kind: 'variant',
        cases: [
          ['a', null],
          ['b', { kind: 'u8' }],
        ],
      },
    ];
    for (const type of types) {
      for (const index of [2, 3, 0x80, 0xff]) assert.throws(() => loadWord(type, index), violation);
      for (const index of [2, 0xff, 0x100, 0x7fff_ffff, -1, -0x8000_0000]) {
        assert.throws(() => flatLifter(type)(abi, [index, 0], 0), violation);
      }
    }
  });

  test('flags beyond the names are ignored', () => {
    assert.deepEqual(loadWord({ kind: 'flags', names: ['a', 'b'] }, 0xfe), new Set(['b']));
    assert.deepEqual(flatLifter({ kind: 'flags', names: ['a', 'b'] })(abi, [-1], 0), new Set(['a', 'b']));
  });

  test('a list lies in memory, aligned, however long it says it is', () => {
    const type: WitType = { kind: 'list', element: { kind: 'u64' } };
    const lift = (pointer: number, length: number): unknown => flatLifter(type)(abi, [pointer, length], 0);
    assert.deepEqual(lift(65_528, 1), [0n]);
    assert.deepEqual(lift(65_536, 0), []);
    for (const [pointer, length] of [
      [65_528, 2],
      [65_536, 1],
      [4, 1],
      [4, 0],
      [0, 2 ** 29],
      [0, 2 ** 31],
      [0, -1],
      [-8, 1],
      [-8, 2],
      [-0x8000_0000, 0],
    ] as const) {
      assert.throws(() => lift(pointer, length), violation, `${length} elements at ${pointer}`);
    }
  });
});

suite('lists of bytes', () => {
  const type: WitType = { kind: 'list', element: { kind: 'u8' } };

  test('are lifted as a view of the memory', () => {
    const abi = new Arena().abi();
    const pointer = abi.storeBytes(Uint8Array.of(1, 2, 3));
    const view = flatLifter(type)(abi, [pointer, 3], 0);
    abi.view.setUint8(pointer, 9);
    assert.deepEqual(plain(view), [9, 2, 3]);
  });

  test('are lowered from Latin-1 text too', () => {
    const abi = new Arena().abi();
    const at = stored(abi, type, 'a\0\xff');
    assert.deepEqual(plain(loader(type)(abi, at)), [0x61, 0, 0xff]);
  });
});

suite('records', () => {
  test('have camelCase keys in the host', () => {
    const type: WitType = {
      kind: 'record',
      fields: [
        ['info-code', { kind: 'u16' }],
        ['DNS-name', { kind: 'u8' }],
      ],
    };
    const abi = new Arena().abi();
    const at = stored(abi, type, { infoCode: 7, dnsName: 8 });
    assert.deepEqual(loader(type)(abi, at), { infoCode: 7, dnsName: 8 });
    assert.deepEqual(flatLifter(type)(abi, [7, 8], 0), { infoCode: 7, dnsName: 8 });
  });
});

suite('resources', () => {
  class Thing extends HostResource {
    override readonly resource = 'test:a/b#thing';
  }
  const own: WitType = { kind: 'own', resource: 'test:a/b#thing' };
  const borrow: WitType = { kind: 'borrow', resource: 'test:a/b#thing' };

  test('own takes the handle away, borrow leaves it', () => {
    const handles = new HandleTable(10);
    const abi = new Arena().abi('utf8', handles);
    const thing = new Thing();
    const handle = handles.add(thing);
    assert.equal(flatLifter(borrow)(abi, [handle], 0), thing);
    assert.equal(flatLifter(own)(abi, [handle], 0), thing);
    assert.throws(() => flatLifter(borrow)(abi, [handle], 0), { code: 'HANDLE_INVALID' });
    const at = stored(abi, own, thing);
    assert.equal(loader(borrow)(abi, at), thing);
    assert.equal(loader(own)(abi, at), thing);
    assert.equal(handles.size, 0);
  });

  test('a host function cannot return a borrow', () => {
    assert.throws(() => storer(borrow), { code: 'INTERNAL' });
    assert.throws(() => lower(new Source('lower'), borrow, 'value'), { code: 'INTERNAL' });
  });
});
