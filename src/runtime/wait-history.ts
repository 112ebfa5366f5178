/** Requests in a row that must have answered without waiting before the next is run at once. */
export const FIRST_QUIET = 8;

/** The most that are asked for: an app that waits now and then runs one request in so many twice. */
export const MOST_QUIET = 4096;

/**
 * Whether the requests of a snapshot wait. Most apps either never do or always, and one that never does is served without a
 * stack of its own, which is a tenth of a small request. One that was wrong about has its request run twice, so each time
 * twice as many must go well before the next try.
 */
export class WaitHistory {
  #quiet = 0;
  #needed = FIRST_QUIET;

  /** Whether the next request will do without waiting, as far as can be told. */
  get isQuiet(): boolean {
    return this.#quiet >= this.#needed;
  }

  /** A request has ended. */
  ended(hasWaited: boolean): void {
    if (!hasWaited) {
      this.#quiet++;
      return;
    }
    if (this.isQuiet) this.#needed = Math.min(this.#needed * 2, MOST_QUIET);
    this.#quiet = 0;
  }
}
