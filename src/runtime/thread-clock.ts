import { cpuClockMicros, threadCpuClock } from './libc.ts';
import { sharedMicros } from './shared-clock.ts';

/**
 * The clock by which guests of a thread are metered: the thread's CPU time, so that a guest does not pay for others that
 * the kernel ran in its place; where the system has no such clock, the machine's own. The watchdog reads it by its id.
 */

/** The id that stands for the machine's clock. */
const NO_CPU_CLOCK = 0;

/** A look at the CPU clock costs 1 µs, so a thread looks at most once in so many milliseconds and counts on from there. */
const SAMPLE_MS = 1;

/** What the clock of a thread says, in microseconds, on any thread. Null when it cannot be read: its thread has ended. */
export const clockMicros = (id: number): number | null =>
  id === NO_CPU_CLOCK ? sharedMicros(performance.now()) : cpuClockMicros(id);

/** The clock of the thread that makes it. Times are in microseconds. */
export class ThreadClock {
  readonly id: number;
  readonly #read: (id: number) => number | null;
  /** The last look, and the milliseconds of the machine's clock at it. */
  #sample = 0;
  #sampledMs = Number.NEGATIVE_INFINITY;

  constructor(id = threadCpuClock(), read = clockMicros) {
    this.id = id;
    this.#read = read;
  }

  /** What the clock says. @param nowMs the machine's clock */
  exact(nowMs: number): number {
    this.#sample = this.#read(this.id) ?? 0;
    this.#sampledMs = nowMs;
    return this.#sample;
  }

  /** What the clock says, or up to {@link SAMPLE_MS} later: as if the thread had run ever since the last look. */
  about(nowMs: number): number {
    const sinceMs = nowMs - this.#sampledMs;
    return sinceMs > SAMPLE_MS ? this.exact(nowMs) : this.#sample + sinceMs * 1000;
  }
}
