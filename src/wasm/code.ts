import { IMMEDIATES, OP, PREFIXED, prefixed, SINGLE } from './opcodes.ts';
import { hex, malformed, type Reader, unsupported } from './reader.ts';
import { readHeapType, readValType } from './types.ts';

/** A memory argument whose alignment has this bit set is followed by a memory index. */
const HAS_MEMORY_INDEX = 0x40;

/** The instruction under the cursor. The walker reuses one object: take what you need before you return. */
export type Instruction = {
  /** The first byte, or `prefixed(first byte, number)`. */
  readonly op: number;
  /** Offsets in the file of the first byte, and of the next instruction. */
  readonly at: number;
  readonly end: number;
  /** The first index among the immediates (function, local, memory …), 0 when there is none. */
  readonly index: number;
};

/** Steps through instructions, finding where each ends. Checks encoding, not types: V8 validates what it is given. */
export class InstructionCursor implements Instruction {
  readonly #reader: Reader;
  op = 0;
  at = 0;
  end = 0;
  index = 0;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  /** Throws WASM_MALFORMED at a damaged instruction, WASM_UNSUPPORTED at an unknown one. */
  next(): void {
    const reader = this.#reader;
    this.at = reader.offset;
    this.op = reader.byte();
    let shape = SINGLE[this.op];
    if (shape === IMMEDIATES.prefix) {
      const sub = reader.u32();
      shape = PREFIXED[this.op - 0xfb]?.[sub];
      if (!shape) throw unsupported(`instruction ${hex(this.op)} ${hex(sub)}`, this.at);
      this.op = prefixed(this.op, sub);
    }
    if (!shape) throw unsupported(`instruction ${hex(this.op)}`, this.at);
    this.index = readImmediates(reader, shape);
    this.end = reader.offset;
  }
}

/**
 * Walks one function body: locals, then instructions to the `end` that closes it, which must be the last byte.
 * `body` covers exactly the body, without its size.
 */
export function walkBody(body: Reader, visit: (instruction: Instruction) => void): void {
  readLocals(body);
  const cursor = new InstructionCursor(body);
  for (let depth = 1; depth > 0;) {
    cursor.next();
    depth += nesting(cursor.op);
    if (depth === 0 && cursor.op === OP.delegate) throw malformed('delegate outside of a try block', cursor.at);
    visit(cursor);
  }
  body.expectEnd('the function body');
}

function readLocals(body: Reader): void {
  for (let left = body.count('groups of locals'); left > 0; left--) {
    body.u32();
    readValType(body);
  }
}

/** How many blocks an instruction opens (1) or closes (-1). */
function nesting(op: number): number {
  switch (op) {
    case OP.block:
    case OP.loop:
    case OP.if:
    case OP.try:
    case OP.tryTable:
      return 1;
    case OP.end:
    case OP.delegate:
      return -1;
    default:
      return 0;
  }
}

/** Moves past the immediates and returns the first index among them, or 0. */
function readImmediates(reader: Reader, shape: number): number {
  switch (shape) {
    case IMMEDIATES.u32:
      return reader.u32();
    case IMMEDIATES.u32u32:
      return readPair(reader);
    case IMMEDIATES.memArg:
      return readMemArg(reader);
    case IMMEDIATES.memArgLane: {
      const memory = readMemArg(reader);
      reader.skip(1);
      return memory;
    }
    default:
      skipImmediates(reader, shape);
      return 0;
  }
}

function readPair(reader: Reader): number {
  const first = reader.u32();
  reader.u32();
  return first;
}

/** Alignment and offset. The offset may have 64 bits, whatever the memory: the boundary is the same. */
function readMemArg(reader: Reader): number {
  const at = reader.offset;
  const flags = reader.u32();
  if (flags >= 0x80) throw malformed(`memory argument flags ${hex(flags)}`, at);
  const memory = flags & HAS_MEMORY_INDEX ? reader.u32() : 0;
  reader.skipU64();
  return memory;
}

/** The immediates that hold no index worth reporting. */
function skipImmediates(reader: Reader, shape: number): void {
  switch (shape) {
    case IMMEDIATES.none:
      return;
    case IMMEDIATES.s32:
      reader.s32();
      return;
    case IMMEDIATES.blockType:
      return readBlockType(reader);
    case IMMEDIATES.s64:
      return reader.skipS64();
    case IMMEDIATES.bytes1:
      return reader.skip(1);
    case IMMEDIATES.bytes4:
      return reader.skip(4);
    case IMMEDIATES.bytes8:
      return reader.skip(8);
    case IMMEDIATES.bytes16:
      return reader.skip(16);
    case IMMEDIATES.heapType:
      return readHeapType(reader);
    case IMMEDIATES.labels:
      for (let left = reader.count('labels'); left > 0; left--) reader.u32();
      reader.u32();
      return;
    case IMMEDIATES.valTypes:
      reader.vec('types', () => readValType(reader));
      return;
    case IMMEDIATES.tryTable:
      readBlockType(reader);
      reader.vec('catch clauses', () => readCatch(reader));
      return;
    case IMMEDIATES.castBranch:
      readCastBranch(reader);
  }
}

/** Nothing (0x40), a value type, or a type index. */
function readBlockType(reader: Reader): void {
  const at = reader.offset;
  const byte = reader.peek();
  if (byte === 0x40) return reader.skip(1);
  // One byte with the sign bit of an s33 set: an abbreviation.
  if (byte > 0x40 && byte < 0x80) {
    readValType(reader);
    return;
  }
  if (reader.s33() < 0) throw malformed('negative block type', at);
}

/** catch and catch_ref (0, 1) have a tag and a label, catch_all and catch_all_ref (2, 3) a label. */
function readCatch(reader: Reader): void {
  const at = reader.offset;
  const kind = reader.byte();
  if (kind > 3) throw malformed(`catch clause ${hex(kind)}`, at);
  if (kind < 2) reader.u32();
  reader.u32();
}

function readCastBranch(reader: Reader): void {
  const at = reader.offset;
  const flags = reader.byte();
  if (flags > 3) throw malformed(`cast flags ${hex(flags)}`, at);
  reader.u32();
  readHeapType(reader);
  readHeapType(reader);
}
