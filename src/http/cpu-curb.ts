import { performance } from 'node:perf_hooks';

/** What a route did fades: after so long, a third of it is left. */
const MEMORY_MS = 30_000;

/** So many stops on one thread are no accident: with the default limit they are a second of it. */
export const MIN_STOPS = 20;

/** When so few are left, all is forgiven; a route that goes on being stopped keeps more. */
const FORGIVEN_STOPS = MIN_STOPS / 2;

/** Of a single stop, so much is left after a minute and a half: nobody needs to know. */
const FORGOTTEN_STOPS = 0.05;

/**
 * What requests of a curbed route get: enough for one that answers with a page while V8 collects garbage, and little enough
 * for others to wait.
 */
export const CURBED_MS = 5;

/** They get more, where those that end by themselves take more: so many times their mean. */
const CURBED_MEANS = 4;

/** After a guest of a curbed route has run, none starts for so many times as long: together they get a fifth of the thread. */
const PAUSES = 4;

/** A timer is a millisecond late as it is: pauses are made of many short runs. */
const MIN_PAUSE_MS = 2;

/** The recent past of a route that was stopped: fading sums, as of `atMs`. */
type Past = { stops: number; ended: number; endedMs: number; atMs: number; isCurbed: boolean };

/** To be called with how long the guest ran until it first waited or ended; only the first call counts. */
export type Leave = (ranMs: number) => void;

/**
 * Curbs routes whose requests run into their CPU limit again and again. A guest cannot be interrupted to go on later, so
 * each that is stopped has held up all others of its thread for the whole of its limit. On a thread where that happens all
 * the time, requests of the route get less, and start one after the other with pauses. Those that take as long as the ones
 * that succeed are answered as before, only later.
 */
export class CpuCurb {
  readonly #now: () => number;
  readonly #pasts = new Map<number, Past>();
  readonly #waiters: (() => void)[] = [];
  /** Whether a guest of a curbed route runs, or its pause is not over. */
  #isTaken = false;
  /** What the pauses of runs come to that were too short for one. */
  #owedMs = 0;

  /** @param now milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * A request of the route was stopped.
   * @returns whether the route is curbed from now on, and was not before
   */
  stopped(route: number): boolean {
    const past = this.#pasts.get(route) ?? { stops: 0, ended: 0, endedMs: 0, atMs: this.#now(), isCurbed: false };
    this.#pasts.set(route, past);
    this.#fade(past);
    past.stops++;
    if (past.isCurbed || past.stops < MIN_STOPS) return false;
    past.isCurbed = true;
    return true;
  }

  /** A request of the route ended by itself. */
  ended(route: number, usedMs: number): void {
    const past = this.#pasts.get(route);
    if (past === undefined) return;
    this.#fade(past);
    past.ended++;
    past.endedMs += usedMs;
  }

  isCurbed(route: number): boolean {
    const past = this.#pasts.get(route);
    if (past === undefined) return false;
    this.#fade(past);
    if (past.stops < FORGOTTEN_STOPS) this.#pasts.delete(route);
    return past.isCurbed;
  }

  /** The milliseconds that a request of the route gets, of which it may have `limitMs`. */
  limitOf(route: number, limitMs: number): number {
    const past = this.#pasts.get(route);
    if (past === undefined || !past.isCurbed) return limitMs;
    const meanMs = past.ended > 0 ? past.endedMs / past.ended : 0;
    return Math.min(limitMs, Math.max(CURBED_MS, CURBED_MEANS * meanMs));
  }

  #fade(past: Past): void {
    const now = this.#now();
    const left = Math.exp((past.atMs - now) / MEMORY_MS);
    past.stops *= left;
    past.ended *= left;
    past.endedMs *= left;
    past.atMs = now;
    if (past.stops < FORGIVEN_STOPS) past.isCurbed = false;
  }

  /**
   * Waits until a guest of a curbed route may start.
   * @param passed resolves when waiting is no use any more; then this ends, too
   */
  async enter(passed: Promise<void>): Promise<Leave> {
    if (this.#isTaken && !(await this.#isGranted(passed))) return () => {};
    this.#isTaken = true;
    let isIn = true;
    return (ranMs) => {
      if (isIn) this.#pause(ranMs * PAUSES);
      isIn = false;
    };
  }

  async #isGranted(passed: Promise<void>): Promise<boolean> {
    const { promise: granted, resolve: grant } = Promise.withResolvers<void>();
    this.#waiters.push(grant);
    await Promise.race([granted, passed]);
    const index = this.#waiters.indexOf(grant);
    if (index >= 0) this.#waiters.splice(index, 1);
    return index < 0;
  }

  #pause(ms: number): void {
    this.#owedMs += ms;
    if (this.#owedMs < MIN_PAUSE_MS) {
      this.#next();
      return;
    }
    setTimeout(() => this.#next(), this.#owedMs).unref();
    this.#owedMs = 0;
  }

  #next(): void {
    const grant = this.#waiters.shift();
    if (grant === undefined) this.#isTaken = false;
    else grant();
  }
}
