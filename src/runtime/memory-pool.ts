import { expectNewMemories } from './collector.ts';
import { MappingBudget, mappingsOfThread } from './mapping-budget.ts';
import type { Restorer } from './slot-memory.ts';
import { SlotMemory } from './slot-memory.ts';

/**
 * Memories that no slot holds. They are never freed: V8 gives address space back only when its collector gets to it, and
 * pauses for 10 to 28 ms when memories pile up.
 */
export class MemoryPool {
  readonly #restorer: Restorer;
  readonly #budget: MappingBudget;
  readonly #free: SlotMemory[] = [];
  #created = 0;

  /** @param threads that have pools of their own in this process */
  constructor(restorer: Restorer, threads = 1) {
    this.#restorer = restorer;
    this.#budget = new MappingBudget(mappingsOfThread(threads));
  }

  /** Memories made since the start, in use and free. */
  get created(): number {
    return this.#created;
  }

  /**
   * One memory for each wanted minimum, in 64 KiB pages.
   * @throws ThawError OUT_OF_ADDRESS_SPACE; then none is taken
   */
  take(minimums: readonly number[]): SlotMemory[] {
    const taken: SlotMemory[] = [];
    try {
      for (const pages of minimums) taken.push(this.#free.pop() ?? this.#create(pages));
    } catch (error) {
      this.giveBack(taken);
      throw error;
    }
    return taken;
  }

  giveBack(memories: readonly SlotMemory[]): void {
    for (const memory of memories) memory.rest();
    this.#free.push(...memories);
  }

  #create(pages: number): SlotMemory {
    expectNewMemories();
    const memory = new SlotMemory(pages, this.#restorer, this.#budget);
    this.#created++;
    return memory;
  }
}
