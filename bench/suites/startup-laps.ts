/** Microseconds of one start, by phase. `total` is up to the response head; `restore` comes after it. */
export type Laps = { readonly total: number; readonly phase: Readonly<Record<string, number>> };

const MICROSECONDS = 1000;

/** To a tenth: what the clock can tell. */
const micros = (ms: number): number => Math.round(ms * MICROSECONDS * 10) / 10;

/** The clock of one start. Every way of starting is timed by it, from before its first step to the response head. */
export class LapTimer {
  readonly #phase: Record<string, number> = {};
  readonly #begun = performance.now();
  #last = this.#begun;
  #total = Number.NaN;

  /** The time since the last mark was this phase. */
  mark(phase: string): void {
    const now = performance.now();
    this.#phase[phase] = micros(now - this.#last);
    this.#last = now;
  }

  /** The response head is there. */
  readonly head = (): void => {
    this.mark('guest');
    this.#total = micros(this.#last - this.#begun);
  };

  /** The time since the last mark belongs to no phase. */
  skip(): void {
    this.#last = performance.now();
  }

  /** @throws when there was no response head */
  finish(): Laps {
    if (Number.isNaN(this.#total)) throw new Error('the guest returned without an answer');
    return { total: this.#total, phase: this.#phase };
  }
}
