import * as fc from 'fast-check';
import type { Abi, CoreValue } from '../../src/wasi/abi.ts';
import { casesOf, flatten, layoutOf, type FlatType } from '../../src/wasi/layout.ts';
import { storer } from '../../src/wasi/stored-values.ts';
import type { WitType } from '../../src/wasi/wit.ts';

/** A value of a type as the host sees it, and what the specification's `lower_flat` makes of it. */
export type Sample = { readonly value: unknown; readonly flat: (abi: Abi) => CoreValue[] };
export type TypedSample = Sample & { readonly type: WitType };

const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => prefix + index);

/** Types without resources. option<option<T>> has no form in the host, and no WASI interface has it. */
const { type: anyType } = fc.letrec<{ type: WitType; some: WitType }>((tie) => {
  const leaf = fc.constantFrom<WitType>(
    { kind: 'bool' },
    { kind: 'u8' },
    { kind: 's8' },
    { kind: 'u16' },
    { kind: 's16' },
    { kind: 'u32' },
    { kind: 's32' },
    { kind: 'u64' },
    { kind: 's64' },
    { kind: 'f32' },
    { kind: 'f64' },
    { kind: 'char' },
    { kind: 'string' },
    { kind: 'list', element: { kind: 'u8' } },
  );
  const wide = fc.oneof(
    fc.integer({ min: 1, max: 32 }).map((count): WitType => ({ kind: 'flags', names: names('f', count) })),
    fc.constantFrom(1, 2, 256, 257).map((count): WitType => ({ kind: 'enum', names: names('e', count) })),
  );
  const inner = tie('type');
  const payload = fc.option(inner, { nil: null });
  const compound = fc.oneof(
    inner.map((element): WitType => ({ kind: 'list', element })),
    fc.record({ ok: payload, err: payload }).map((sides): WitType => ({ kind: 'result', ...sides })),
    fc.array(inner, { minLength: 1, maxLength: 4 }).map((items): WitType => ({ kind: 'tuple', items })),
    fc
      .array(inner, { minLength: 1, maxLength: 4 })
      .map((items): WitType => ({ kind: 'record', fields: items.map((item, index) => [`r${index}`, item]) })),
    fc
      .array(payload, { minLength: 1, maxLength: 5 })
      .map((cases): WitType => ({ kind: 'variant', cases: cases.map((item, index) => [`v${index}`, item]) })),
  );
  const some = fc.oneof({ maxDepth: 3, withCrossShrink: true }, leaf, wide, compound);
  const option = some.map((item): WitType => ({ kind: 'option', some: item }));
  return { some, type: fc.oneof(leaf, wide, option, tie('some')) };
});

const atom = (value: unknown, ...flat: CoreValue[]): Sample => ({ value, flat: () => flat });

/** Core i32 values reach the host signed. */
const int = (min: number, max: number): fc.Arbitrary<Sample> =>
  fc.integer({ min, max }).map((value) => atom(value, value | 0));
const long = (min: bigint, max: bigint): fc.Arbitrary<Sample> =>
  fc.bigInt({ min, max }).map((value) => atom(value, BigInt.asIntN(64, value)));

/** Values that live in memory: stored, and their pointer and length read back. */
const inMemory = (type: WitType, value: unknown): Sample => ({
  value,
  flat: (abi) => {
    const { size, align } = layoutOf(type);
    const at = abi.allocate(size, align);
    storer(type)(abi, at, value);
    return [abi.view.getInt32(at, true), abi.view.getInt32(at + 4, true)];
  },
});

/** Strings of every width: ASCII, Latin-1, and all of Unicode but lone surrogates. */
export const wellFormed = fc.oneof(
  fc.string({ unit: 'binary-ascii', maxLength: 100 }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xff }).map((code) => String.fromCharCode(code)), maxLength: 100 }),
  fc.string({ unit: 'binary', maxLength: 100 }),
);

const zero = (type: FlatType): CoreValue => (type === 'i64' ? 0n : 0);
const bits = new DataView(new ArrayBuffer(8));

/** CanonicalABI.md `lower_flat_variant`: a value in the carrier that all cases share. */
function carry(value: CoreValue, have: FlatType, carrier: FlatType): CoreValue {
  if (have === carrier) return value;
  if (typeof value === 'bigint') throw new TypeError('an i64 is carried by nothing else');
  if (have === 'f64') bits.setFloat64(0, value);
  else if (have === 'f32') bits.setFloat32(0, value);
  if (have === 'f64') return bits.getBigInt64(0);
  const low = have === 'f32' ? bits.getInt32(0) : value;
  return carrier === 'i32' ? low : BigInt(low >>> 0);
}

function variantFlat(
  type: Extract<WitType, { kind: 'option' | 'result' | 'variant' }>,
  index: number,
  payload: Sample | null,
): Sample['flat'] {
  const carriers = flatten(type).slice(1);
  const own = casesOf(type)[index] ?? null;
  const have = own === null ? [] : flatten(own);
  return (abi) => {
    const flat = payload?.flat(abi) ?? [];
    const carried = carriers.map((carrier, at) => {
      const value = flat[at];
      const from = have[at];
      return value === undefined || from === undefined ? zero(carrier) : carry(value, from, carrier);
    });
    return [index, ...carried];
  };
}

const optional = (type: WitType | null): fc.Arbitrary<Sample | null> =>
  type === null ? fc.constant(null) : sampleOf(type);

function caseSample(
  type: Extract<WitType, { kind: 'result' | 'variant' }>,
  tags: readonly string[],
): fc.Arbitrary<Sample> {
  const cases = casesOf(type).map((payload, index) =>
    optional(payload).map((sample) => ({
      value: { tag: tags[index], val: sample?.value },
      flat: variantFlat(type, index, sample),
    })),
  );
  return fc.oneof(...cases);
}

const all = (types: readonly WitType[]): fc.Arbitrary<Sample[]> => fc.tuple(...types.map(sampleOf));
const flatAll =
  (samples: readonly Sample[]): Sample['flat'] =>
  (abi) =>
    samples.flatMap(({ flat }) => flat(abi));

/** Values of a type. */
export function sampleOf(type: WitType): fc.Arbitrary<Sample> {
  switch (type.kind) {
    case 'bool':
      return fc.boolean().map((value) => atom(value, Number(value)));
    case 'u8':
      return int(0, 0xff);
    case 's8':
      return int(-0x80, 0x7f);
    case 'u16':
      return int(0, 0xffff);
    case 's16':
      return int(-0x8000, 0x7fff);
    case 'u32':
      return int(0, 0xffff_ffff);
    case 's32':
      return int(-0x8000_0000, 0x7fff_ffff);
    case 'u64':
      return long(0n, 2n ** 64n - 1n);
    case 's64':
      return long(-(2n ** 63n), 2n ** 63n - 1n);
    case 'f32':
      return fc.float().map((value) => atom(value, value));
    case 'f64':
      return fc.double().map((value) => atom(value, value));
    case 'char':
      return fc
        .string({ unit: 'binary', minLength: 1, maxLength: 1 })
        .map((value) => atom(value, value.codePointAt(0) ?? 0));
    case 'string':
      return wellFormed.map((value) => inMemory(type, value));
    case 'list':
      return type.element.kind === 'u8'
        ? fc.uint8Array({ maxLength: 100 }).map((value) => inMemory(type, value))
        : fc.array(sampleOf(type.element), { maxLength: 5 }).map((samples) =>
            inMemory(
              type,
              samples.map(({ value }) => value),
            ),
          );
    case 'flags':
      return fc.subarray([...type.names]).map((set) => {
        const mask = set.reduce((sum, name) => sum + 2 ** type.names.indexOf(name), 0);
        return atom(new Set(set), mask | 0);
      });
    case 'enum':
      return fc.nat(type.names.length - 1).map((index) => atom(type.names[index], index));
    case 'tuple':
      return all(type.items).map((samples) => ({ value: samples.map(({ value }) => value), flat: flatAll(samples) }));
    case 'record':
      return all(type.fields.map(([, field]) => field)).map((samples) => ({
        value: Object.fromEntries(type.fields.map(([name], index) => [name, samples[index]?.value])),
        flat: flatAll(samples),
      }));
    case 'option':
      return fc
        .option(sampleOf(type.some), { nil: null })
        .map((sample) => ({ value: sample?.value, flat: variantFlat(type, sample === null ? 0 : 1, sample) }));
    case 'result':
      return caseSample(type, ['ok', 'err']);
    case 'variant':
      return caseSample(
        type,
        type.cases.map(([name]) => name),
      );
    default:
      throw new TypeError(`no samples of ${type.kind}`);
  }
}

export const typedSample: fc.Arbitrary<TypedSample> = anyType.chain((type) =>
  sampleOf(type).map((sample) => ({ type, ...sample })),
);

/** Values in a form that deepEqual compares: views of memory as arrays of numbers. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Set || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
