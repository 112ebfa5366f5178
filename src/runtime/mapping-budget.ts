import { readFileSync } from 'node:fs';

/** What Linux allows a process by default. */
const DEFAULT_MAX_MAPPINGS = 65_530;

/**
 * Of all mappings, those that deltas may take together: half. The other half is for memories, threads, libraries, and above
 * all V8: it ends the process when it can map no more for its heap.
 */
const SHARE = 2;

/**
 * The mappings that the deltas of one thread's memories may take: each run of pages that lies over a base is one, and what
 * it leaves of the base behind it is another. A StarlingMonkey app has some 75 runs, so 430 slots would take all that
 * there are.
 */
export class MappingBudget {
  #left: number;

  /** @param mappings for one thread; see {@link mappingsOfThread} */
  constructor(mappings: number) {
    this.#left = mappings;
  }

  /** @returns false when there are not so many; then none are taken */
  take(mappings: number): boolean {
    if (mappings > this.#left) return false;
    this.#left -= mappings;
    return true;
  }

  give(mappings: number): void {
    this.#left += mappings;
  }
}

/** How many mappings one of so many threads may take for deltas. */
export const mappingsOfThread = (threads = 1): number => Math.floor(maxMappings() / SHARE / threads);

function maxMappings(): number {
  try {
    const limit = Number(readFileSync('/proc/sys/vm/max_map_count', 'latin1'));
    return Number.isSafeInteger(limit) && limit > 0 ? limit : DEFAULT_MAX_MAPPINGS;
  } catch {
    return DEFAULT_MAX_MAPPINGS;
  }
}
