import type { CoreFuncType, ValType } from './plan.ts';
import { hex, malformed, type Reader, unsupported } from './reader.ts';

/** An entry of the type index space. Structs and arrays are walked, not kept: nothing of thaw looks into them. */
export type CompositeType =
  | { readonly kind: 'func'; readonly type: CoreFuncType }
  | { readonly kind: 'struct' | 'array' };

/** `min` and `max` count pages of `2 ** pageSizeLog2` bytes. */
export type MemoryType = {
  readonly min: number;
  readonly max: number | null;
  readonly shared: boolean;
  readonly address: 'i32' | 'i64';
  readonly pageSizeLog2: number;
};

/** `min` and `max` count elements. */
export type TableType = { readonly min: number; readonly max: number | null };

export type GlobalType = { readonly type: ValType; readonly mutable: boolean };

const REF_NULL = 0x63;
const REF = 0x64;

/** Number and vector types by their byte. */
const NUMERIC: ReadonlyMap<number, ValType> = new Map([
  [0x7f, 'i32'],
  [0x7e, 'i64'],
  [0x7d, 'f32'],
  [0x7c, 'f64'],
  [0x7b, 'v128'],
]);

/** noexn, nofunc, noextern, none, func, extern, any, eq, i31, struct, array, exn: one contiguous range of bytes. */
const ABSTRACT_HEAP_TYPES = { first: 0x69, last: 0x74 };

const isAbstractHeapType = (byte: number): boolean =>
  byte >= ABSTRACT_HEAP_TYPES.first && byte <= ABSTRACT_HEAP_TYPES.last;

/** Reads a heap type: a type index, or the one byte of an abstract heap type. */
export function readHeapType(reader: Reader): void {
  if (isAbstractHeapType(reader.peek())) {
    reader.skip(1);
    return;
  }
  const at = reader.offset;
  const type = reader.s33();
  if (type < 0) throw unsupported(`heap type ${type}`, at);
}

export function readValType(reader: Reader): ValType {
  const at = reader.offset;
  const byte = reader.byte();
  const numeric = NUMERIC.get(byte);
  if (numeric !== undefined) return numeric;
  if (byte === REF || byte === REF_NULL) readHeapType(reader);
  else if (!isAbstractHeapType(byte)) throw unsupported(`value type ${hex(byte)}`, at);
  return 'ref';
}

export function readRefType(reader: Reader): void {
  const at = reader.offset;
  if (readValType(reader) !== 'ref') throw malformed('reference type wanted', at);
}

/** Reads one entry of the type section, a recursion group or a single type, and returns the types it defines. */
export function readRecursiveType(reader: Reader): CompositeType[] {
  if (reader.peek() !== 0x4e) return [readSubType(reader)];
  reader.skip(1);
  return reader.vec('types of a recursion group', () => readSubType(reader));
}

function readSubType(reader: Reader): CompositeType {
  if (reader.peek() === 0x50 || reader.peek() === 0x4f) {
    reader.skip(1);
    reader.vec('supertypes', () => reader.u32());
  }
  return readCompositeType(reader);
}

function readCompositeType(reader: Reader): CompositeType {
  const at = reader.offset;
  const form = reader.byte();
  switch (form) {
    case 0x60: {
      const params = reader.vec('parameters', () => readValType(reader));
      const results = reader.vec('results', () => readValType(reader));
      return { kind: 'func', type: { params, results } };
    }
    case 0x5f:
      reader.vec('fields', () => readFieldType(reader));
      return { kind: 'struct' };
    case 0x5e:
      readFieldType(reader);
      return { kind: 'array' };
    default:
      throw unsupported(`type form ${hex(form)}`, at);
  }
}

function readFieldType(reader: Reader): void {
  const packed = reader.peek() === 0x78 || reader.peek() === 0x77;
  if (packed) reader.skip(1);
  else readValType(reader);
  readMutability(reader);
}

function readMutability(reader: Reader): boolean {
  const at = reader.offset;
  const byte = reader.byte();
  if (byte === 2 || byte === 3) throw unsupported('shared global', at);
  if (byte > 1) throw malformed(`mutability ${hex(byte)}`, at);
  return byte === 1;
}

export function readGlobalType(reader: Reader): GlobalType {
  const type = readValType(reader);
  return { type, mutable: readMutability(reader) };
}

export function readMemoryType(reader: Reader): MemoryType {
  const at = reader.offset;
  const flags = reader.byte();
  if (flags > 0x0f) throw unsupported(`memory flags ${hex(flags)}`, at);
  const limits = readLimits(reader, flags);
  const pageSizeLog2 = flags & 8 ? reader.u32() : 16;
  checkMemoryLimits(limits, flags, at);
  return { ...limits, shared: (flags & 2) !== 0, address: flags & 4 ? 'i64' : 'i32', pageSizeLog2 };
}

/** 2^16 pages of 64 KiB are 4 GiB: all that 32 bits can address. */
const MAX_PAGES_32 = 65_536;

/**
 * Holds the limits of a memory of the usual kind against each other and against what it can have at most: the rewriter
 * lifts them, so V8 does not get to see them. Memories of other kinds are refused later on, whatever their limits.
 */
function checkMemoryLimits({ min, max }: { min: number; max: number | null }, flags: number, at: number): void {
  if (flags & 0x0c) return;
  const pages = Math.max(min, max ?? 0);
  if (pages > MAX_PAGES_32) throw malformed(`a memory of ${pages} pages, where ${MAX_PAGES_32} are the limit`, at);
  if (max !== null && max < min) throw malformed(`a memory of ${min} pages at least and ${max} at most`, at);
}

export function readTableType(reader: Reader): TableType {
  readRefType(reader);
  const at = reader.offset;
  const flags = reader.byte();
  if (flags > 0x07) throw malformed(`table flags ${hex(flags)}`, at);
  if (flags & 2) throw unsupported('shared table', at);
  return readLimits(reader, flags);
}

/** Bit 0 of `flags`: a maximum follows; bit 2: the numbers are 64 bits wide. */
function readLimits(reader: Reader, flags: number): { min: number; max: number | null } {
  const size = (): number => (flags & 4 ? Number(reader.u64()) : reader.u32());
  const min = size();
  return { min, max: flags & 1 ? size() : null };
}
