type Leave = () => void;

/**
 * Lets responses leave together. What is sent wakes whoever waits for it, and on another processor that is an interrupt:
 * under load a tenth of a small request's cost, for each. So of the guests that run in one turn of the event loop, the first
 * answers at once, for most requests are alone; the answers of the others leave when the turn is over, a few milliseconds
 * at most. While requests wait for the thread, so does the first. Before a guest starts that may take long, `flush` lets
 * them go.
 */
export class Departures {
  readonly #isBusy: () => boolean;
  readonly #afterTurn: (work: () => void) => void;
  #held: Leave[] = [];
  /** Whether something has come to leave in this turn. */
  #isTurn = false;

  /**
   * @param isBusy whether requests wait for the thread
   * @param afterTurn calls back when the event loop has looked at its sockets again, or is about to
   */
  constructor(isBusy: () => boolean, afterTurn: (work: () => void) => void = (work) => void setImmediate(work)) {
    this.#isBusy = isBusy;
    this.#afterTurn = afterTurn;
  }

  /** Sends: now, or with the others of this turn. In the order of the calls. */
  depart(send: Leave): void {
    const isFirst = !this.#isTurn;
    if (isFirst) {
      this.#isTurn = true;
      this.#afterTurn(this.#endTurn);
    }
    if (isFirst && !this.#isBusy()) send();
    else this.#held.push(send);
  }

  /** Does what comes after sending: now if nothing is held. */
  afterwards(work: Leave): void {
    if (this.#held.length === 0) work();
    else this.#held.push(work);
  }

  /** What is held leaves now. */
  flush(): void {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = [];
    for (const leave of held) leave();
  }

  readonly #endTurn = (): void => {
    this.#isTurn = false;
    this.flush();
  };
}
