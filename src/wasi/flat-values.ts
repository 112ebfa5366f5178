import { ThawError } from '../errors.ts';
import type { Abi, CoreValue } from './abi.ts';
import type { HostResource } from './handles.ts';
import { casesOf, flatten, type FlatType } from './layout.ts';
import { listLoader } from './stored-values.ts';
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
 * Values that pass as core values, the parameters and results of core functions: lifted (guest to host) and lowered (host to
 * guest) by closures that are made once per type.
 *
 * Source: CanonicalABI.md, "Flat Lifting", "Flat Lowering".
 */

/** `at` indexes the first of the flat values. */
export type LiftFlat = (abi: Abi, flat: readonly CoreValue[], at: number) => unknown;
/** Only for types that flatten to one core value: CanonicalABI.md's MAX_FLAT_RESULTS. */
export type LowerFlat = (abi: Abi, value: unknown) => CoreValue;

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
