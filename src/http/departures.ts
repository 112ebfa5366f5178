type Leave = () => void;

/**
 * Lets responses leave together. What is sent wakes whoever waits for it, and on another processor that is an interrupt:
 * under load a sixth of a small request's cost, for each. So of the guests that run in one turn of the event loop, the first
 * answers at once, for most requests are alone; the answers of the others leave when the turn is over, a few milliseconds
 * at most. Before a guest starts that may take long, `flush` lets them go.
 */
export class Departures {
  readonly #afterTurn: (work: () => void) => void;
  #held: Leave[] = [];
  /** Whether something has left in this turn. */
  #hasLeft = false;

  /** @param afterTurn calls back when the event loop has looked at its sockets again, or is about to */
  constructor(afterTurn: (work: () => void) => void = (work) => void setImmediate(work)) {
    this.#afterTurn = afterTurn;
  }

  /** Sends: now, or with the others of this turn. In the order of the calls. */
  depart(send: Leave): void {
    if (this.#hasLeft) {
      this.#held.push(send);
      return;
    }
    this.#hasLeft = true;
    this.#afterTurn(this.#endTurn);
    send();
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
    this.#hasLeft = false;
    this.flush();
  };
}
