import { ThawError } from '../errors.ts';
import type { Abi, CoreValue } from './abi.ts';
import { isLarge, liftCase, lowerCase } from './cases.ts';
import { flatten, type FlatType, type VariantLike } from './layout.ts';
import { quoted, Source } from './source.ts';
import { loadList, recordOf } from './stored-values.ts';
import { liftChar, liftFlags, lowerFlags } from './values.ts';
import type { WitType } from './wit.ts';

/**
 * Code for values that pass as core values, the parameters and results of core functions: lifted (guest to host) and lowered
 * (host to guest). The code is within a function that has an {@link Abi} by the name of `abi`.
 *
 * Source: CanonicalABI.md, "Flat Lifting", "Flat Lowering".
 */

/** `at` indexes the first of the flat values. */
export type LiftFlat = (abi: Abi, flat: readonly CoreValue[], at: number) => unknown;

/**
 * Adds the code that lifts a value. @param flat expressions for its core values, which may be evaluated at any time
 * @returns its name
 */
function lift(source: Source, type: WitType, flat: readonly string[]): string {
  if (!isLarge(type)) return liftHere(source, type, flat);
  return source.evaluated(`${source.constant(flatLifter(type))}(abi, [${flat.join()}], 0)`);
}

function liftHere(source: Source, type: WitType, flat: readonly string[]): string {
  const [first, second] = flat as readonly [string, string];
  switch (type.kind) {
    case 'bool':
      return source.evaluated(`${first} !== 0`);
    case 'u8':
      return source.evaluated(`${first} & 0xff`);
    case 's8':
      return source.evaluated(`(${first} << 24) >> 24`);
    case 'u16':
      return source.evaluated(`${first} & 0xffff`);
    case 's16':
      return source.evaluated(`(${first} << 16) >> 16`);
    case 'u32':
      return source.evaluated(`${first} >>> 0`);
    case 's32':
    case 'f32':
    case 'f64':
      return source.evaluated(first);
    case 'u64':
      return source.evaluated(`BigInt.asUintN(64, ${first})`);
    case 's64':
      return source.evaluated(`BigInt.asIntN(64, ${first})`);
    case 'char':
      return source.evaluated(`${source.constant(liftChar)}(${first} >>> 0)`);
    case 'string':
      return source.evaluated(`abi.loadString(${first}, ${second})`);
    case 'list':
      return loadList(source, type.element, first, second);
    case 'own':
      return source.evaluated(`abi.handles.take(${first}, ${quoted(type.resource)})`);
    case 'borrow':
      return source.evaluated(`abi.handles.get(${first}, ${quoted(type.resource)})`);
    case 'flags':
      return source.evaluated(`${source.constant(liftFlags)}(${source.constant(type.names)}, ${first})`);
    case 'record': {
      const types = type.fields.map(([, field]) => field);
      return source.evaluated(recordOf(type.fields, liftAll(source, types, flat)));
    }
    case 'tuple':
      return source.evaluated(`[${liftAll(source, type.items, flat).join()}]`);
    case 'option':
    case 'result':
    case 'variant':
    case 'enum':
      return liftVariant(source, type, flat);
  }
}

/** Adds the code that lifts values which were passed one after the other. @returns their names */
export function liftAll(source: Source, types: readonly WitType[], flat: readonly string[]): string[] {
  let next = 0;
  return types.map((type) => {
    const from = next;
    next += flatten(type).length;
    return lift(source, type, flat.slice(from, next));
  });
}

/** A payload travels as the join of all cases' flat types; where its own differ, the bits are taken back out. */
function liftVariant(source: Source, type: VariantLike, [index, ...carriers]: readonly string[]): string {
  const joined = flatten(type).slice(1);
  return liftCase(source, type, index as string, (payload) => {
    const wanted = flatten(payload);
    const narrowed = wanted.map((want, at) =>
      reinterpreted(source, carriers[at] as string, joined[at] as FlatType, want),
    );
    return lift(source, payload, narrowed);
  });
}

/** CanonicalABI.md `lift_flat_variant`: the low bits of the carrier, read as the wanted type. */
function reinterpreted(source: Source, value: string, have: FlatType, want: FlatType): string {
  if (have === want) return value;
  const reinterpret = source.constant(have === 'i64' ? fromI64 : fromI32);
  return source.evaluated(`${reinterpret}(${value}, ${quoted(want)})`);
}

const scratch = new DataView(new ArrayBuffer(8));

function fromI64(value: bigint, want: FlatType): CoreValue {
  scratch.setBigInt64(0, value, true);
  return inScratch(want);
}

function fromI32(value: number, want: FlatType): CoreValue {
  scratch.setInt32(0, value, true);
  return inScratch(want);
}

function inScratch(want: FlatType): CoreValue {
  if (want === 'i32') return scratch.getInt32(0, true);
  if (want === 'f32') return scratch.getFloat32(0, true);
  return scratch.getFloat64(0, true);
}

/**
 * Adds the code that lowers a value of a type that flattens to a single core value: CanonicalABI.md's MAX_FLAT_RESULTS.
 * @returns an expression for that, to be evaluated once
 */
export function lower(source: Source, type: WitType, value: string): string {
  switch (type.kind) {
    case 'bool':
      return `(${value} === true ? 1 : 0)`;
    case 'char':
      return `${value}.codePointAt(0)`;
    case 'own':
      return `abi.handles.add(${value})`;
    case 'flags':
      return `${source.constant(lowerFlags)}(${source.constant(type.names)}, ${value})`;
    case 'enum':
    case 'result':
    case 'variant': {
      const index = source.variable();
      lowerCase(source, type, value, (at) => source.add(`${index} = ${at};`));
      return index;
    }
    case 'record':
    case 'tuple':
    case 'option':
    case 'string':
    case 'list':
    case 'borrow':
      throw new ThawError('INTERNAL', `${type.kind} does not lower to one core value`);
    default:
      return value;
  }
}

const lifters = new WeakMap<WitType, LiftFlat>();

/** A function that lifts a value which was passed as flat core values. One per type. */
export function flatLifter(type: WitType): LiftFlat {
  let found = lifters.get(type);
  if (found === undefined) {
    const source = new Source(`lift-${type.kind}`);
    const flat = flatten(type).map((_, index) => source.evaluated(`flat[at + ${index}]`));
    source.add(`return ${liftHere(source, type, flat)};`);
    found = source.compile('abi, flat, at') as LiftFlat;
    lifters.set(type, found);
  }
  return found;
}
