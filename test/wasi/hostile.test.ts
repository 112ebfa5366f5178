import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { ThawError, type ErrorCode } from '../../src/errors.ts';
import { Abi, MAX_LIFTED_BYTES, type CoreValue } from '../../src/wasi/abi.ts';
import { Guest } from '../../src/wasi/guest.ts';
import { HandleTable } from '../../src/wasi/handles.ts';
import { createHost } from '../../src/wasi/index.ts';
import type { CompiledFunction } from '../../src/wasi/lowered.ts';
import { flatten, layoutOf, type FlatType } from '../../src/wasi/layout.ts';
import { flatLifter } from '../../src/wasi/flat-values.ts';
import { loader, storer } from '../../src/wasi/stored-values.ts';
import type { WitType } from '../../src/wasi/wit.ts';
import type { StringEncoding } from '../../src/wasm/plan.ts';
import { officialImports } from './official-wit.ts';
import { typedSample } from './samples.ts';
import { Arena, ENCODINGS, WASM_PAGE, testCall } from './support.ts';

/** Guests that pass whatever words they like: the host has a value for them, or traps them by an error of the table. */

/** Words that are pointers, lengths, tags or handles at some edge, and their neighbours. */
const EDGES = [0, 16, 256, WASM_PAGE, 2 ** 16 + 2 ** 20, 2 ** 31, 2 ** 32 - 1, 0x8000_0000 + 8];
const word = fc.oneof(
  fc.nat(40),
  fc.nat(WASM_PAGE),
  fc.constantFrom(...EDGES).chain((edge) => fc.integer({ min: edge - 3, max: edge + 3 })),
  fc.integer(),
);
const i32 = word.map((value) => value | 0);
const i64 = fc.oneof(word.map(BigInt), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
const float = fc.oneof(fc.double(), fc.constantFrom(Number.NaN, -0, Infinity, 2 ** 63));

const flatOf = (type: FlatType): fc.Arbitrary<CoreValue> => (type === 'i64' ? i64 : type === 'i32' ? i32 : float);

/** What the guest wrote into its memory, from address 0 on. */
const content = fc.array(word, { maxLength: 64 });

function memoryWith(words: readonly number[]): Arena {
  const arena = new Arena();
  const view = new DataView(arena.memory.buffer);
  for (const [index, value] of words.entries()) view.setUint32(index * 4, value >>> 0, true);
  return arena;
}

/** The result, or the code of the error, which must be one of these. */
function outcomeOf(use: () => unknown, ...allowed: readonly ErrorCode[]): { value: unknown } | { code: ErrorCode } {
  try {
    return { value: use() };
  } catch (error) {
    assert.ok(error instanceof ThawError && allowed.includes(error.code), String((error as Error).stack));
    return { code: error.code };
  }
}

/** CanonicalABI.md `load_string`, as naive as can be. Null where it traps. */
function referenceString(memory: Uint8Array, encoding: StringEncoding, pointer: number, length: number): string | null {
  const at = BigInt.asUintN(32, BigInt(pointer));
  let units = BigInt.asUintN(32, BigInt(length));
  let width = encoding === 'utf16' ? 2n : 1n;
  if (encoding === 'latin1+utf16' && units >= 2n ** 31n) {
    units -= 2n ** 31n;
    width = 2n;
  }
  const align = encoding === 'utf8' ? 1n : 2n;
  if (at % align !== 0n || at + units * width > BigInt(memory.length)) return null;
  const bytes = memory.subarray(Number(at), Number(at + units * width));
  if (encoding === 'utf8') return fromUtf8(bytes);
  if (width === 1n) return String.fromCharCode(...bytes);
  const text = String.fromCharCode(...new Uint16Array(bytes.slice().buffer));
  return text.isWellFormed() ? text : null;
}

/** Well-formed is what comes back the same. */
function fromUtf8(bytes: Uint8Array): string | null {
  const text = Buffer.from(bytes).toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : null;
}

/** Whether the host's value is one of the type. */
function isOf(type: WitType, value: unknown): boolean {
  const isInteger = (min: number, max: number): boolean =>
    Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
  switch (type.kind) {
    case 'bool':
      return typeof value === 'boolean';
    case 'u8':
      return isInteger(0, 0xff);
    case 's8':
      return isInteger(-0x80, 0x7f);
    case 'u16':
      return isInteger(0, 0xffff);
    case 's16':
      return isInteger(-0x8000, 0x7fff);
    case 'u32':
      return isInteger(0, 2 ** 32 - 1);
    case 's32':
      return isInteger(-(2 ** 31), 2 ** 31 - 1);
    case 'u64':
      return typeof value === 'bigint' && BigInt.asUintN(64, value) === value;
    case 's64':
      return typeof value === 'bigint' && BigInt.asIntN(64, value) === value;
    case 'f32':
    case 'f64':
      return typeof value === 'number';
    case 'char':
      return typeof value === 'string' && Array.from(value).length === 1 && value.isWellFormed();
    case 'string':
      return typeof value === 'string' && value.isWellFormed();
    case 'list':
      if (type.element.kind === 'u8') return value instanceof Uint8Array;
      return Array.isArray(value) && value.every((item) => isOf(type.element, item));
    case 'tuple':
      return Array.isArray(value) && type.items.every((item, index) => isOf(item, value[index]));
    case 'record': {
      const members = new Map(Object.entries(value as Record<string, unknown>));
      return type.fields.every(([name, field]) => isOf(field, members.get(name)));
    }
    case 'flags':
      return value instanceof Set && [...value].every((name) => type.names.includes(String(name)));
    case 'enum':
      return type.names.includes(String(value));
    case 'option':
      return value === undefined || isOf(type.some, value);
    case 'result':
    case 'variant':
      return isCase(type, value as { tag: string; val: unknown });
    default:
      return false;
  }
}

function isCase(
  type: Extract<WitType, { kind: 'result' | 'variant' }>,
  { tag, val }: { tag: string; val: unknown },
): boolean {
  const cases =
    type.kind === 'variant'
      ? type.cases
      : ([
          ['ok', type.ok],
          ['err', type.err],
        ] as const);
  const found = cases.find(([name]) => name === tag);
  return found !== undefined && (found[1] === null ? val === undefined : isOf(found[1], val));
}

for (const encoding of ENCODINGS) {
  suite(`any words, strings as ${encoding}`, () => {
    test('a string is what the specification says, or the guest traps', () => {
      const seen = new Set<string>();
      const unit = fc.constantFrom(0x41, 0xe9, 0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 0xd8, 0xdc, 0xed, 0xff, 0);
      fc.assert(
        fc.property(
          fc.uint8Array({ maxLength: 12 }),
          fc.array(unit, { maxLength: 12 }),
          i32,
          i32,
          (raw, units, at, length) => {
            const arena = new Arena();
            const bytes = new Uint8Array(arena.memory.buffer);
            bytes.set([...units, ...raw], 16);
            const expected = referenceString(bytes, encoding, at, length);
            const abi = arena.abi(encoding);
            const found = outcomeOf(() => abi.loadString(at, length), 'ABI_VIOLATION');
            assert.deepEqual(found, expected === null ? { code: 'ABI_VIOLATION' } : { value: expected });
            seen.add(expected === null ? 'trap' : expected === '' ? 'empty' : 'text');
          },
        ),
        { numRuns: 1500 },
      );
      assert.deepEqual([...seen].toSorted(), ['empty', 'text', 'trap']);
    });

    test('a value of any type is one of its type, or the guest traps', () => {
      const hostile = typedSample.chain(({ type }) =>
        fc.record({ type: fc.constant(type), words: content, flat: fc.tuple(...flatten(type).map(flatOf)), at: word }),
      );
      let taken = 0;
      let trapped = 0;
      fc.assert(
        fc.property(hostile, ({ type, words, flat, at }) => {
          const abi = memoryWith(words).abi(encoding);
          const { size, align } = layoutOf(type);
          const lifts = [() => flatLifter(type)(abi, flat, 0), () => loader(type)(abi, abi.check(at | 0, size, align))];
          for (const lift of lifts) {
            abi.beginCall();
            const outcome = outcomeOf(lift, 'ABI_VIOLATION', 'GUEST_LIMIT');
            if ('value' in outcome)
              assert.ok(isOf(type, outcome.value), `${JSON.stringify(type)} is not what was lifted`);
            if ('value' in outcome) taken++;
            else trapped++;
          }
        }),
        { numRuns: 500 },
      );
      assert.ok(taken > 100 && trapped > 100, `${taken} taken, ${trapped} trapped`);
    });

    test('a realloc that returns anything, overlapping or outside, is a trap or gets the bytes', () => {
      fc.assert(
        fc.property(typedSample, fc.array(i32, { minLength: 1, maxLength: 4 }), ({ type, value }, pointers) => {
          let calls = 0;
          const memory = new WebAssembly.Memory({ initial: 1 });
          const realloc = (): number => pointers[calls++ % pointers.length] ?? 0;
          const abi = new Abi({ handles: new HandleTable(10), memory, realloc, encoding });
          outcomeOf(() => storer(type)(abi, 16, value), 'ABI_VIOLATION');
          assert.equal(memory.buffer.byteLength, WASM_PAGE);
        }),
        { numRuns: 300 },
      );
    });
  });
}

test('what overlapping lists of lists make the host copy is bounded', () => {
  const type: WitType = { kind: 'list', element: { kind: 'list', element: { kind: 'string' } } };
  fc.assert(
    fc.property(fc.nat(64), fc.integer({ min: 1, max: 8000 }), fc.constantFrom(...ENCODINGS), (at, count, encoding) => {
      // All of the memory is pairs of one pointer and one length: every list is made of itself.
      const arena = new Arena();
      const view = new DataView(arena.memory.buffer);
      for (let pair = 0; pair < WASM_PAGE; pair += 8) {
        view.setUint32(pair, at * 8, true);
        view.setUint32(pair + 4, count, true);
      }
      const abi = arena.abi(encoding);
      abi.beginCall();
      const before = process.memoryUsage().heapUsed;
      outcomeOf(() => flatLifter(type)(abi, [at * 8, count], 0), 'ABI_VIOLATION', 'GUEST_LIMIT');
      // An element of 8 bytes is an array of a few words, a character of one byte is one or two.
      assert.ok(process.memoryUsage().heapUsed - before < 32 * MAX_LIFTED_BYTES);
    }),
    { numRuns: 60 },
  );
});

/** Handles that may be open, addresses that are aligned: words with which calls get past the first check. */
const fitting = fc.oneof(
  fc.nat(8),
  fc.nat(500).map((index) => index * 8),
  i32,
);
/** Half of the lengths are such as a call may have: the others go no further than its check. */
const argumentOf = (type: FlatType): fc.Arbitrary<CoreValue> => {
  if (type === 'i32') return fitting;
  return type === 'i64' ? fc.oneof(flatOf(type), fc.bigInt({ min: 0n, max: 2n ** 16n })) : flatOf(type);
};

/** By its name, so that a counterexample can be read. */
type HostCall = { readonly name: string; readonly flat: readonly (CoreValue | typeof RETURNED)[] };

/** Stands for what the call before returned. */
const RETURNED = 'returned';

const callOf = (from: readonly Func[]): fc.Arbitrary<HostCall> =>
  fc.constantFrom(...from).chain(({ name, core }) =>
    fc.record({
      name: fc.constant(name),
      flat: fc.tuple(...core.params.map((type) => argumentOf(type as FlatType))),
    }),
  );

/**
 * A guest that waits for longer than its request lasts. Words chosen at random do so in one program of fifty, since a
 * resource has to be there, of the right kind, and not ready.
 */
const longWait: fc.Arbitrary<readonly HostCall[]> = fc
  .bigInt({ min: 60_000_000_000n, max: 2n ** 62n })
  .map((duration) => [
    { name: 'wasi:clocks/monotonic-clock subscribe-duration', flat: [duration] },
    { name: 'wasi:io/poll [method]pollable.block', flat: [RETURNED] },
  ]);

/** Interfaces of which a guest never gets a resource, and the one that ends it: each always ends with the same error. */
const DENIED = /^wasi:(filesystem|sockets|cli\/exit)/;

/** What a guest does first, so that it has something of each kind. */
const GETS_RESOURCES = /get-std|subscribe-duration|\[constructor\]/;

test('any calls of host functions return, wait, or trap by an error of the table', async () => {
  const host = createHost();
  const funcs = (await officialImports())
    .filter(({ from, name }) => !name.endsWith('_drop') && !DENIED.test(from))
    .map(({ from, name }): Func => ({
      name: `${from} ${name}`,
      ...host.func({ interface: from, version: '0.2.12' }, name),
    }));
  const byName = new Map(funcs.map((func) => [func.name, func]));
  const first = callOf(funcs.filter(({ name }) => GETS_RESOURCES.test(name)));
  const program = fc.tuple(
    fc.array(first, { minLength: 5, maxLength: 10 }),
    fc.array(
      fc.oneof({ weight: 4, arbitrary: callOf(funcs) }, callOf(funcs.filter(({ kind }) => kind === 'waiting'))),
      {
        maxLength: 60,
        size: 'max',
      },
    ),
    // A program that has waited is over, so this comes last: half of those that get there wait.
    fc.oneof(fc.constant([]), longWait),
  );
  const codes = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(content, program, async (memory, [begin, rest, end]) => {
      const guest = new Guest();
      guest.begin(testCall());
      const abi = memoryWith(memory).abi('utf8', guest.handles);
      let returned: CoreValue = 0;
      for (const { name, flat } of [...begin, ...rest, ...end]) {
        const func = byName.get(name);
        assert.ok(func, name);
        const words = flat.map((value) => (value === RETURNED ? returned : value));
        const { code, value } = await ended(func, guest, abi, words);
        returned = value;
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (code === 'waited') break;
      }
      guest.end();
    }),
    { numRuns: 300, endOnFailure: true },
  );
  for (const code of ['returned', 'waited', 'ABI_VIOLATION', 'HANDLE_INVALID', 'GUEST_LIMIT']) {
    assert.ok((codes.get(code) ?? 0) > 1, `${code}: ${JSON.stringify([...codes])}`);
  }
});

const TRAPS: readonly ErrorCode[] = ['ABI_VIOLATION', 'HANDLE_INVALID', 'GUEST_LIMIT', 'GUEST_TRAP'];

type Func = { readonly name: string } & CompiledFunction;

/** How a call ended, and the core value that it returned, 0 if none. */
type Ending = { readonly code: string; readonly value: CoreValue };

/** Calls a function as compiled code would. One that waits meets the end of its request. */
async function ended(func: Func, guest: Guest, abi: Abi, flat: readonly CoreValue[]): Promise<Ending> {
  const waiting = func.kind === 'waiting' ? func.bind(guest, abi) : null;
  const outcome = outcomeOf(
    () => (func.kind === 'immediate' ? func.bind(guest, abi)(...flat) : waiting?.attempt(...flat)),
    ...TRAPS,
  );
  if ('code' in outcome) return { code: outcome.code, value: 0 };
  if (waiting === null) return { code: 'returned', value: (outcome.value ?? 0) as CoreValue };
  if (outcome.value === 1) return { code: 'returned', value: 0 };
  const wait = waiting.wait();
  guest.abort(new ThawError('CLIENT_GONE', 'the client left'));
  await wait;
  // What it waited for may have been over by then.
  outcomeOf(() => waiting.finish(...flat), 'CLIENT_GONE', ...TRAPS);
  return { code: 'waited', value: 0 };
}
