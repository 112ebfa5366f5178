import {
  CONTROL_HEADROOM_WORD,
  CONTROL_LIMIT_WORD,
  CONTROL_PAGES_WORD,
  CONTROL_RECORD_BYTES,
  CONTROL_REFUSED_WORD,
  CONTROL_SEGMENT,
  CONTROL_STOP_PAGE,
} from '../runtime/control.ts';
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
const RECORD = 4;

/** Rounds an address down to its record, as an s32. */
const RECORD_MASK = new Writer().s32(-CONTROL_RECORD_BYTES).finish();

/**
 * The body, without its size, of a function `(delta: i32) -> i32` that does what `memory.grow` does, within what the
 * control memory allows: it returns the old number of pages, or -1, and then counts the refusal. The memory itself is
 * grown only when the new number is beyond what it has: a slot that is used again may have more pages than its guest has
 * asked for.
 */
export function growFunctionBody({ memory, control, addressGlobal }: GrowTarget): Uint8Array {
  const out = new Writer();
  const load = (word: number, from: readonly number[]): Writer => {
    out.bytes(from);
    writeI32Access(out, OP.i32Load, control, word);
    return out;
  };
  const store = (word: number): Writer => {
    writeI32Access(out, OP.i32Store, control, word);
    return out;
  };
  const own = [OP.globalGet, ...new Writer().u32(addressGlobal).finish()];
  const record = [OP.localGet, RECORD];
  const refused = (): Writer => {
    out.bytes([OP.if, EMPTY_BLOCK, ...record]);
    load(CONTROL_REFUSED_WORD, record).bytes([OP.i32Const, 1, OP.i32Add]);
    return store(CONTROL_REFUSED_WORD).bytes([OP.i32Const, MINUS_ONE, OP.return, OP.end]);
  };
  // One group of four i32 locals.
  out.bytes([1, 4, TYPE_I32]);
  out.bytes([...own, OP.i32Const, ...RECORD_MASK, OP.i32And, OP.localSet, RECORD]);
  load(CONTROL_PAGES_WORD, own).bytes([OP.localSet, OLD]);
  load(CONTROL_LIMIT_WORD, own).bytes([OP.localSet, LIMIT]);
  // delta >u (limit >u old ? limit - old : 0): refuse
  out.bytes([OP.localGet, DELTA]);
  out.bytes([OP.localGet, LIMIT, OP.localGet, OLD, OP.i32Sub, OP.i32Const, 0]);
  out.bytes([OP.localGet, LIMIT, OP.localGet, OLD, OP.i32GtU, OP.select, OP.i32GtU]);
  refused();
  // delta >u headroom: refuse
  out.bytes([OP.localGet, DELTA]);
  load(CONTROL_HEADROOM_WORD, record).byte(OP.i32GtU);
  refused();
  // wanted = old + delta. It cannot wrap: it is at most the limit, or old.
  out.bytes([OP.localGet, OLD, OP.localGet, DELTA, OP.i32Add, OP.localTee, WANTED]);
  // wanted >u physical size, and growing by the difference fails: refuse
  out.byte(OP.memorySize).u32(memory).bytes([OP.i32GtU, OP.if, EMPTY_BLOCK]);
  out.bytes([OP.localGet, WANTED]).byte(OP.memorySize).u32(memory).byte(OP.i32Sub);
  out.byte(OP.memoryGrow).u32(memory).bytes([OP.i32Const, MINUS_ONE, OP.i32Eq]);
  refused().byte(OP.end);
  // pages = wanted; headroom -= delta; return old
  out.bytes([...own, OP.localGet, WANTED]);
  store(CONTROL_PAGES_WORD).bytes(record);
  load(CONTROL_HEADROOM_WORD, record).bytes([OP.localGet, DELTA, OP.i32Sub]);
  return store(CONTROL_HEADROOM_WORD).bytes([OP.localGet, OLD, OP.end]).finish();
}

const EMPTY_BLOCK = 0x40;
/** -1 as an s32. */
const MINUS_ONE = 0x7f;

/** The check at a loop head, a function entry and the like: a load from the stop page, which traps while that is closed. */
export function checkCode(control: number): Uint8Array {
  const out = new Writer().byte(OP.i32Const).s32(CONTROL_STOP_PAGE);
  writeI32Access(out, OP.i32Load, control, 0);
  out.byte(OP.drop);
  // For wordCheckCode to fit in.
  for (let left = wordCheckCode(control).length - out.length; left > 0; left--) out.byte(OP.nop);
  return out.finish();
}

/** The same for a node that cannot close pages: a trap when the running segment is to stop. */
export function wordCheckCode(control: number): Uint8Array {
  const out = new Writer().bytes([OP.i32Const, 0]);
  writeI32Access(out, OP.i32Load, control, CONTROL_SEGMENT);
  return out.bytes([OP.i32Const, 0, OP.i32LtS, OP.if, EMPTY_BLOCK, OP.unreachable, OP.end]).finish();
}
