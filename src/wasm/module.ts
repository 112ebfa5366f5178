import { invariant } from '../errors.ts';
import { readConstExpr } from './constexpr.ts';
import type { ExternKind } from './plan.ts';
import { malformed, Reader, unsupported } from './reader.ts';
import {
  type CompositeType,
  type GlobalType,
  type MemoryType,
  readGlobalType,
  readMemoryType,
  readRecursiveType,
  readRefType,
  readTableType,
  type TableType,
} from './types.ts';

/** Offsets in the file: `start` is the first byte, `end` the one after the last. */
export type Range = { readonly start: number; readonly end: number };

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const;

/** The order in which sections must come, custom sections apart. */
export const SECTION_ORDER: readonly number[] = [
  SECTION.type,
  SECTION.import,
  SECTION.function,
  SECTION.table,
  SECTION.memory,
  SECTION.tag,
  SECTION.global,
  SECTION.export,
  SECTION.start,
  SECTION.element,
  SECTION.dataCount,
  SECTION.code,
  SECTION.data,
];

/** `whole` has the id and the size before the `body`. */
type Section = { readonly id: number; readonly whole: Range; readonly body: Range };

/** `body` is what follows the name. */
type CustomSection = { readonly name: string; readonly whole: Range; readonly body: Range };

type ExternType =
  | { readonly kind: 'func' | 'tag'; readonly type: number }
  | { readonly kind: 'table'; readonly table: TableType }
  | { readonly kind: 'memory'; readonly memory: MemoryType }
  | { readonly kind: 'global'; readonly global: GlobalType };

type ModuleImport = {
  readonly module: string;
  readonly name: string;
  readonly type: ExternType;
  readonly range: Range;
};

type ModuleExport = { readonly name: string; readonly kind: ExternKind; readonly index: number };

type DataSegment = { readonly mode: 'active' | 'passive'; readonly whole: Range };

/**
 * What a core module says, its sections' contents by offset. Index spaces (`functions`, `tables`, `memories`,
 * `globals`) have the imported items first, `imported` says how many those are.
 */
export type CoreModule = {
  readonly bytes: Uint8Array;
  /** In file order, without custom sections; each id at most once. */
  readonly sections: readonly Section[];
  readonly customs: readonly CustomSection[];
  readonly types: readonly CompositeType[];
  readonly imports: readonly ModuleImport[];
  readonly imported: Readonly<Record<ExternKind, number>>;
  /** Type indexes. */
  readonly functions: readonly number[];
  readonly tables: readonly TableType[];
  readonly memories: readonly MemoryType[];
  readonly globals: readonly GlobalType[];
  readonly exports: readonly ModuleExport[];
  readonly start: number | null;
  /** Constant expressions of globals, tables and element segments, those that make a struct or an array. */
  readonly allocations: number;
  readonly data: readonly DataSegment[];
  /** Function bodies without their sizes, of the defined functions in order. */
  readonly bodies: readonly Range[];
};

const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const EXTERN_KINDS = ['func', 'table', 'memory', 'global', 'tag'] as const satisfies ExternKind[];

/**
 * Reads a core module: all sections, each to its last byte, and the ranges of the function bodies (`walkBody` reads
 * those). Encoding, section order and counts that must agree are checked; types are not, V8 does that.
 *
 * Throws WASM_MALFORMED, or WASM_UNSUPPORTED for what V8 does not run without flags.
 * Source: WebAssembly 3.0 core specification, section 5.5 (modules).
 */
export function parseModule(bytes: Uint8Array): CoreModule {
  return new ModuleParser(bytes).parse();
}

/** The reader of a section's body. */
export const readerOf = (module: CoreModule, range: Range): Reader => new Reader(module.bytes, range.start, range.end);

/** The section with this id, if the module has it. */
export const sectionOf = (module: CoreModule, id: number): Section | undefined =>
  module.sections.find((section) => section.id === id);

class ModuleParser {
  readonly #bytes: Uint8Array;
  readonly #sections: Section[] = [];
  readonly #customs: CustomSection[] = [];
  readonly #types: CompositeType[] = [];
  readonly #imports: ModuleImport[] = [];
  readonly #imported: Record<ExternKind, number> = { func: 0, table: 0, memory: 0, global: 0, tag: 0 };
  readonly #functions: number[] = [];
  readonly #tables: TableType[] = [];
  readonly #memories: MemoryType[] = [];
  readonly #globals: GlobalType[] = [];
  #exports: ModuleExport[] = [];
  #start: number | null = null;
  #allocations = 0;
  #dataCount: number | null = null;
  #data: DataSegment[] = [];
  #bodies: Range[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  parse(): CoreModule {
    const reader = new Reader(this.#bytes);
    const header = reader.bytes(MAGIC_AND_VERSION.length);
    if (MAGIC_AND_VERSION.some((byte, at) => header[at] !== byte)) {
      throw malformed('header of a core module (magic number, version 1) not found', 0);
    }
    while (!reader.eof) this.#readSection(reader);
    this.#checkCounts(reader.offset);
    return {
      bytes: this.#bytes,
      sections: this.#sections,
      customs: this.#customs,
      types: this.#types,
      imports: this.#imports,
      imported: this.#imported,
      functions: this.#functions,
      tables: this.#tables,
      memories: this.#memories,
      globals: this.#globals,
      exports: this.#exports,
      start: this.#start,
      allocations: this.#allocations,
      data: this.#data,
      bodies: this.#bodies,
    };
  }

  #readSection(reader: Reader): void {
    const start = reader.offset;
    const id = reader.byte();
    const body = reader.sub(reader.u32());
    const whole = { start, end: body.end };
    if (id === SECTION.custom) {
      const name = body.name();
      this.#customs.push({ name, whole, body: { start: body.offset, end: body.end } });
      return;
    }
    const rank = SECTION_ORDER.indexOf(id);
    if (rank < 0) throw unsupported(`section id ${id}`, start);
    const last = this.#sections.at(-1);
    if (last && rank <= SECTION_ORDER.indexOf(last.id)) {
      throw malformed(`section id ${id} after section id ${last.id}`, start);
    }
    this.#sections.push({ id, whole, body: { start: body.offset, end: body.end } });
    this.#readContent(id, body);
    body.expectEnd(`section id ${id}`);
  }

  #readContent(id: number, body: Reader): void {
    switch (id) {
      case SECTION.type:
        for (let left = body.count('types'); left > 0; left--) {
          for (const type of readRecursiveType(body)) this.#types.push(type);
        }
        return;
      case SECTION.import:
        body.vec('imports', () => this.#readImport(body));
        return;
      case SECTION.function:
        body.vec('functions', () => this.#functions.push(body.u32()));
        return;
      case SECTION.table:
        body.vec('tables', () => this.#tables.push(this.#readTable(body)));
        return;
      case SECTION.memory:
        body.vec('memories', () => this.#memories.push(readMemoryType(body)));
        return;
      case SECTION.tag:
        body.vec('tags', () => readTagType(body));
        return;
      case SECTION.global:
        body.vec('globals', () => this.#readGlobal(body));
        return;
      case SECTION.export:
        this.#exports = body.vec('exports', () => readExport(body));
        return;
      case SECTION.start:
        this.#start = body.u32();
        return;
      case SECTION.element:
        body.vec('element segments', () => this.#readElementSegment(body));
        return;
      case SECTION.dataCount:
        this.#dataCount = body.u32();
        return;
      case SECTION.code:
        this.#bodies = body.vec('function bodies', () => readBodyRange(body));
        return;
      case SECTION.data:
        this.#data = body.vec('data segments', () => readDataSegment(body));
        return;
      default:
        invariant(false, `section id ${id} is in SECTION_ORDER and is read`);
    }
  }

  #readImport(reader: Reader): void {
    const start = reader.offset;
    const module = reader.name();
    const name = reader.name();
    const type = readExternType(reader);
    this.#imports.push({ module, name, type, range: { start, end: reader.offset } });
    this.#imported[type.kind]++;
    switch (type.kind) {
      case 'func':
        this.#functions.push(type.type);
        break;
      case 'table':
        this.#tables.push(type.table);
        break;
      case 'memory':
        this.#memories.push(type.memory);
        break;
      case 'global':
        this.#globals.push(type.global);
        break;
      case 'tag':
    }
  }

  /** A table type, or 0x40 0x00, a table type and the value of its elements. */
  #readTable(reader: Reader): TableType {
    if (reader.peek() !== 0x40) return readTableType(reader);
    reader.skip(1);
    const at = reader.offset;
    if (reader.byte() !== 0) throw malformed('reserved byte of a table is not 0', at);
    const table = readTableType(reader);
    this.#readConstExpr(reader);
    return table;
  }

  #readGlobal(reader: Reader): void {
    this.#globals.push(readGlobalType(reader));
    this.#readConstExpr(reader);
  }

  /**
   * Flags: bit 0, not active; bit 1, explicit table (active) or declarative (not active); bit 2, expressions instead of
   * function indexes. The kind or type of the elements is left out when neither bit 0 nor bit 1 is set.
   */
  #readElementSegment(reader: Reader): void {
    const at = reader.offset;
    const flags = reader.u32();
    if (flags > 7) throw malformed(`element segment flags ${flags}`, at);
    if ((flags & 1) === 0) {
      if (flags & 2) reader.u32();
      this.#readConstExpr(reader);
    }
    const expressions = (flags & 4) !== 0;
    if (flags & 3) {
      if (expressions) readRefType(reader);
      else if (reader.byte() !== 0) throw malformed('element kind is not 0', reader.offset - 1);
    }
    for (let left = reader.count('elements'); left > 0; left--) {
      if (expressions) this.#readConstExpr(reader);
      else reader.u32();
    }
  }

  #readConstExpr(reader: Reader): void {
    if (readConstExpr(reader) === 'allocates') this.#allocations++;
  }

  #checkCounts(end: number): void {
    const defined = this.#functions.length - this.#imported.func;
    if (defined !== this.#bodies.length) {
      throw malformed(`${defined} functions declared, ${this.#bodies.length} bodies found`, end);
    }
    if (this.#dataCount !== null && this.#dataCount !== this.#data.length) {
      throw malformed(`${this.#dataCount} data segments announced, ${this.#data.length} found`, end);
    }
  }
}

function readExternType(reader: Reader): ExternType {
  const at = reader.offset;
  const kind = EXTERN_KINDS[reader.byte()];
  switch (kind) {
    case 'func':
      return { kind, type: reader.u32() };
    case 'table':
      return { kind, table: readTableType(reader) };
    case 'memory':
      return { kind, memory: readMemoryType(reader) };
    case 'global':
      return { kind, global: readGlobalType(reader) };
    case 'tag':
      return { kind, type: readTagType(reader) };
    default:
      throw unsupported('import of an unknown kind', at);
  }
}

function readTagType(reader: Reader): number {
  const at = reader.offset;
  if (reader.byte() !== 0) throw malformed('tag attribute is not 0', at);
  return reader.u32();
}

function readExport(reader: Reader): ModuleExport {
  const name = reader.name();
  const at = reader.offset;
  const kind = EXTERN_KINDS[reader.byte()];
  if (kind === undefined) throw unsupported('export of an unknown kind', at);
  return { name, kind, index: reader.u32() };
}

function readBodyRange(reader: Reader): Range {
  const body = reader.sub(reader.u32());
  return { start: body.offset, end: body.end };
}

/** Flags: 0 active in memory 0, 1 passive, 2 active in the memory named. */
function readDataSegment(reader: Reader): DataSegment {
  const start = reader.offset;
  const flags = reader.u32();
  if (flags > 2) throw malformed(`data segment flags ${flags}`, start);
  if (flags === 2) reader.u32();
  if (flags !== 1) readConstExpr(reader);
  reader.skip(reader.u32());
  return { mode: flags === 1 ? 'passive' : 'active', whole: { start, end: reader.offset } };
}
