import { CONTROL_LIMIT_WORD, CONTROL_PAGES_WORD } from '../runtime/control.ts';
import { OP } from './opcodes.ts';
import { Writer } from './writer.ts';

/** Alignment of an i32 (2^2 bytes), with a memory index following. */
const ALIGN_4_IN_MEMORY = 0x42;
const TYPE_I32 = 0x7f;

/**
 * Writes an i32 load or store at `offset` from the address on the stack, in the memory with index `memory`.
 */
export function writeI32Access(
  out: Writer,
  op: typeof OP.i32Load | typeof OP.i32Store,
  memory: number,
  offset: number,
): void {
  out.byte(op).byte(ALIGN_4_IN_MEMORY).u32(memory).u32(offset);
}

type GrowTarget = {
  /** The memory to grow, and the control memory. */
  readonly memory: number;
  readonly control: number;
  /** The global with the address of the memory's words in the control memory. */
  readonly addressGlobal: number;
};

/** Parameters and locals of the function. */
const DELTA = 0;
const OLD = 1;
const LIMIT = 2;
const WANTED = 3;

/**
 * The body, without its size, of a function `(delta: i32) -> i32` that does what `memory.grow` does, within the limit
 * of the control memory: it returns the old number of pages, or -1. The memory itself is grown only when the new number
 * is beyond what it has: a slot that is used again may have more pages than its guest has asked for.
 */
export function growFunctionBody({ memory, control, addressGlobal }: GrowTarget): Uint8Array {
  const out = new Writer();
  const load = (word: number): Writer => {
    out.byte(OP.globalGet).u32(addressGlobal);
    writeI32Access(out, OP.i32Load, control, word);
    return out;
  };
  // One group of three i32 locals.
  out.bytes([1, 3, TYPE_I32]);
  load(CONTROL_PAGES_WORD).bytes([OP.localSet, OLD]);
  load(CONTROL_LIMIT_WORD).bytes([OP.localSet, LIMIT]);
  // delta >u (limit >u old ? limit - old : 0): return -1
  out.bytes([OP.localGet, DELTA]);
  out.bytes([OP.localGet, LIMIT, OP.localGet, OLD, OP.i32Sub, OP.i32Const, 0]);
  out.bytes([OP.localGet, LIMIT, OP.localGet, OLD, OP.i32GtU, OP.select]);
  out.byte(OP.i32GtU);
  returnMinusOneIf(out);
  // wanted = old + delta. It cannot wrap: it is at most the limit, or old.
  out.bytes([OP.localGet, OLD, OP.localGet, DELTA, OP.i32Add, OP.localTee, WANTED]);
  // wanted >u physical size, and growing by the difference fails: return -1
  out.byte(OP.memorySize).u32(memory).bytes([OP.i32GtU, OP.if, EMPTY_BLOCK]);
  out.bytes([OP.localGet, WANTED]).byte(OP.memorySize).u32(memory).byte(OP.i32Sub);
  out.byte(OP.memoryGrow).u32(memory).bytes([OP.i32Const, MINUS_ONE, OP.i32Eq]);
  returnMinusOneIf(out);
  out.byte(OP.end);
  // pages = wanted; return old
  out.byte(OP.globalGet).u32(addressGlobal).bytes([OP.localGet, WANTED]);
  writeI32Access(out, OP.i32Store, control, CONTROL_PAGES_WORD);
  return out.bytes([OP.localGet, OLD, OP.end]).finish();
}

const EMPTY_BLOCK = 0x40;
/** -1 as an s32. */
const MINUS_ONE = 0x7f;

/** `if return -1 end`, on the condition on the stack. */
function returnMinusOneIf(out: Writer): void {
  out.bytes([OP.if, EMPTY_BLOCK, OP.i32Const, MINUS_ONE, OP.return, OP.end]);
}
