import { ThawError } from '../errors.ts';
import type { Primitive } from '../wasi/wit.ts';
import type { ExternKind } from './plan.ts';
import { malformed, type Reader } from './reader.ts';

/** The sorts of definitions that have an index space of their own. Values are refused. */
export type CoreExternSort = `core ${ExternKind}`;
export type Sort =
  | CoreExternSort
  | 'core type'
  | 'core module'
  | 'core instance'
  | 'func'
  | 'type'
  | 'component'
  | 'instance';

const EXTERN_KINDS = ['func', 'table', 'memory', 'global', 'tag'] as const satisfies readonly ExternKind[];

export type SortIndex = { readonly sort: Sort; readonly index: number };

export type Alias =
  | { readonly kind: 'alias export'; readonly sort: Sort; readonly instance: number; readonly name: string }
  | { readonly kind: 'alias core export'; readonly sort: Sort; readonly instance: number; readonly name: string }
  | { readonly kind: 'alias outer'; readonly sort: Sort; readonly count: number; readonly index: number };

/** A primitive type, or an index into the type index space. */
export type ValTypeRef = Primitive | number;

type LabelledType = { readonly name: string; readonly type: ValTypeRef };

export type TypeDef =
  | { readonly kind: 'primitive'; readonly name: Primitive }
  | { readonly kind: 'record'; readonly fields: readonly LabelledType[] }
  | { readonly kind: 'variant'; readonly cases: readonly { readonly name: string; readonly type: ValTypeRef | null }[] }
  | { readonly kind: 'list' | 'option'; readonly type: ValTypeRef }
  | { readonly kind: 'tuple'; readonly types: readonly ValTypeRef[] }
  | { readonly kind: 'flags' | 'enum'; readonly labels: readonly string[] }
  | { readonly kind: 'result'; readonly ok: ValTypeRef | null; readonly err: ValTypeRef | null }
  | { readonly kind: 'own' | 'borrow'; readonly resource: number }
  | { readonly kind: 'func'; readonly params: readonly LabelledType[]; readonly result: ValTypeRef | null }
  | { readonly kind: 'instance'; readonly decls: readonly Decl[] }
  /** Checked for its form only: nothing that thaw runs imports a component. */
  | { readonly kind: 'component' };

/** What an import or an export declares. `eq` is a type index, null for a new resource type. */
export type ExternType =
  | { readonly kind: 'core module' | 'func' | 'component' | 'instance'; readonly type: number }
  | { readonly kind: 'type'; readonly eq: number | null };

/** A declaration of an instance type. */
export type Decl = { readonly offset: number } & (
  | Alias
  | { readonly kind: 'type'; readonly type: TypeDef }
  | { readonly kind: 'export'; readonly name: string; readonly type: ExternType }
);

/**
 * Components and types nest no deeper than this, nor do instantiations. wasmparser refuses more than 100 levels, so no
 * toolchain makes them; five stack frames a level are far from what the stack holds.
 */
const MAX_NESTING = 100;

const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, '0')}`;

/** A COMPONENT_UNSUPPORTED error. `what` names the construct and, when that is known, what to do about it. */
export const refused = (what: string, offset: number): ThawError =>
  new ThawError('COMPONENT_UNSUPPORTED', `reading the component: ${what}, at byte offset 0x${offset.toString(16)}`);

export const ASYNC_ADVICE = 'which belongs to WASI 0.3: build the guest for wasi:http/proxy@0.2.x';
const VALUES = 'a component value, which no toolchain makes yet';

/** Throws when `depth` levels of components or types are too many. */
export function checkNesting(depth: number, offset: number): void {
  if (depth > MAX_NESTING) throw refused(`components or types nest more than ${MAX_NESTING} levels deep`, offset);
}

/** Reads a `core:sort`. */
export function readCoreSort(reader: Reader): Sort {
  const { offset } = reader;
  const byte = reader.byte();
  const kind = EXTERN_KINDS[byte];
  if (kind !== undefined) return `core ${kind}`;
  if (byte === 0x10) return 'core type';
  if (byte === 0x11) return 'core module';
  if (byte === 0x12) return 'core instance';
  throw malformed(`unknown core sort ${hex(byte)}`, offset);
}

/** Reads a `sort`. Throws COMPONENT_UNSUPPORTED for values. */
export function readSort(reader: Reader): Sort {
  const { offset } = reader;
  const byte = reader.byte();
  switch (byte) {
    case 0x00:
      return readCoreSort(reader);
    case 0x01:
      return 'func';
    case 0x02:
      throw refused(VALUES, offset);
    case 0x03:
      return 'type';
    case 0x04:
      return 'component';
    case 0x05:
      return 'instance';
    default:
      throw malformed(`unknown sort ${hex(byte)}`, offset);
  }
}

/** The longest name in wasi:http/proxy has 53. A bound keeps the time that hashing them takes in proportion. */
const MAX_EXTERN_NAME = 4096;

/** Reads the `nameattributes` of an import or export. Both plain forms mean the same. */
export function readExternName(reader: Reader): string {
  const { offset } = reader;
  const form = reader.byte();
  if (form > 0x02) throw malformed(`unknown form of name ${hex(form)}`, offset);
  const name = reader.name();
  if (name.length > MAX_EXTERN_NAME) {
    throw refused(`an import or export with a name of ${name.length} characters, more than ${MAX_EXTERN_NAME}`, offset);
  }
  if (form === 0x02)
    throw refused(`attributes of the import or export ${JSON.stringify(name)}, a gated feature`, offset);
  return name;
}

/** Reads an `alias`, of a component or of a component or instance type. */
export function readAlias(reader: Reader): Alias {
  const sort = readSort(reader);
  const { offset } = reader;
  const target = reader.byte();
  switch (target) {
    case 0x00:
      return { kind: 'alias export', sort, instance: reader.u32(), name: reader.name() };
    case 0x01:
      return { kind: 'alias core export', sort, instance: reader.u32(), name: reader.name() };
    case 0x02:
      return { kind: 'alias outer', sort, count: reader.u32(), index: reader.u32() };
    default:
      throw malformed(`unknown alias target ${hex(target)}`, offset);
  }
}

/** Reads an `externtype`. Throws COMPONENT_UNSUPPORTED for values. */
export function readExternType(reader: Reader): ExternType {
  const { offset } = reader;
  const byte = reader.byte();
  switch (byte) {
    case 0x00: {
      const sort = reader.byte();
      if (sort !== 0x11) throw malformed(`a core definition of sort ${hex(sort)} imported or exported`, offset);
      return { kind: 'core module', type: reader.u32() };
    }
    case 0x01:
      return { kind: 'func', type: reader.u32() };
    case 0x02:
      throw refused(VALUES, offset);
    case 0x03: {
      const bound = reader.byte();
      if (bound > 0x01) throw malformed(`unknown type bound ${hex(bound)}`, offset);
      return { kind: 'type', eq: bound === 0x00 ? reader.u32() : null };
    }
    case 0x04:
      return { kind: 'component', type: reader.u32() };
    case 0x05:
      return { kind: 'instance', type: reader.u32() };
    default:
      throw malformed(`unknown kind of import or export ${hex(byte)}`, offset);
  }
}

/** Primitive types by opcode, from 0x73 up. */
const PRIMITIVES: readonly Primitive[] = [
  'string',
  'char',
  'f64',
  'f32',
  'u64',
  's64',
  'u32',
  's32',
  'u16',
  's16',
  'u8',
  's8',
  'bool',
];
const FIRST_PRIMITIVE = 0x73;

function primitive(opcode: number, offset: number): Primitive {
  const name = PRIMITIVES[opcode - FIRST_PRIMITIVE];
  if (name !== undefined) return name;
  if (opcode === 0x64) throw refused(`the type error-context, ${ASYNC_ADVICE}`, offset);
  throw malformed(`unknown value type ${hex(opcode)}`, offset);
}

/** Type opcodes are the one-byte negative numbers of an s33, indexes the others. */
function readValType(reader: Reader): ValTypeRef {
  const { offset } = reader;
  const value = reader.s33();
  return value < 0 ? primitive(value + 0x80, offset) : value;
}

function readOptional(reader: Reader): ValTypeRef | null {
  const { offset } = reader;
  const flag = reader.byte();
  if (flag > 0x01) throw malformed(`${hex(flag)} where 0x00 or 0x01 says if there is a type`, offset);
  return flag === 0x00 ? null : readValType(reader);
}

const readLabelled = (reader: Reader): LabelledType => ({ name: reader.name(), type: readValType(reader) });

function readCase(reader: Reader): { name: string; type: ValTypeRef | null } {
  const name = reader.name();
  const type = readOptional(reader);
  const { offset } = reader;
  if (reader.byte() !== 0x00) throw malformed('a variant case that refines another', offset);
  return { name, type };
}

function readFunc(reader: Reader): TypeDef {
  const params = reader.vec('parameters', () => readLabelled(reader));
  const { offset } = reader;
  const form = reader.byte();
  if (form === 0x00) return { kind: 'func', params, result: readValType(reader) };
  if (form !== 0x01 || reader.byte() !== 0x00) throw malformed('a function type with named results', offset);
  return { kind: 'func', params, result: null };
}

/** Types that are refused, by opcode. */
const REFUSED_TYPES: ReadonlyMap<number, string> = new Map([
  [0x3e, `a resource type with an async destructor, ${ASYNC_ADVICE}`],
  [0x3f, 'a resource type of its own: thaw runs guests that use resources of the host only'],
  [0x43, `an async function type, ${ASYNC_ADVICE}`],
  [0x63, 'a map type, a gated feature'],
  [0x65, `a future type, ${ASYNC_ADVICE}`],
  [0x66, `a stream type, ${ASYNC_ADVICE}`],
  [0x67, 'a list type of fixed length, a gated feature'],
]);

/**
 * Reads a `deftype`. `depth` counts the enclosing components and types.
 *
 * Throws WASM_MALFORMED, and COMPONENT_UNSUPPORTED for async, gated and locally defined resource types.
 * Source: component-model design/mvp/Binary.md, "Type Definitions".
 */
export function readTypeDef(reader: Reader, depth: number): TypeDef {
  const { offset } = reader;
  const opcode = reader.byte();
  const why = REFUSED_TYPES.get(opcode);
  if (why !== undefined) throw refused(why, offset);
  switch (opcode) {
    case 0x72:
      return { kind: 'record', fields: reader.vec('fields', () => readLabelled(reader)) };
    case 0x71:
      return { kind: 'variant', cases: reader.vec('cases', () => readCase(reader)) };
    case 0x70:
      return { kind: 'list', type: readValType(reader) };
    case 0x6f:
      return { kind: 'tuple', types: reader.vec('types', () => readValType(reader)) };
    case 0x6e:
      return { kind: 'flags', labels: reader.vec('flags', () => reader.name()) };
    case 0x6d:
      return { kind: 'enum', labels: reader.vec('cases', () => reader.name()) };
    case 0x6b:
      return { kind: 'option', type: readValType(reader) };
    case 0x6a:
      return { kind: 'result', ok: readOptional(reader), err: readOptional(reader) };
    case 0x69:
      return { kind: 'own', resource: reader.u32() };
    case 0x68:
      return { kind: 'borrow', resource: reader.u32() };
    case 0x40:
      return readFunc(reader);
    case 0x41:
      readComponentDecls(reader, depth + 1);
      return { kind: 'component' };
    case 0x42:
      checkNesting(depth + 1, offset);
      return { kind: 'instance', decls: reader.vec('declarations', () => readDecl(reader, depth + 1)) };
    default:
      return { kind: 'primitive', name: primitive(opcode, offset) };
  }
}

function readComponentDecls(reader: Reader, depth: number): void {
  checkNesting(depth, reader.offset);
  for (let left = reader.count('declarations'); left > 0; left--) {
    if (reader.peek() !== 0x03) {
      readDecl(reader, depth);
      continue;
    }
    reader.byte();
    readExternName(reader);
    readExternType(reader);
  }
}

function readDecl(reader: Reader, depth: number): Decl {
  const { offset } = reader;
  const opcode = reader.byte();
  switch (opcode) {
    case 0x00:
      throw refused('a core type inside an instance type, which describes a core module import', offset);
    case 0x01:
      return { offset, kind: 'type', type: readTypeDef(reader, depth) };
    case 0x02:
      return { offset, ...readAlias(reader) };
    case 0x04:
      return { offset, kind: 'export', name: readExternName(reader), type: readExternType(reader) };
    default:
      throw malformed(`unknown declaration ${hex(opcode)}`, offset);
  }
}
