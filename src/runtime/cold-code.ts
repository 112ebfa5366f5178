import type { Digest } from '../wasm/plan.ts';

/**
 * V8 compiles a function when it is first called, on the caller's time: the first request to a JavaScript engine spends
 * some 30 ms on it, on a Raspberry Pi several times as much, and would be stopped for what the next one does in 0.1 ms. So
 * requests may run over their limit until one of their code has succeeded on this thread, all together by so much. A guest
 * that loops takes it once.
 */
const GRACE_MS = 500;

/** Which code is still to be compiled by the requests of one thread. */
export class ColdCode {
  /** Milliseconds of grace that are left, by code digest. 0: warm, or used up. */
  readonly #left = new Map<Digest, number>();

  /** Milliseconds by which a request may run over its limit. */
  graceMs(code: Digest): number {
    return this.#left.get(code) ?? GRACE_MS;
  }

  /** A request has ended, so much over its limit. */
  ended(code: Digest, overMs: number, hasSucceeded: boolean): void {
    const left = this.graceMs(code);
    if (left > 0) this.#left.set(code, hasSucceeded ? 0 : Math.max(0, left - Math.max(0, overMs)));
  }
}
