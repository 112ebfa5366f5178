/** The outbound requests of one request: how many may still be sent, and how many wait for their responses. */
export class OutboundBudget {
  readonly #concurrency: number;
  #left: number;
  #inFlight = 0;
  readonly #waiting: (() => void)[] = [];

  constructor({ outboundRequests, outboundConcurrency }: OutboundLimits) {
    this.#left = outboundRequests;
    this.#concurrency = outboundConcurrency;
  }

  /** @returns false when all are spent */
  spend(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }

  /**
   * Waits for its turn, in order, and does `work`. Apps send all their requests at once and wait for all of them: to
   * refuse some would break them, to delay some does not.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inFlight < this.#concurrency) this.#inFlight++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // The next one takes the place, which so stays taken.
      if (next === undefined) this.#inFlight--;
      else next();
    }
  }
}

export type OutboundLimits = { readonly outboundRequests: number; readonly outboundConcurrency: number };
