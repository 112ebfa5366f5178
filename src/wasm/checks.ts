import type { Instruction } from './code.ts';
import { OP } from './opcodes.ts';

/**
 * Where a function body needs a check whether the guest is to stop, so that between two checks it runs for microseconds:
 * - at the head of each loop: nothing else branches backwards;
 * - where a function goes on to call others, so that recursion and trees of calls meet checks: at the entry of a long
 *   one, before the first call on each path of a short one, whose shortest paths are the hottest;
 * - before instructions whose time depends on an operand, such as memory.fill;
 * - after so much code without any of these.
 */

/** A function of so many bytes is short: it needs no check unless it calls. */
const SHORT_BYTES = 128;

/**
 * Straight code that needs no check: at most 8,000 instructions. If each calls a short function that divides and does
 * nothing else, that is 8,000 times 40 divisions of 10 ns: 3 ms. Less would put checks between the arms of an
 * interpreter's switch, which is one loop of 70 KB in StarlingMonkey.
 */
const STRAIGHT_BYTES = 16_384;

const CALLS: ReadonlySet<number> = new Set([
  OP.call,
  OP.callIndirect,
  OP.callRef,
  OP.returnCall,
  OP.returnCallIndirect,
  OP.returnCallRef,
]);

/** Instructions that take as long as their operands say. */
const BULK: ReadonlySet<number> = new Set([
  OP.memoryGrow,
  OP.memoryInit,
  OP.memoryCopy,
  OP.memoryFill,
  OP.tableGrow,
  OP.tableInit,
  OP.tableCopy,
  OP.tableFill,
  OP.arrayNew,
  OP.arrayNewDefault,
  OP.arrayNewData,
  OP.arrayNewElem,
  OP.arrayFill,
  OP.arrayCopy,
  OP.arrayInitData,
  OP.arrayInitElem,
]);

/** Sees the instructions of one body, in order. */
export class CheckFinder {
  readonly #isShort: boolean;
  /** Whether the code at hand comes after a check in this call of the function, whatever way led there. */
  #isChecked = false;
  /** The same, for what follows the blocks that are open. */
  readonly #outer: boolean[] = [];
  /** Where the last check is, or the first instruction; -1 before it. */
  #last = -1;

  /** @param bytes the length of the body */
  constructor(bytes: number) {
    this.#isShort = bytes <= SHORT_BYTES;
  }

  /** @returns where a check must be for this instruction's sake: before it, after it, or nowhere */
  visit(instruction: Instruction): 'before' | 'after' | null {
    const isFirst = this.#last < 0;
    if (isFirst) this.#last = instruction.at;
    this.#nest(instruction.op);
    const side = this.#sideOf(instruction, isFirst);
    if (side === null) return null;
    this.#isChecked = true;
    this.#last = side === 'before' ? instruction.at : instruction.end;
    return side;
  }

  #sideOf({ op, end }: Instruction, isFirst: boolean): 'before' | 'after' | null {
    if (op === OP.loop) return 'after';
    if (BULK.has(op)) return 'before';
    if (this.#isShort) return !this.#isChecked && CALLS.has(op) ? 'before' : null;
    return isFirst || end - this.#last > STRAIGHT_BYTES ? 'before' : null;
  }

  #nest(op: number): void {
    switch (op) {
      case OP.block:
      case OP.loop:
      case OP.if:
      case OP.try:
      case OP.tryTable:
        this.#outer.push(this.#isChecked);
        break;
      case OP.else:
      case OP.catch:
      case OP.catchAll:
        this.#isChecked = this.#outer.at(-1) ?? false;
        break;
      case OP.end:
      case OP.delegate:
        this.#isChecked = this.#outer.pop() ?? false;
    }
  }
}
