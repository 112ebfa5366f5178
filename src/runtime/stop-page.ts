import { withWordChecks } from '../wasm/word-checks.ts';
import { CONTROL_STOP_BYTES, CONTROL_STOP_PAGE } from './control.ts';
import { addressOf, canCallLibc, setAccess } from './libc.ts';

/**
 * How a guest that runs is stopped. A check in its code loads from the stop page of its thread and drops what it got: one
 * instruction that costs next to nothing, and a trap once the page is closed, which V8 makes of the fault. Where the page
 * cannot be closed the checks are made to look at the segment's word instead, which takes twice as long.
 */

/** V8 turns faults into traps unless it is told not to; then a closed page would end the process. */
const TRAP_HANDLER_OFF = /^--(?:disable|no)-wasm-trap-handler\b/;

const hasTrapHandler = (): boolean =>
  ![...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)].some((flag) =>
    TRAP_HANDLER_OFF.test(flag),
  );

/** Whether stop pages are used, the same on all threads of the process. */
const hasStopPages = (): boolean => canCallLibc() && hasTrapHandler();

/** Compiles code of the rewriter's, off the calling thread. @throws WebAssembly.CompileError */
export const compileCode = (code: Uint8Array): Promise<WebAssembly.Module> =>
  WebAssembly.compile(hasStopPages() ? code : withWordChecks(code));

/** The stop page of a control memory. Any thread may close it and open it. */
export class StopPage {
  /** Null where there is none. */
  readonly #address: bigint | null;

  /** @param memory the buffer of the control memory */
  constructor(memory: ArrayBufferLike) {
    this.#address = hasStopPages() ? addressOf(memory) + BigInt(CONTROL_STOP_PAGE) : null;
  }

  /** Whatever is running traps at its next check. */
  close(): void {
    if (this.#address !== null) setAccess(this.#address, CONTROL_STOP_BYTES, 'none');
  }

  open(): void {
    if (this.#address !== null) setAccess(this.#address, CONTROL_STOP_BYTES, 'read');
  }
}
