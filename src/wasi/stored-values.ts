import { ThawError } from '../errors.ts';
import type { Abi } from './abi.ts';
import { isLarge, liftCase, lowerCase } from './cases.ts';
import { alignTo, casesOf, discriminantSize, layoutOf, payloadOffset, type VariantLike } from './layout.ts';
import { quoted, Source } from './source.ts';
import { camelCase, liftChar, liftFlags, lowerFlags } from './values.ts';
import type { WitType } from './wit.ts';

/**
 * Code for values in the guest's memory: read from there, and written to it. The code is within a function that has an
 * {@link Abi} by the name of `abi`.
 *
 * Source: CanonicalABI.md, "Loading", "Storing".
 */

export type Load = (abi: Abi, at: number) => unknown;
export type Store = (abi: Abi, at: number, value: unknown) => void;

/** Where a value lies: so many bytes behind an address that is checked already. `view` and `at` are names in the code. */
export type Place = { readonly view: string; readonly at: string; readonly offset: number };

const behind = ({ view, at, offset }: Place, bytes: number): Place => ({ view, at, offset: offset + bytes });
const address = ({ at, offset }: Place): string => (offset === 0 ? at : `${at} + ${offset}`);

/** What a DataView calls a number of this type. */
const NUMBERS = {
  u8: 'Uint8',
  s8: 'Int8',
  u16: 'Uint16',
  s16: 'Int16',
  u32: 'Uint32',
  s32: 'Int32',
  u64: 'BigUint64',
  s64: 'BigInt64',
  f32: 'Float32',
  f64: 'Float64',
} as const;
type NumberKind = keyof typeof NUMBERS;

const UINTS = { 1: 'u8', 2: 'u16', 4: 'u32' } as const;

/** The last argument makes it little-endian; accesses to one byte do without. */
const get = (kind: NumberKind, place: Place): string => `${place.view}.get${NUMBERS[kind]}(${address(place)}, true)`;
const set = (kind: NumberKind, place: Place, value: string | number): string =>
  `${place.view}.set${NUMBERS[kind]}(${address(place)}, ${value}, true);`;

/** Adds the code that reads a value. @returns its name */
function load(source: Source, type: WitType, place: Place): string {
  if (!isLarge(type)) return loadHere(source, type, place);
  return source.evaluated(`${source.constant(loader(type))}(abi, ${address(place)})`);
}

function loadHere(source: Source, type: WitType, place: Place): string {
  switch (type.kind) {
    case 'bool':
      return source.evaluated(`${get('u8', place)} !== 0`);
    case 'char':
      return source.evaluated(`${source.constant(liftChar)}(${get('u32', place)})`);
    case 'string':
      return source.evaluated(`abi.loadString(${get('u32', place)}, ${get('u32', behind(place, 4))})`);
    case 'list':
      return loadList(source, type.element, get('u32', place), get('u32', behind(place, 4)));
    case 'own':
      return source.evaluated(`abi.handles.take(${get('u32', place)}, ${quoted(type.resource)})`);
    case 'borrow':
      return source.evaluated(`abi.handles.get(${get('u32', place)}, ${quoted(type.resource)})`);
    case 'record':
      return loadRecord(source, type.fields, place);
    case 'tuple':
      return source.evaluated(`[${loadAll(source, type.items, place).join()}]`);
    case 'flags': {
      const bits = get(uintOf(layoutOf(type).size), place);
      return source.evaluated(`${source.constant(liftFlags)}(${source.constant(type.names)}, ${bits})`);
    }
    case 'option':
    case 'result':
    case 'variant':
    case 'enum':
      return loadVariant(source, type, place);
    default:
      return source.evaluated(get(type.kind, place));
  }
}

const uintOf = (size: number): 'u8' | 'u16' | 'u32' => UINTS[size as keyof typeof UINTS];

/** Adds the code that reads a list. @param pointer @param length expressions for what the guest passed @returns its name */
export function loadList(source: Source, element: WitType, pointer: string, length: string): string {
  if (element.kind === 'u8') return source.evaluated(`abi.loadBytes(${pointer}, ${length})`);
  const { size, align } = layoutOf(element);
  const count = source.evaluated(`${length} >>> 0`);
  const from = source.evaluated(`abi.check(${pointer}, ${count} * ${size}, ${align})`);
  source.add(`abi.charge(${count} * ${size});`);
  const items = source.evaluated('[]');
  const view = source.evaluated('abi.view');
  const index = source.variable();
  source.add(`for (${index} = 0; ${index} < ${count}; ${index}++) {`);
  const at = source.evaluated(`${from} + ${index} * ${size}`);
  const item = load(source, element, { view, at, offset: 0 });
  source.add(`${items}.push(${item});`, '}');
  return items;
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

/** @returns the names of the values, which lie one behind the other */
export function loadAll(source: Source, types: readonly WitType[], place: Place): string[] {
  const offsets = offsetsOf(types);
  return types.map((type, index) => load(source, type, behind(place, offsets[index] as number)));
}

function loadRecord(source: Source, fields: readonly (readonly [string, WitType])[], place: Place): string {
  const types = fields.map(([, type]) => type);
  return source.evaluated(recordOf(fields, loadAll(source, types, place)));
}

/** The expression for a record of these values. */
export const recordOf = (fields: readonly (readonly [name: string, WitType])[], values: readonly string[]): string =>
  `{ ${fields.map(([name], index) => `${quoted(camelCase(name))}: ${values[index] as string}`).join(', ')} }`;

function loadVariant(source: Source, type: VariantLike, place: Place): string {
  const cases = casesOf(type);
  const index = source.evaluated(get(uintOf(discriminantSize(cases.length)), place));
  const payload = behind(place, payloadOffset(cases));
  return liftCase(source, type, index, (found) => load(source, found, payload));
}

/**
 * Adds the code that writes a value. The guest may be asked for memory, and its memory may grow: the variable with the
 * name of `place.view` is set anew then.
 *
 * @param value an expression for it
 */
export function store(source: Source, type: WitType, place: Place, value: string): void {
  if (!isLarge(type)) {
    storeHere(source, type, place, value);
    return;
  }
  source.add(`${source.constant(storer(type))}(abi, ${address(place)}, ${value});`, refresh(place));
}

const refresh = ({ view }: Place): string => `${view} = abi.view;`;

function storeHere(source: Source, type: WitType, place: Place, value: string): void {
  switch (type.kind) {
    case 'bool':
      source.add(set('u8', place, `${value} === true ? 1 : 0`));
      break;
    case 'char':
      source.add(set('u32', place, `${value}.codePointAt(0)`));
      break;
    case 'string': {
      const stored = source.evaluated(`abi.storeString(${value})`);
      storePair(source, place, `${stored}[0]`, `${stored}[1]`);
      break;
    }
    case 'list':
      storeList(source, type.element, place, value);
      break;
    case 'own':
      source.add(set('u32', place, `abi.handles.add(${value})`));
      break;
    case 'borrow':
      throw new ThawError('INTERNAL', 'a host function cannot return a borrow');
    case 'record':
      storeAll(source, type.fields, place, (name) => `${value}[${quoted(camelCase(name))}]`);
      break;
    case 'tuple':
      storeAll(source, [...type.items.entries()], place, (index) => `${value}[${index}]`);
      break;
    case 'flags': {
      const bits = `${source.constant(lowerFlags)}(${source.constant(type.names)}, ${value})`;
      source.add(set(uintOf(layoutOf(type).size), place, bits));
      break;
    }
    case 'option':
    case 'result':
    case 'variant':
    case 'enum':
      storeVariant(source, type, place, value);
      break;
    default:
      source.add(set(type.kind, place, value));
  }
}

/** Memory was asked for before. */
function storePair(source: Source, place: Place, pointer: string, length: string): void {
  source.add(refresh(place), set('u32', place, pointer), set('u32', behind(place, 4), length));
}

function storeList(source: Source, element: WitType, place: Place, value: string): void {
  const list = source.evaluated(value);
  if (element.kind === 'u8') {
    const bytes = source.evaluated(`abi.storeBytes(${list})`);
    storePair(source, place, bytes, `${list}.length`);
    return;
  }
  const { size, align } = layoutOf(element);
  const pointer = source.evaluated(`abi.allocate(${list}.length * ${size}, ${align})`);
  source.add(refresh(place));
  const index = source.variable();
  source.add(`for (${index} = 0; ${index} < ${list}.length; ${index}++) {`);
  const at = source.evaluated(`${pointer} + ${index} * ${size}`);
  const item = source.evaluated(`${list}[${index}]`);
  store(source, element, { view: place.view, at, offset: 0 }, item);
  source.add('}');
  storePair(source, place, pointer, `${list}.length`);
}

/** Fields by their names or indexes. */
function storeAll<Name>(
  source: Source,
  fields: readonly (readonly [Name, WitType])[],
  place: Place,
  valueOf: (name: Name) => string,
): void {
  const offsets = offsetsOf(fields.map(([, type]) => type));
  for (const [index, [name, type]] of fields.entries()) {
    store(source, type, behind(place, offsets[index] as number), valueOf(name));
  }
}

function storeVariant(source: Source, type: VariantLike, place: Place, value: string): void {
  const cases = casesOf(type);
  const tag = uintOf(discriminantSize(cases.length));
  const payloadPlace = behind(place, payloadOffset(cases));
  lowerCase(source, type, value, (index, payload, payloadValue) => {
    source.add(set(tag, place, index));
    if (payload !== null) store(source, payload, payloadPlace, payloadValue);
  });
}

const loaders = new WeakMap<WitType, Load>();
const storers = new WeakMap<WitType, Store>();

/** A function that reads a value of this type at an address that is already checked. One per type. */
export function loader(type: WitType): Load {
  let found = loaders.get(type);
  if (found === undefined) {
    const source = new Source(`load-${type.kind}`);
    source.add('const view = abi.view;');
    const value = loadHere(source, type, { view: 'view', at: 'at', offset: 0 });
    source.add(`return ${value};`);
    found = source.compile('abi, at') as Load;
    loaders.set(type, found);
  }
  return found;
}

/** A function that writes a value of this type at an address that is already checked. One per type. */
export function storer(type: WitType): Store {
  let found = storers.get(type);
  if (found === undefined) {
    const source = new Source(`store-${type.kind}`);
    source.add('let view = abi.view;');
    storeHere(source, type, { view: 'view', at: 'at', offset: 0 }, 'value');
    found = source.compile('abi, at, value') as Store;
    storers.set(type, found);
  }
  return found;
}
