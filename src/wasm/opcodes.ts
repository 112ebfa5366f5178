/**
 * The instruction set as tables: for every opcode the shape of what follows it. Everything that V8 accepts without
 * flags is here, and wide arithmetic; a test compares the tables with V8, opcode by opcode.
 *
 * Source: WebAssembly 3.0 core specification, section 5.4 (instructions); the legacy exception handling, threads and
 * wide-arithmetic proposals.
 */

/** Shapes of immediates. In `U32_U32` and its like the first number is the one that the walker reports. */
export const IMMEDIATES = {
  /** Not an instruction. Must be 0: the tables start out filled with it. */
  unknown: 0,
  none: 1,
  /** The opcode continues: a u32 follows. */
  prefix: 2,
  blockType: 3,
  u32: 4,
  u32u32: 5,
  /** A vector of labels and a default label. */
  labels: 6,
  valTypes: 7,
  /** A block type and a vector of catch clauses. */
  tryTable: 8,
  memArg: 9,
  memArgLane: 10,
  s32: 11,
  s64: 12,
  /** So many bytes, uninterpreted. */
  bytes1: 13,
  bytes4: 14,
  bytes8: 15,
  bytes16: 16,
  heapType: 17,
  /** Flags byte, label, two heap types. */
  castBranch: 18,
} as const;

type Shape = (typeof IMMEDIATES)[keyof typeof IMMEDIATES];

/** Which opcodes have which shape: single numbers, or `[first, last]`. */
type Row = readonly [Shape, ...(number | readonly [number, number])[]];

function table(size: number, rows: readonly Row[]): Uint8Array {
  const shapes = new Uint8Array(size);
  for (const [shape, ...opcodes] of rows) {
    for (const entry of opcodes) {
      const [first, last] = typeof entry === 'number' ? [entry, entry] : entry;
      shapes.fill(shape, first, last + 1);
    }
  }
  return shapes;
}

const I = IMMEDIATES;

/** By the first byte. */
export const SINGLE: Uint8Array = table(256, [
  [I.none, 0x00, 0x01, 0x05, 0x0a, 0x0b, 0x0f, 0x19, 0x1a, 0x1b, [0x45, 0xc4], 0xd1, 0xd3, 0xd4],
  [I.blockType, 0x02, 0x03, 0x04, 0x06],
  [I.u32, 0x07, 0x08, 0x09, 0x0c, 0x0d, 0x10, 0x12, 0x14, 0x15, 0x18, [0x20, 0x26], 0x3f, 0x40, 0xd2, 0xd5, 0xd6],
  [I.u32u32, 0x11, 0x13],
  [I.labels, 0x0e],
  [I.valTypes, 0x1c],
  [I.tryTable, 0x1f],
  [I.memArg, [0x28, 0x3e]],
  [I.s32, 0x41],
  [I.s64, 0x42],
  [I.bytes4, 0x43],
  [I.bytes8, 0x44],
  [I.heapType, 0xd0],
  [I.prefix, [0xfb, 0xfe]],
]);

/** Garbage collection. */
const GC = table(31, [
  [I.none, 15, [26, 30]],
  [I.u32, 0, 1, 6, 7, [11, 14], 16],
  [I.u32u32, [2, 5], [8, 10], [17, 19]],
  [I.heapType, [20, 23]],
  [I.castBranch, 24, 25],
]);

/** Saturating conversions, bulk memory, tables, wide arithmetic. */
const MISC = table(23, [
  [I.none, [0, 7], [19, 22]],
  [I.u32, 9, 11, 13, [15, 17]],
  [I.u32u32, 8, 10, 12, 14],
]);

/** Vectors, and from 0x100 on relaxed vectors. */
const SIMD = table(0x114, [
  [I.none, [0x0e, 0x14], [0x23, 0x53], [0x5e, 0x113]],
  [I.memArg, [0x00, 0x0b], 0x5c, 0x5d],
  [I.memArgLane, [0x54, 0x5b]],
  [I.bytes1, [0x15, 0x22]],
  [I.bytes16, 0x0c, 0x0d],
  // Holes: instructions that were dropped before the proposal was finished.
  [I.unknown, 0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, [0xb2, 0xb4], 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, [0xd2, 0xd4]],
  [I.unknown, 0xe2, 0xee],
]);

const ATOMICS = table(0x4f, [
  [I.memArg, [0x00, 0x02], [0x10, 0x4e]],
  [I.bytes1, 0x03],
]);

/** By the first byte minus 0xfb, then by the number after it. */
export const PREFIXED: readonly Uint8Array[] = [GC, MISC, SIMD, ATOMICS];

/** The number of a prefixed instruction: `0xfc008` is `0xfc 0x08`. */
export const prefixed = (prefix: number, sub: number): number => (prefix << 12) | sub;

/** The instructions that thaw knows by name. */
export const OP = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  try: 0x06,
  catch: 0x07,
  end: 0x0b,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  callRef: 0x14,
  returnCallRef: 0x15,
  delegate: 0x18,
  catchAll: 0x19,
  drop: 0x1a,
  select: 0x1b,
  tryTable: 0x1f,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  tableSet: 0x26,
  i32Load: 0x28,
  i32Store: 0x36,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i32Eq: 0x46,
  i32LtS: 0x48,
  i32GtU: 0x4b,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32And: 0x71,
  structNew: prefixed(0xfb, 0),
  structNewDefault: prefixed(0xfb, 1),
  structSet: prefixed(0xfb, 5),
  arrayNew: prefixed(0xfb, 6),
  arrayNewDefault: prefixed(0xfb, 7),
  arrayNewFixed: prefixed(0xfb, 8),
  arrayNewData: prefixed(0xfb, 9),
  arrayNewElem: prefixed(0xfb, 10),
  arraySet: prefixed(0xfb, 14),
  arrayFill: prefixed(0xfb, 16),
  arrayCopy: prefixed(0xfb, 17),
  arrayInitData: prefixed(0xfb, 18),
  arrayInitElem: prefixed(0xfb, 19),
  memoryInit: prefixed(0xfc, 8),
  dataDrop: prefixed(0xfc, 9),
  memoryCopy: prefixed(0xfc, 10),
  memoryFill: prefixed(0xfc, 11),
  tableInit: prefixed(0xfc, 12),
  elemDrop: prefixed(0xfc, 13),
  tableCopy: prefixed(0xfc, 14),
  tableGrow: prefixed(0xfc, 15),
  tableFill: prefixed(0xfc, 17),
} as const;
