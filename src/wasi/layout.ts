import type { CoreFuncType } from '../wasm/plan.ts';
import type { WitFunc, WitType } from './wit.ts';

/**
 * Size, alignment and flattening of value types. Source: component-model, design/mvp/CanonicalABI.md, "Alignment",
 * "Element Size", "Flattening".
 */

export type FlatType = 'i32' | 'i64' | 'f32' | 'f64';

/** CanonicalABI.md: more flat parameters than this are passed through memory. */
const MAX_FLAT_PARAMS = 16;
/** CanonicalABI.md: more flat results than this are returned through memory. */
const MAX_FLAT_RESULTS = 1;

type Layout = { readonly size: number; readonly align: number };

/** Memoised: the types are shared and immutable, and records of records would be measured many times. */
const layouts = new WeakMap<WitType, Layout>();

/** Bytes and alignment of a value of this type in linear memory. */
export function layoutOf(type: WitType): Layout {
  let layout = layouts.get(type);
  if (layout === undefined) {
    layout = computeLayout(type);
    layouts.set(type, layout);
  }
  return layout;
}

export const alignTo = (offset: number, align: number): number => Math.ceil(offset / align) * align;

function computeLayout(type: WitType): Layout {
  switch (type.kind) {
    case 'bool':
    case 'u8':
    case 's8':
      return { size: 1, align: 1 };
    case 'u16':
    case 's16':
      return { size: 2, align: 2 };
    case 'u32':
    case 's32':
    case 'f32':
    case 'char':
    case 'own':
    case 'borrow':
      return { size: 4, align: 4 };
    case 'u64':
    case 's64':
    case 'f64':
      return { size: 8, align: 8 };
    case 'string':
    case 'list':
      return { size: 8, align: 4 };
    case 'record':
      return recordLayout(type.fields.map(([, field]) => field));
    case 'tuple':
      return recordLayout(type.items);
    case 'flags':
      return flagsLayout(type.names.length);
    default:
      return variantLayout(casesOf(type));
  }
}

function recordLayout(fields: readonly WitType[]): Layout {
  let size = 0;
  let align = 1;
  for (const field of fields) {
    const layout = layoutOf(field);
    size = alignTo(size, layout.align) + layout.size;
    align = Math.max(align, layout.align);
  }
  return { size: alignTo(size, align), align };
}

/** Flags of up to 8, 16 and 32 names take 1, 2 and 4 bytes; the spec allows no more than 32. */
function flagsLayout(count: number): Layout {
  const size = count <= 8 ? 1 : count <= 16 ? 2 : 4;
  return { size, align: size };
}

function variantLayout(cases: readonly (WitType | null)[]): Layout {
  const tag = discriminantSize(cases.length);
  const align = Math.max(tag, payloadAlign(cases));
  const payload = Math.max(0, ...cases.map((type) => (type === null ? 0 : layoutOf(type).size)));
  return { size: alignTo(payloadOffset(cases) + payload, align), align };
}

/** Bytes of the discriminant of a variant with `count` cases. */
export const discriminantSize = (count: number): 1 | 2 | 4 => (count <= 0x100 ? 1 : count <= 0x10000 ? 2 : 4);

const payloadAlign = (cases: readonly (WitType | null)[]): number =>
  Math.max(1, ...cases.map((type) => (type === null ? 1 : layoutOf(type).align)));

/** Where the payload of a variant begins. */
export const payloadOffset = (cases: readonly (WitType | null)[]): number =>
  alignTo(discriminantSize(cases.length), payloadAlign(cases));

/** What the canonical ABI treats as a variant. */
export type VariantLike = Extract<WitType, { kind: 'variant' | 'enum' | 'option' | 'result' }>;

/** The payload types of everything that the canonical ABI treats as a variant, in discriminant order. */
export function casesOf(type: VariantLike): readonly (WitType | null)[] {
  switch (type.kind) {
    case 'variant':
      return type.cases.map(([, payload]) => payload);
    case 'enum':
      return type.names.map(() => null);
    case 'option':
      return [null, type.some];
    case 'result':
      return [type.ok, type.err];
  }
}

/** The core values that a value of this type becomes when it is passed flat. */
export function flatten(type: WitType): readonly FlatType[] {
  switch (type.kind) {
    case 'u64':
    case 's64':
      return ['i64'];
    case 'f32':
    case 'f64':
      return [type.kind];
    case 'string':
    case 'list':
      return ['i32', 'i32'];
    case 'record':
      return type.fields.flatMap(([, field]) => flatten(field));
    case 'tuple':
      return type.items.flatMap(flatten);
    case 'variant':
    case 'option':
    case 'result':
      return ['i32', ...joinCases(casesOf(type))];
    default:
      return ['i32'];
  }
}

/** CanonicalABI.md `join`: the flat types that can carry the payload of any of the cases. */
function joinCases(cases: readonly (WitType | null)[]): FlatType[] {
  const joined: FlatType[] = [];
  for (const type of cases) {
    if (type === null) continue;
    for (const [index, flat] of flatten(type).entries()) {
      const other = joined[index];
      joined[index] = other === undefined || other === flat ? flat : join(other, flat);
    }
  }
  return joined;
}

const join = (a: FlatType, b: FlatType): FlatType =>
  (a === 'i32' && b === 'f32') || (a === 'f32' && b === 'i32') ? 'i32' : 'i64';

/** How a lowered function passes its values: `retptr` when the result goes through memory as a last parameter. */
export type LoweredShape = {
  readonly core: CoreFuncType;
  readonly paramsInMemory: boolean;
  readonly retptr: boolean;
};

/** The core signature of `canon lower` of a function. */
export function loweredShape(func: WitFunc): LoweredShape {
  const flatParams = func.params.flatMap(([, type]) => flatten(type));
  const flatResults = func.result === null ? [] : flatten(func.result);
  const paramsInMemory = flatParams.length > MAX_FLAT_PARAMS;
  const retptr = flatResults.length > MAX_FLAT_RESULTS;
  const params: FlatType[] = paramsInMemory ? ['i32'] : [...flatParams];
  if (retptr) params.push('i32');
  return { core: { params, results: retptr ? [] : flatResults }, paramsInMemory, retptr };
}
