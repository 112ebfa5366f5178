import { performance } from 'node:perf_hooks';

/**
 * Guests that start in one turn of the event loop may take so long together; those beyond wait for the next, which looks at
 * the sockets first. Enough for some ten requests of an app that answers with a page, so that a busy thread does not turn
 * for each of them.
 */
export const TURN_MS = 2;

/**
 * Node takes one new connection in a turn. While more come, no guest that waits starts, for at most so many turns: they are
 * some 50 µs each, and a guest may be a thousand times that.
 */
export const MAX_LOOKS = 64;

/** What each route took is forgotten when nobody has had to wait for so long. */
const MEMORY_MS = 1000;

type Start = () => void;

/** Who waits of one route. Those that had begun come first: each holds a slot. Not both lists are empty. */
type Queue = { readonly begun: Start[]; readonly fresh: Start[] };

/**
 * Lets guests start, and go on when they have waited. A guest runs until it waits or returns, and nothing else does
 * meanwhile. One that comes alone starts at once. Of several, the others start when the sockets have been read, one after
 * the other: the guest's code then stays in the processor's caches, and so does what reads and answers requests. Without
 * turns a thread would run all that have come, one after the other, before it hears of the next request:
 * fifty that are stopped after 50 ms each are 2.5 s. Of those that wait, the route starts next that took the least time, so
 * that a route whose requests are short waits for the guest that runs and for little else.
 *
 * Invariant: while somebody waits, one call of `#startWaiting` is under way.
 */
export class Turns {
  readonly #now: () => number;
  readonly #afterSockets: (work: () => void) => void;
  readonly #afterMicrotasks: (work: () => void) => void;
  /** When the first guest of this turn started; null before it has. */
  #begunMs: number | null = null;
  #isScheduled = false;
  /** Guests that have come in this turn. */
  #come = 0;
  /** Whether several came in the last one: then the first of this one will not be alone. */
  #isCrowded = false;
  /** Whether a connection has come in this turn. */
  #hasArrivals = false;
  /** Turns in which nobody has started because more connections came. */
  #looks = 0;
  readonly #waiting = new Map<number, Queue>();
  #isStarting = false;
  /**
   * The time that each route took since there are some that wait, in milliseconds; one that comes later begins with what
   * the last one had that started, and does not catch up. Source: start-time fair queueing (Goyal, Vin, Cheng, 1996).
   */
  readonly #taken = new Map<number, number>();
  #virtualMs = 0;
  /** When somebody waited last. */
  #waitedMs = 0;

  /**
   * @param now milliseconds
   * @param afterSockets calls back when the event loop has looked at its sockets, in the order of the calls
   * @param afterMicrotasks calls back when all microtasks have run
   */
  constructor(
    now: () => number = () => performance.now(),
    afterSockets: (work: () => void) => void = (work) => void setImmediate(work),
    afterMicrotasks: (work: () => void) => void = (work) => queueMicrotask(() => process.nextTick(work)),
  ) {
    this.#now = now;
    this.#afterSockets = afterSockets;
    this.#afterMicrotasks = afterMicrotasks;
  }

  /** Whether somebody waits. */
  get isBusy(): boolean {
    return this.#waiting.size > 0;
  }

  /** Starts a guest of the route: here and now if it may, else in its turn. */
  take(route: number, start: Start): void {
    const isAlone = ++this.#come === 1 && !this.#isCrowded && this.#waiting.size === 0;
    if (isAlone && this.#hasTime()) start();
    else this.#wait(route, 'fresh', start);
  }

  /** For one that had its turn and waited for something else since. */
  again(route: number, start: Start): void {
    if (this.#hasTime()) start();
    else this.#wait(route, 'fresh', start);
  }

  /** Lets a guest go on that has run and waited. @param goOn has it run in the microtasks that follow */
  goOn(route: number, goOn: Start): void {
    if (this.#waiting.size === 0 && this.#hasTime()) goOn();
    else this.#wait(route, 'begun', goOn);
  }

  /** Whether another guest may start in this turn. Begins the turn with the first. */
  #hasTime(): boolean {
    const now = this.#now();
    if (this.#begunMs !== null) return now - this.#begunMs < TURN_MS;
    this.#begunMs = now;
    this.#schedule();
    return true;
  }

  /** Has the turn end. Before `#startWaiting` is scheduled, so that it does so before. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#afterSockets(() => {
      this.#isScheduled = false;
      this.#begunMs = null;
      this.#isCrowded = this.#come > 1;
      this.#come = 0;
      this.#looks = this.#hasArrivals && this.#looks < MAX_LOOKS ? this.#looks + 1 : 0;
      this.#hasArrivals = false;
    });
  }

  /** A client has connected. */
  connected(): void {
    this.#hasArrivals = true;
  }

  #wait(route: number, list: keyof Queue, start: Start): void {
    if (this.#waiting.size === 0 && this.#now() - this.#waitedMs > MEMORY_MS) this.#forget();
    let queue = this.#waiting.get(route);
    if (queue === undefined) {
      queue = { begun: [], fresh: [] };
      this.#waiting.set(route, queue);
      this.#taken.set(route, Math.max(this.#taken.get(route) ?? 0, this.#virtualMs));
    }
    queue[list].push(start);
    this.#tryLater();
  }

  /** A guest of the route has run for so many milliseconds. */
  took(route: number, ms: number): void {
    if (this.#taken.size === 0) return;
    this.#taken.set(route, (this.#taken.get(route) ?? this.#virtualMs) + ms);
  }

  #tryLater(): void {
    if (this.#isStarting) return;
    this.#isStarting = true;
    this.#schedule();
    this.#afterSockets(this.#startWaiting);
  }

  readonly #startWaiting = (): void => {
    this.#isStarting = false;
    try {
      while (this.#waiting.size > 0 && this.#looks === 0 && this.#hasTime()) {
        if (this.#startNext() === 'fresh') continue;
        // How long it takes is known when it has gone on.
        this.#isStarting = true;
        this.#afterMicrotasks(this.#startWaiting);
        return;
      }
    } finally {
      if (this.#waiting.size > 0) this.#tryLater();
    }
  };

  /** @returns what was started */
  #startNext(): keyof Queue {
    const route = this.#nextRoute();
    const { begun, fresh } = this.#waiting.get(route) as Queue;
    this.#virtualMs = this.#taken.get(route) as number;
    if (begun.length + fresh.length === 1) this.#waiting.delete(route);
    this.#waitedMs = this.#now();
    const goOn = begun.shift();
    if (goOn === undefined) (fresh.shift() as Start)();
    else goOn();
    return goOn === undefined ? 'fresh' : 'begun';
  }

  #forget(): void {
    this.#taken.clear();
    this.#virtualMs = 0;
  }

  /** Of those that wait, the one that took the least time; the first of several. */
  #nextRoute(): number {
    let next = -1;
    let least = Infinity;
    for (const route of this.#waiting.keys()) {
      const taken = this.#taken.get(route) as number;
      if (taken >= least) continue;
      least = taken;
      next = route;
    }
    return next;
  }
}
