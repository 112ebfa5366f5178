import { invariant } from '../errors.ts';

/**
 * What the limits of each route have done, counted by all threads together.
 * - `cpuStops`: requests that were stopped because their CPU time was over
 * - `refusedGrows`: times that a guest asked for more memory than its route may have
 */
const COUNTERS = ['cpuStops', 'refusedGrows'] as const;

export type RouteCounter = (typeof COUNTERS)[number];

/** A view of memory that threads share. Routes are counted by their index in the config. */
export class RouteCounters {
  readonly #cells: BigInt64Array;

  /** @param memory see {@link createRouteCounterMemory} */
  constructor(memory: SharedArrayBuffer) {
    this.#cells = new BigInt64Array(memory);
  }

  add(route: number, counter: RouteCounter, count = 1): void {
    Atomics.add(this.#cells, this.#cell(route, counter), BigInt(count));
  }

  of(route: number): Readonly<Record<RouteCounter, number>> {
    const read = (counter: RouteCounter): number => Number(Atomics.load(this.#cells, this.#cell(route, counter)));
    return { cpuStops: read('cpuStops'), refusedGrows: read('refusedGrows') };
  }

  #cell(route: number, counter: RouteCounter): number {
    const cell = route * COUNTERS.length + COUNTERS.indexOf(counter);
    invariant(cell < this.#cells.length, `route ${route} is counted`);
    return cell;
  }
}

/** Memory for the counters of so many routes, all 0. */
export const createRouteCounterMemory = (routes: number): SharedArrayBuffer =>
  new SharedArrayBuffer(routes * COUNTERS.length * BigInt64Array.BYTES_PER_ELEMENT);
