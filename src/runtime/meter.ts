import { performance } from 'node:perf_hooks';
import { ColdCode } from './cold-code.ts';
import { CONTROL_CLOCK, CONTROL_CLOSED, CONTROL_DEADLINE, CONTROL_SEGMENT } from './control.ts';
import { invariant } from '../errors.ts';
import { ringDoorbell } from './doorbell.ts';
import { ThreadClock } from './thread-clock.ts';

/**
 * Counts the time in which guests run, and has them stopped when it is over.
 *
 * A request runs in segments: from a call into the guest, or from where its suspended stack goes on, to where it suspends,
 * returns or traps. One guest at a time runs on a thread, so the thread has one word that says which segment runs. The
 * thread counts it up at both ends of a segment; the watchdog, on a thread of its own, sets its sign bit when the segment's
 * deadline has passed, and closes the stop page, so that the checks in the guest's code trap. Every host call looks at the
 * sign.
 *
 * Invariant: the sign bit stops the segment whose number it is set in, and no other. For
 * - the watchdog sets it by compare-exchange against the number that it read before the deadline, so it fails if that
 *   segment has ended meanwhile (a number comes again after 2³⁰ segments);
 * - the deadline is written between two segments, so the one read while the number stood still is that segment's;
 * - the thread ends a segment by exchange: a sign that was set before is seen, one set after is impossible;
 * - whoever sets the sign closes the stop page, and the thread that sees the sign opens it when that is done: between two
 *   segments it is open.
 */

/** The sign bit of {@link CONTROL_SEGMENT}. */
export const STOPPED = -0x8000_0000;
const NUMBER_MASK = 0x7fff_ffff;

/** Whether a value of {@link CONTROL_SEGMENT} is a segment that runs and has not been told to stop. */
export const isRunning = (segment: number): boolean => segment > 0 && (segment & 1) === 1;

const SEGMENT = CONTROL_SEGMENT >> 2;
const DEADLINE = CONTROL_DEADLINE >> 2;
const CLOSED = CONTROL_CLOSED >> 2;

/** A page that stops whatever runs while it is closed; see stop-page.ts. */
export type Barrier = { close(): void; open(): void };

/** The watchdog closes the page right after it has set the sign, unless it was ended in between. */
const CLOSING_MS = 1000;

/**
 * A segment of up to so many milliseconds on the machine's clock is taken as it is. In a longer one the kernel may have
 * run others on the thread's processor, and the thread's own clock is worth a look.
 */
const SHORT_MS = 2;

/** The meter of one thread. It must be made on the thread whose guests it meters. */
export class Meter {
  readonly cold = new ColdCode();
  readonly #words: Int32Array;
  readonly #doorbell: Int32Array;
  readonly #clock: ThreadClock;
  readonly #page: Barrier;
  readonly #now: () => number;
  /** Whether the running segment had no time left when it began, so that the page was closed here. */
  #hadNoTime = false;
  /** Whose segment runs. Null exactly when the number is even. */
  #running: Account | null = null;
  #segment = 0;
  /** When it began: milliseconds on the machine's clock, microseconds on the thread's. */
  #begunMs = 0;
  #begunMicros = 0;

  /** @param words the control memory @param doorbell see doorbell.ts @param now the machine's clock, in milliseconds */
  constructor(
    words: Int32Array,
    doorbell: Int32Array,
    page: Barrier,
    clock = new ThreadClock(),
    now: () => number = () => performance.now(),
  ) {
    this.#words = words;
    this.#doorbell = doorbell;
    this.#page = page;
    this.#clock = clock;
    this.#now = now;
    words[CONTROL_CLOCK >> 2] = clock.id;
  }

  /** Begins a segment. One that still runs has ended: its guest returned or trapped, and its caller has yet to hear of it. */
  begin(account: Account): void {
    this.#end();
    const left = account.leftMs;
    const segment = this.#next();
    this.#running = account;
    this.#begunMs = this.#now();
    this.#begunMicros = this.#clock.about(this.#begunMs);
    Atomics.store(this.#words, DEADLINE, (this.#begunMicros + left * 1000) | 0);
    this.#hadNoTime = left <= 0;
    if (this.#hadNoTime) this.#page.close();
    Atomics.store(this.#words, SEGMENT, this.#hadNoTime ? segment | STOPPED : segment);
    ringDoorbell(this.#doorbell, left);
  }

  /** Ends the account's segment if it runs. */
  end(account: Account): void {
    if (this.#running === account) this.#end();
  }

  /** Whether the running segment is to stop. */
  get isStopped(): boolean {
    return (this.#words[SEGMENT] as number) < 0;
  }

  #end(): void {
    const account = this.#running;
    if (account === null) return;
    const last = Atomics.exchange(this.#words, SEGMENT, this.#next());
    if (last < 0) this.#reopen(last & NUMBER_MASK);
    this.#running = null;
    account.add(this.#elapsedMs(), last < 0);
  }

  /** Opens the page once whoever stopped the segment has closed it. */
  #reopen(segment: number): void {
    const deadline = this.#hadNoTime ? 0 : performance.now() + CLOSING_MS;
    for (let closed = this.#closed(); closed !== segment && performance.now() < deadline; closed = this.#closed()) {
      Atomics.wait(this.#words, CLOSED, closed, 1);
    }
    this.#page.open();
  }

  #closed(): number {
    return Atomics.load(this.#words, CLOSED);
  }

  #elapsedMs(): number {
    const nowMs = this.#now();
    const elapsedMs = nowMs - this.#begunMs;
    if (elapsedMs <= SHORT_MS) return elapsedMs;
    return Math.min(elapsedMs, Math.max(0, this.#clock.exact(nowMs) - this.#begunMicros) / 1000);
  }

  #next(): number {
    this.#segment = (this.#segment + 1) & NUMBER_MASK;
    return this.#segment;
  }
}

/** Deadlines are told apart from times that have passed within 2³¹ µs, 35 minutes. */
const MAX_LIMIT_MS = 30 * 60_000;

/** The CPU time of one guest's request. */
export class Account {
  readonly #meter: Meter;
  #limitMs = 0;
  #graceMs = 0;
  #usedMs = 0;
  #isStopped = false;

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  /** Begins anew with so many milliseconds, and some more that are not spoken of. */
  open(limitMs: number, graceMs = 0): void {
    invariant(limitMs + graceMs <= MAX_LIMIT_MS, `${limitMs} ms of CPU time can be metered`);
    this.#limitMs = limitMs;
    this.#graceMs = graceMs;
    this.#usedMs = 0;
    this.#isStopped = false;
  }

  get limitMs(): number {
    return this.#limitMs;
  }

  /** Milliseconds of the segments that have ended. */
  get usedMs(): number {
    return this.#usedMs;
  }

  /** Milliseconds that are left; 0 for one that was stopped, whatever the clocks say. */
  get leftMs(): number {
    return this.#isStopped ? 0 : this.#limitMs + this.#graceMs - this.#usedMs;
  }

  /** Whether a segment was told to stop. */
  get wasStopped(): boolean {
    return this.#isStopped;
  }

  /** Whether the segment that runs now, this account's, is to stop. */
  get isOver(): boolean {
    return this.#meter.isStopped;
  }

  /** The guest runs from now on. */
  resume(): void {
    this.#meter.begin(this);
  }

  /** The guest no longer runs, if it did. */
  pause(): void {
    this.#meter.end(this);
  }

  /** For the meter: a segment has ended. */
  add(ms: number, isStopped: boolean): void {
    this.#usedMs += ms;
    if (isStopped) this.#isStopped = true;
  }
}
