import { ThawError, invariant } from '../errors.ts';
import type { Abi, CoreValue } from './abi.ts';
import type { HostResource } from './handles.ts';
import { alignTo, casesOf, discriminantSize, flatten, layoutOf, payloadOffset, type FlatType } from './layout.ts';
import type { WitType } from './wit.ts';

/**
 * Lifting (guest to host) and lowering (host to guest) of values, as closures that are made once per type.
 *
 * What a host function sees: bool → boolean; integers up to 32 bits and floats → number; 64-bit integers → bigint; char
 * and string → string; list<u8> → Uint8Array (a view when lifted: copy what is kept; a string stands for its Latin-1
 * bytes when lowered); other lists and tuples → array; record → object with camelCase keys; option → value or undefined;
 * result and variant → {@link Tagged}; enum → its name; flags → set of names; own and borrow → {@link HostResource}.
 *
 * Source: CanonicalABI.md, "Loading", "Storing", "Flat Lifting", "Flat Lowering".
 */

export type Tagged<Tag extends string = string, Value = unknown> = { readonly tag: Tag; readonly val?: Value };
export type Result<Ok, Err> = { readonly tag: 'ok'; readonly val: Ok } | { readonly tag: 'err'; readonly val: Err };

export const ok = <Ok>(val: Ok): { tag: 'ok'; val: Ok } => ({ tag: 'ok', val });
export const err = <const Err>(val: Err): { tag: 'err'; val: Err } => ({ tag: 'err', val });
/** `ok` of a result without a payload. */
export const OK = { tag: 'ok', val: undefined } as const;
/** `err` of a result without a payload. */
export const ERR = { tag: 'err', val: undefined } as const;

export type Load = (abi: Abi, at: number) => unknown;
export type Store = (abi: Abi, at: number, value: unknown) => void;
/** `at` indexes the first of the flat values. */
export type LiftFlat = (abi: Abi, flat: readonly CoreValue[], at: number) => unknown;
/** Only for types that flatten to one core value: CanonicalABI.md's MAX_FLAT_RESULTS. */
export type LowerFlat = (abi: Abi, value: unknown) => CoreValue;

const camelCase = (name: string): string =>
  name.toLowerCase().replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Reads a value of this type at an address that is already checked. */
export function loader(type: WitType): Load {
  switch (type.kind) {
    case 'bool':
      return (abi, at) => abi.view.getUint8(at) !== 0;
    case 'u8':
      return (abi, at) => abi.view.getUint8(at);
    case 's8':
      return (abi, at) => abi.view.getInt8(at);
    case 'u16':
      return (abi, at) => abi.view.getUint16(at, true);
    case 's16':
      return (abi, at) => abi.view.getInt16(at, true);
    case 'u32':
      return (abi, at) => abi.view.getUint32(at, true);
    case 's32':
      return (abi, at) => abi.view.getInt32(at, true);
    case 'u64':
      return (abi, at) => abi.view.getBigUint64(at, true);
    case 's64':
      return (abi, at) => abi.view.getBigInt64(at, true);
    case 'f32':
      return (abi, at) => abi.view.getFloat32(at, true);
    case 'f64':
      return (abi, at) => abi.view.getFloat64(at, true);
    case 'char':
      return (abi, at) => liftChar(abi.view.getUint32(at, true));
    case 'string':
      return (abi, at) => abi.loadString(abi.view.getUint32(at, true), abi.view.getUint32(at + 4, true));
    case 'list': {
      const load = listLoader(type.element);
      return (abi, at) => load(abi, abi.view.getUint32(at, true), abi.view.getUint32(at + 4, true));
    }
    case 'own':
      return (abi, at) => abi.handles.take(abi.view.getUint32(at, true), type.resource);
    case 'borrow':
      return (abi, at) => abi.handles.get(abi.view.getUint32(at, true), type.resource);
    case 'record':
      return recordLoader(type.fields);
    case 'tuple':
      return tupleLoader(type.items);
    case 'flags': {
      const load = uintLoader(layoutOf(type).size);
      return (abi, at) => liftFlags(type.names, load(abi, at));
    }
    default:
      return variantLoader(type);
  }
}

type VariantLike = Extract<WitType, { kind: 'variant' | 'enum' | 'option' | 'result' }>;

function liftChar(code: number): string {
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    throw new ThawError('ABI_VIOLATION', `0x${code.toString(16)} is not a Unicode scalar value`);
  }
  return String.fromCodePoint(code);
}

function liftFlags(names: readonly string[], bits: number): ReadonlySet<string> {
  return new Set(names.filter((_, index) => bits & (1 << index)));
}

function lowerFlags(names: readonly string[], value: unknown): number {
  const set = value as ReadonlySet<string>;
  return names.reduce((bits, name, index) => (set.has(name) ? bits | (1 << index) : bits), 0) >>> 0;
}

const uintLoader = (size: number): ((abi: Abi, at: number) => number) =>
  size === 1
    ? (abi, at) => abi.view.getUint8(at)
    : size === 2
      ? (abi, at) => abi.view.getUint16(at, true)
      : (abi, at) => abi.view.getUint32(at, true);

const uintStorer = (size: number): ((abi: Abi, at: number, value: number) => void) =>
  size === 1
    ? (abi, at, value) => abi.view.setUint8(at, value)
    : size === 2
      ? (abi, at, value) => abi.view.setUint16(at, value, true)
      : (abi, at, value) => abi.view.setUint32(at, value, true);

function listLoader(element: WitType): (abi: Abi, pointer: number, length: number) => unknown {
  if (element.kind === 'u8') return (abi, pointer, length) => abi.loadBytes(pointer, length);
  const { size, align } = layoutOf(element);
  const load = loader(element);
  return (abi, pointer, length) => {
    const count = length >>> 0;
    const from = abi.check(pointer, count * size, align);
    abi.charge(count * size);
    const items: unknown[] = [];
    for (let index = 0; index < count; index++) items.push(load(abi, from + index * size));
    return items;
  };
}

/** Offsets of the fields of a record, in order. */
function offsetsOf(types: readonly WitType[]): number[] {
  let end = 0;
  return types.map((type) => {
    const { size, align } = layoutOf(type);
    const offset = alignTo(end, align);
    end = offset + size;
    return offset;
  });
}

function tupleLoader(items: readonly WitType[]): Load {
  const offsets = offsetsOf(items);
  const loads = items.map(loader);
  return (abi, at) => loads.map((load, index) => load(abi, at + (offsets[index] as number)));
}

function recordLoader(fields: readonly (readonly [string, WitType])[]): Load {
  const loadAll = tupleLoader(fields.map(([, type]) => type));
  const keys = fields.map(([name]) => camelCase(name));
  return (abi, at) => {
    const values = loadAll(abi, at) as unknown[];
    return Object.fromEntries(keys.map((key, index) => [key, values[index]]));
  };
}

/** Makes the host's value of case `index`, and takes it apart again. */
type CaseCodec = {
  readonly lift: (index: number, payload: unknown) => unknown;
  readonly indexOf: (value: unknown) => number;
  readonly payloadOf: (value: unknown) => unknown;
};

function caseCodec(type: VariantLike): CaseCodec {
  if (type.kind === 'option') {
    invariant(type.some.kind !== 'option', 'option<option<T>> has no representation in the host');
    return {
      lift: (index, payload) => (index === 0 ? undefined : payload),
      indexOf: (value) => (value === undefined ? 0 : 1),
      payloadOf: (value) => value,
    };
  }
  const names =
    type.kind === 'result' ? ['ok', 'err'] : type.kind === 'enum' ? type.names : type.cases.map(([name]) => name);
  const indexes = new Map(names.map((name, index) => [name, index]));
  const indexOf = (name: string): number => {
    const index = indexes.get(name);
    invariant(index !== undefined, `the host lowered case ${name}, which its type does not have`);
    return index;
  };
  if (type.kind === 'enum') {
    return {
      lift: (index) => names[index],
      indexOf: (value) => indexOf(value as string),
      payloadOf: () => undefined,
    };
  }
  return {
    lift: (index, payload) => ({ tag: names[index], val: payload }),
    indexOf: (value) => indexOf((value as Tagged).tag),
    payloadOf: (value) => (value as Tagged).val,
  };
}

function checkDiscriminant(index: number, count: number): number {
  if (index >>> 0 >= count)
    throw new ThawError('ABI_VIOLATION', `discriminant ${index >>> 0} of a variant with ${count} cases`);
  return index;
}

function variantLoader(type: VariantLike): Load {
  const cases = casesOf(type);
  const loads = cases.map((payload) => (payload === null ? null : loader(payload)));
  const offset = payloadOffset(cases);
  const loadTag = uintLoader(discriminantSize(cases.length));
  const { lift } = caseCodec(type);
  return (abi, at) => {
    const index = checkDiscriminant(loadTag(abi, at), cases.length);
    return lift(index, loads[index]?.(abi, at + offset));
  };
}

/** Writes a value of this type at an address that is already checked. */
export function storer(type: WitType): Store {
  switch (type.kind) {
    case 'bool':
      return (abi, at, value) => abi.view.setUint8(at, value === true ? 1 : 0);
    case 'u8':
    case 's8':
      return (abi, at, value) => abi.view.setUint8(at, value as number);
    case 'u16':
    case 's16':
      return (abi, at, value) => abi.view.setUint16(at, value as number, true);
    case 'u32':
    case 's32':
      return (abi, at, value) => abi.view.setUint32(at, value as number, true);
    case 'u64':
    case 's64':
      return (abi, at, value) => abi.view.setBigUint64(at, value as bigint, true);
    case 'f32':
      return (abi, at, value) => abi.view.setFloat32(at, value as number, true);
    case 'f64':
      return (abi, at, value) => abi.view.setFloat64(at, value as number, true);
    case 'char':
      return (abi, at, value) => abi.view.setUint32(at, (value as string).codePointAt(0) as number, true);
    case 'string':
      return (abi, at, value) => {
        const [pointer, length] = abi.storeString(value as string);
        storePair(abi, at, pointer, length);
      };
    case 'list':
      return listStorer(type.element);
    case 'own':
      return (abi, at, value) => abi.view.setUint32(at, abi.handles.add(value as HostResource), true);
    case 'borrow':
      throw new ThawError('INTERNAL', 'a host function cannot return a borrow');
    case 'record':
      return recordStorer(type.fields);
    case 'tuple':
      return tupleStorer(type.items);
    case 'flags': {
      const store = uintStorer(layoutOf(type).size);
      return (abi, at, value) => store(abi, at, lowerFlags(type.names, value));
    }
    default:
      return variantStorer(type);
  }
}

function storePair(abi: Abi, at: number, pointer: number, length: number): void {
  const { view } = abi;
  view.setUint32(at, pointer, true);
  view.setUint32(at + 4, length, true);
}

function listStorer(element: WitType): Store {
  if (element.kind === 'u8') {
    return (abi, at, value) => {
      const bytes = value as Uint8Array | string;
      storePair(abi, at, abi.storeBytes(bytes), bytes.length);
    };
  }
  const { size, align } = layoutOf(element);
  const store = storer(element);
  return (abi, at, value) => {
    const items = value as readonly unknown[];
    const pointer = abi.allocate(items.length * size, align);
    for (let index = 0; index < items.length; index++) store(abi, pointer + index * size, items[index]);
    storePair(abi, at, pointer, items.length);
  };
}

function tupleStorer(items: readonly WitType[]): Store {
  const offsets = offsetsOf(items);
  const stores = items.map(storer);
  return (abi, at, value) => {
    const values = value as readonly unknown[];
    for (let index = 0; index < stores.length; index++) {
      (stores[index] as Store)(abi, at + (offsets[index] as number), values[index]);
    }
  };
}

function recordStorer(fields: readonly (readonly [string, WitType])[]): Store {
  const storeAll = tupleStorer(fields.map(([, type]) => type));
  const keys = fields.map(([name]) => camelCase(name));
  return (abi, at, value) => {
    const object = value as Readonly<Record<string, unknown>>;
    storeAll(
      abi,
      at,
      keys.map((key) => object[key]),
    );
  };
}

function variantStorer(type: VariantLike): Store {
  const cases = casesOf(type);
  const stores = cases.map((payload) => (payload === null ? null : storer(payload)));
  const offset = payloadOffset(cases);
  const storeTag = uintStorer(discriminantSize(cases.length));
  const { indexOf, payloadOf } = caseCodec(type);
  return (abi, at, value) => {
    const index = indexOf(value);
    storeTag(abi, at, index);
    stores[index]?.(abi, at + offset, payloadOf(value));
  };
}

/** Lifts a value that was passed as flat core values. */
export function flatLifter(type: WitType): LiftFlat {
  switch (type.kind) {
    case 'bool':
      return (_, flat, at) => flat[at] !== 0;
    case 'u8':
      return (_, flat, at) => (flat[at] as number) & 0xff;
    case 's8':
      return (_, flat, at) => ((flat[at] as number) << 24) >> 24;
    case 'u16':
      return (_, flat, at) => (flat[at] as number) & 0xffff;
    case 's16':
      return (_, flat, at) => ((flat[at] as number) << 16) >> 16;
    case 'u32':
      return (_, flat, at) => (flat[at] as number) >>> 0;
    case 's32':
    case 'f32':
    case 'f64':
      return (_, flat, at) => flat[at];
    case 'u64':
      return (_, flat, at) => BigInt.asUintN(64, flat[at] as bigint);
    case 's64':
      return (_, flat, at) => BigInt.asIntN(64, flat[at] as bigint);
    case 'char':
      return (_, flat, at) => liftChar((flat[at] as number) >>> 0);
    case 'string':
      return (abi, flat, at) => abi.loadString(flat[at] as number, flat[at + 1] as number);
    case 'list': {
      const load = listLoader(type.element);
      return (abi, flat, at) => load(abi, flat[at] as number, flat[at + 1] as number);
    }
    case 'own':
      return (abi, flat, at) => abi.handles.take(flat[at] as number, type.resource);
    case 'borrow':
      return (abi, flat, at) => abi.handles.get(flat[at] as number, type.resource);
    case 'flags':
      return (_, flat, at) => liftFlags(type.names, flat[at] as number);
    case 'record': {
      const liftAll = flatTupleLifter(type.fields.map(([, field]) => field));
      const keys = type.fields.map(([name]) => camelCase(name));
      return (abi, flat, at) => {
        const values = liftAll(abi, flat, at);
        return Object.fromEntries(keys.map((key, index) => [key, values[index]]));
      };
    }
    case 'tuple':
      return flatTupleLifter(type.items);
    default:
      return flatVariantLifter(type);
  }
}

function flatTupleLifter(items: readonly WitType[]): (abi: Abi, flat: readonly CoreValue[], at: number) => unknown[] {
  const lifts = items.map(flatLifter);
  const counts = items.map((item) => flatten(item).length);
  return (abi, flat, at) => {
    let next = at;
    return lifts.map((lift, index) => {
      const value = lift(abi, flat, next);
      next += counts[index] as number;
      return value;
    });
  };
}

function flatVariantLifter(type: VariantLike): LiftFlat {
  const cases = casesOf(type);
  const joined = flatten(type).slice(1);
  const lifts = cases.map((payload) => (payload === null ? null : casePayloadLifter(payload, joined)));
  const { lift } = caseCodec(type);
  return (abi, flat, at) => {
    const index = checkDiscriminant(flat[at] as number, cases.length);
    return lift(index, lifts[index]?.(abi, flat, at + 1));
  };
}

/** A payload travels as the join of all cases' flat types; where its own differ, the bits are taken back out. */
function casePayloadLifter(payload: WitType, joined: readonly FlatType[]): LiftFlat {
  const lift = flatLifter(payload);
  const wanted = flatten(payload);
  if (wanted.every((flat, index) => flat === joined[index])) return lift;
  return (abi, flat, at) => {
    const narrowed = wanted.map((want, index) =>
      reinterpret(flat[at + index] as CoreValue, joined[index] as FlatType, want),
    );
    return lift(abi, narrowed, 0);
  };
}

const scratch = new DataView(new ArrayBuffer(8));

/** CanonicalABI.md `lift_flat_variant`: the low bits of the carrier, read as the wanted type. */
function reinterpret(value: CoreValue, have: FlatType, want: FlatType): CoreValue {
  if (have === want) return value;
  if (have === 'i64') scratch.setBigInt64(0, value as bigint, true);
  else scratch.setInt32(0, value as number, true);
  if (want === 'i32') return scratch.getInt32(0, true);
  if (want === 'f32') return scratch.getFloat32(0, true);
  return scratch.getFloat64(0, true);
}

/** Lowers a value of a type that flattens to a single core value. */
export function flatLowerer(type: WitType): LowerFlat {
  switch (type.kind) {
    case 'bool':
      return (_, value) => (value === true ? 1 : 0);
    case 'char':
      return (_, value) => (value as string).codePointAt(0) as number;
    case 'own':
      return (abi, value) => abi.handles.add(value as HostResource);
    case 'flags':
      return (_, value) => lowerFlags(type.names, value);
    case 'enum':
    case 'result':
    case 'variant': {
      const { indexOf } = caseCodec(type);
      return (_, value) => indexOf(value);
    }
    case 'record':
    case 'tuple':
    case 'option':
    case 'string':
    case 'list':
    case 'borrow':
      throw new ThawError('INTERNAL', `${type.kind} does not lower to one core value`);
    default:
      return (_, value) => value as CoreValue;
  }
}
