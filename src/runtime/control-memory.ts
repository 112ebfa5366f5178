import { ThawError } from '../errors.ts';
import {
  CONTROL_HEADROOM_WORD,
  CONTROL_LIMIT_WORD,
  CONTROL_MEMORY_PAGES,
  CONTROL_PAGES,
  CONTROL_PAGES_WORD,
  CONTROL_RECORD_BYTES,
  CONTROL_REFUSED_WORD,
} from './control.ts';
import { newDoorbell } from './doorbell.ts';
import { Meter } from './meter.ts';
import { StopPage } from './stop-page.ts';
import { WASM_PAGE_BYTES } from '../snapshot/manifest.ts';

/** Logical size and limit of one memory, in 64 KiB pages. */
export type MemorySize = { readonly pages: number; readonly limit: number };

/** What a thread shares with the watchdog. It can be posted to other threads. */
export type ControlLink = { readonly memory: WebAssembly.Memory; readonly doorbell: SharedArrayBuffer };

export const newControlMemory = (): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: CONTROL_MEMORY_PAGES, maximum: CONTROL_MEMORY_PAGES, shared: true });

/**
 * The control memory of one thread and the allocation of its records. Record 0 belongs to nobody: the rewriter
 * initialises `thaw:memory<index>` to 0, so record 0 is what start functions use while an instance is being made.
 */
export class ControlMemory {
  readonly memory: WebAssembly.Memory;
  /** Of the guests of this thread. */
  readonly meter: Meter;
  readonly #words: Int32Array;
  readonly #free: number[] = [];
  #next = CONTROL_RECORD_BYTES;

  /** @param link shared with a {@link Watchdog}; without one nothing stops a guest that does not suspend */
  constructor(link: ControlLink = { memory: newControlMemory(), doorbell: newDoorbell() }) {
    this.memory = link.memory;
    this.#words = new Int32Array(link.memory.buffer);
    this.meter = new Meter(this.#words, new Int32Array(link.doorbell), new StopPage(link.memory.buffer));
  }

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

  /** Lets the memories of a record grow by so many pages, all together, and counts refusals from 0. */
  setHeadroom(record: number, pages: number): void {
    this.#words[(record + CONTROL_HEADROOM_WORD) >> 2] = pages;
    this.#words[(record + CONTROL_REFUSED_WORD) >> 2] = 0;
  }

  /** How often `memory.grow` was refused since {@link setHeadroom}. */
  refusals(record: number): number {
    return this.#word(record + CONTROL_REFUSED_WORD);
  }

  #word(address: number): number {
    return this.#words[address >> 2] as number;
  }
}
