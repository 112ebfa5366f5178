import { ThawError } from '../errors.ts';
import type { Abi } from './abi.ts';
import type { HostResource } from './handles.ts';
import { alignTo, casesOf, discriminantSize, layoutOf, payloadOffset } from './layout.ts';
import {
  camelCase,
  caseCodec,
  checkDiscriminant,
  liftChar,
  liftFlags,
  lowerFlags,
  type VariantLike,
} from './values.ts';
import type { WitType } from './wit.ts';

/**
 * Values in the guest's memory: read from there, and written to it, by closures that are made once per type.
 *
 * Source: CanonicalABI.md, "Loading", "Storing".
 */

export type Load = (abi: Abi, at: number) => unknown;
export type Store = (abi: Abi, at: number, value: unknown) => void;

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

/** Reads a list, given its address and its length as they were passed. */
export function listLoader(element: WitType): (abi: Abi, pointer: number, length: number) => unknown {
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
