import { CONTROL_CLOCK, CONTROL_CLOSED, CONTROL_DEADLINE, CONTROL_SEGMENT } from './control.ts';
import { AWAKE, ASLEEP, DOZE_MS, DOZING, ENDED } from './doorbell.ts';
import { isRunning, STOPPED, type Barrier } from './meter.ts';
import { clockMicros } from './thread-clock.ts';

/** A thread that is watched: its control memory, and what stops it. */
export type Watched = { readonly words: Int32Array; readonly page: Barrier };

/** Looks at the segments that run on some threads, and stops those that are over their deadline. */
export class Watch {
  readonly #threads: readonly WatchedThread[];

  /** @param read what the clock with an id says, in microseconds */
  constructor(threads: readonly Watched[], read = clockMicros) {
    this.#threads = threads.map((watched) => new WatchedThread(watched, read));
  }

  /** @returns microseconds until a deadline passes, or null when nothing runs; `isQuiet`: nothing ran since the last look */
  look(): { readonly nextMicros: number | null; readonly isQuiet: boolean } {
    let nextMicros: number | null = null;
    let isQuiet = true;
    for (const thread of this.#threads) {
      const next = thread.look();
      if (thread.hasMoved || next !== null) isQuiet = false;
      if (next !== null) nextMicros = Math.min(nextMicros ?? next, next);
    }
    return { nextMicros, isQuiet };
  }
}

class WatchedThread {
  readonly #words: Int32Array;
  readonly #page: Barrier;
  readonly #read: (clock: number) => number | null;
  /** The word at the last look. */
  #segment = 0;
  #hasMoved = false;

  constructor({ words, page }: Watched, read: (clock: number) => number | null) {
    this.#words = words;
    this.#page = page;
    this.#read = read;
  }

  /** Whether the segment was another one at the look before. */
  get hasMoved(): boolean {
    return this.#hasMoved;
  }

  /** @returns microseconds until the deadline, or null when nothing runs, or what runs was told to stop */
  look(): number | null {
    const segment = Atomics.load(this.#words, CONTROL_SEGMENT >> 2);
    this.#hasMoved = segment !== this.#segment;
    this.#segment = segment;
    if (!isRunning(segment)) return null;
    const deadline = Atomics.load(this.#words, CONTROL_DEADLINE >> 2);
    const now = this.#read(Atomics.load(this.#words, CONTROL_CLOCK >> 2));
    if (now === null) return null;
    // Both are modulo 2³², and never half an hour apart.
    const left = (deadline - now) | 0;
    if (left > 0) return left;
    // Fails when the segment has ended meanwhile: then there was nothing to stop.
    const word = CONTROL_SEGMENT >> 2;
    if (Atomics.compareExchange(this.#words, word, segment, segment | STOPPED) === segment) this.#close(segment);
    return null;
  }

  /** The thread waits for this before it opens the page again. */
  #close(segment: number): void {
    this.#page.close();
    Atomics.store(this.#words, CONTROL_CLOSED >> 2, segment);
    Atomics.notify(this.#words, CONTROL_CLOSED >> 2);
  }
}

/**
 * Between two looks of a watchdog that is awake. A segment that begins right after one, with next to nothing left, runs so
 * much too long: a quarter of the 20 ms that a guest may overrun its limit by.
 */
const LOOK_MS = 5;

/** After so many looks without having been rung for it dozes, */
const LOOKS_UNTIL_DOZING = 20;
/** and after so many more without a segment it sleeps. */
const QUIET_LOOKS_UNTIL_ASLEEP = 5;

/** Looks until the doorbell says to end. Blocks the thread. */
export function keepWatch(watch: Watch, doorbell: Int32Array): void {
  while (Atomics.load(doorbell, 0) !== ENDED) {
    for (let looks = 0; looks < LOOKS_UNTIL_DOZING; looks++) lookAndWait(watch, doorbell, AWAKE, LOOK_MS);
    Atomics.compareExchange(doorbell, 0, AWAKE, DOZING);
    for (let quiet = 0; quiet < QUIET_LOOKS_UNTIL_ASLEEP && Atomics.load(doorbell, 0) === DOZING;) {
      quiet = lookAndWait(watch, doorbell, DOZING, DOZE_MS) ? quiet + 1 : 0;
    }
    Atomics.compareExchange(doorbell, 0, DOZING, ASLEEP);
    if (watch.look().isQuiet) Atomics.wait(doorbell, 0, ASLEEP);
    Atomics.compareExchange(doorbell, 0, ASLEEP, AWAKE);
  }
}

/**
 * Looks, and waits until a deadline passes, for `ms` at most and while the doorbell has this state.
 * @returns whether nothing ran since the last look
 */
function lookAndWait(watch: Watch, doorbell: Int32Array, state: number, ms: number): boolean {
  const { nextMicros, isQuiet } = watch.look();
  Atomics.wait(doorbell, 0, state, Math.min(ms, (nextMicros ?? Infinity) / 1000));
  return isQuiet;
}
