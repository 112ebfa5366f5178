import { ThawError } from '../errors.ts';
import { CONTROL_LIMIT_WORD, CONTROL_PAGES, CONTROL_PAGES_WORD, CONTROL_RECORD_BYTES } from './control.ts';
import { WASM_PAGE_BYTES } from '../snapshot/manifest.ts';

/** Logical size and limit of one memory, in 64 KiB pages. */
export type MemorySize = { readonly pages: number; readonly limit: number };

/**
 * The control memory of one thread and the allocation of its records. Record 0 belongs to nobody: the rewriter
 * initialises `thaw:memory<index>` to 0, so record 0 is what start functions use while an instance is being made.
 */
export class ControlMemory {
  readonly memory = new WebAssembly.Memory({ initial: CONTROL_PAGES, maximum: CONTROL_PAGES, shared: true });
  readonly #words = new Int32Array(this.memory.buffer);
  readonly #free: number[] = [];
  #next = CONTROL_RECORD_BYTES;

  /**
   * @returns the address of a record
   * @throws ThawError NODE_BUSY when all 1,023 are taken
   */
  allocate(): number {
    const reused = this.#free.pop();
    if (reused !== undefined) return reused;
    const limit = CONTROL_PAGES * WASM_PAGE_BYTES;
    if (this.#next >= limit) {
      throw new ThawError(
        'NODE_BUSY',
        `a new slot was wanted, but all ${limit / CONTROL_RECORD_BYTES - 1} control records are in use`,
      );
    }
    const record = this.#next;
    this.#next += CONTROL_RECORD_BYTES;
    return record;
  }

  release(record: number): void {
    this.#free.push(record);
  }

  size(address: number): MemorySize {
    return { pages: this.#word(address + CONTROL_PAGES_WORD), limit: this.#word(address + CONTROL_LIMIT_WORD) };
  }

  setSize(address: number, { pages, limit }: MemorySize): void {
    this.#words[(address + CONTROL_PAGES_WORD) >> 2] = pages;
    this.#words[(address + CONTROL_LIMIT_WORD) >> 2] = limit;
  }

  #word(address: number): number {
    return this.#words[address >> 2] as number;
  }
}
