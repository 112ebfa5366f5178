import { performance } from 'node:perf_hooks';

/**
 * What is measured of one start, and the timer that measures it. The README explains the words; the admin listener, the
 * summary and the `.hlog` tags use them as they stand here.
 */

/** The phases of a request up to its response head, in the order in which they happen. */
export const PHASE_NAMES = ['route', 'acquire', 'compile', 'instantiate', 'restore', 'guest', 'total'] as const;

export type Phase = (typeof PHASE_NAMES)[number];

export const PHASES: Readonly<Record<Phase, string>> = {
  route: 'from the request head to the matched route',
  acquire: 'finding a slot, the wait for one included',
  compile: 'compiling the core modules of the snapshot',
  instantiate: 'a new slot: memories and linked instances',
  restore: "bringing the slot to the snapshot's state, as far as the request waits for it",
  guest: 'from calling the guest until its response head',
  total: 'from the request head to the response head',
};

/** How a request came by its slot, from the cheapest to the dearest. */
export const START_KIND_NAMES = ['hot', 'switch', 'instantiate', 'load'] as const;

export type StartKind = (typeof START_KIND_NAMES)[number];

export const START_KINDS: Readonly<Record<StartKind, string>> = {
  hot: 'a clean slot of this route was ready',
  switch: 'a slot of the same code was turned to this snapshot',
  instantiate: 'a new slot, code already compiled',
  load: 'the code had to be compiled first',
};

/** The place of each phase in `PHASE_NAMES`. */
const INDEX = Object.fromEntries(PHASE_NAMES.map((phase, index) => [phase, index])) as Readonly<Record<Phase, number>>;

const MICROSECONDS_PER_MILLISECOND = 1000;

/** A monotonic clock in milliseconds, as `performance.now`. */
type MonotonicClock = () => number;

/**
 * Stop-watch of one start, to be reused for the next: `begin`, a `mark` at the end of each phase, `finish` at the
 * response head. Phases follow each other, so their sum is never more than `total`; time that belongs to none of them is
 * left out with `skip`. A phase without a mark is absent, which is not the same as 0.
 *
 * The clock is `performance.now`: about 55 ns a call here, as `process.hrtime.bigint`, which allocates a BigInt. It is
 * imported, as `process` and `Buffer` are in code that every request runs through: Node's globals of these names are
 * getters, which V8 calls each time. A mark allocates nothing: durations live in one typed array, small enough for V8 to
 * keep inside its object.
 */
export class StartTimer {
  readonly #now: MonotonicClock;
  /** Microseconds by phase index; NaN is a phase that did not happen. */
  readonly #micros = new Float64Array(PHASE_NAMES.length).fill(Number.NaN);
  #begun = 0;
  /** The end of the last phase; never before `#begun`. */
  #last = 0;

  constructor(now: MonotonicClock = () => performance.now()) {
    this.#now = now;
  }

  /** Forgets the last start and begins a new one. */
  begin(): void {
    this.#micros.fill(Number.NaN);
    this.#begun = this.#now();
    this.#last = this.#begun;
  }

  /** The time since the last mark was this phase. A second mark of a phase adds to it. */
  mark(phase: Exclude<Phase, 'total'>): void {
    const now = this.#now();
    const index = INDEX[phase];
    const micros = (now - this.#last) * MICROSECONDS_PER_MILLISECOND;
    const before = this.#micros[index] ?? 0;
    this.#micros[index] = Number.isNaN(before) ? micros : before + micros;
    this.#last = now;
  }

  /** The time since the last mark belongs to no phase but `total`. */
  skip(): void {
    this.#last = this.#now();
  }

  /** The response head is there: sets `total`. */
  finish(): void {
    this.#micros[INDEX.total] = (this.#now() - this.#begun) * MICROSECONDS_PER_MILLISECOND;
  }

  /** Microseconds of the phase at `index` of `PHASE_NAMES`, NaN when it did not happen. For recording without allocation. */
  microsAt(index: number): number {
    return this.#micros[index] ?? Number.NaN;
  }

  /** Microseconds of a phase, or undefined when it did not happen. */
  micros(phase: Phase): number | undefined {
    const micros = this.microsAt(INDEX[phase]);
    return Number.isNaN(micros) ? undefined : micros;
  }

  /** The phases that happened, in microseconds to one decimal, for log lines. */
  toJSON(): Partial<Record<Phase, number>> {
    const phases: Partial<Record<Phase, number>> = {};
    for (const phase of PHASE_NAMES) {
      const micros = this.micros(phase);
      if (micros !== undefined) phases[phase] = Math.round(micros * 10) / 10;
    }
    return phases;
  }
}
