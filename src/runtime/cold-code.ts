import type { Manifest } from '../snapshot/manifest.ts';
import type { Digest } from '../wasm/plan.ts';

/**
 * V8 compiles a function when it is first called, on the caller's time: the first request to StarlingMonkey, 9 MiB,
 * spends 20 to 30 ms on it, on a Raspberry Pi several times as much, and would be stopped for what the next one does in
 * 0.1 ms. So until one request of a code has succeeded on this thread, requests may run over their limit, all together by
 * ten times that. A guest that loops takes it once.
 */
const GRACE_MS_PER_MIB = 30;

/** The part of a manifest that says which code it is. */
type Code = Pick<Manifest, 'codeDigest' | 'code'>;

/** Which code is still to be compiled by the requests of one thread. */
export class ColdCode {
  /** Milliseconds of grace that are left. 0: warm, or used up. */
  readonly #left = new Map<Digest, number>();

  /** Milliseconds by which a request may run over its limit. */
  graceMs({ codeDigest, code }: Code): number {
    let left = this.#left.get(codeDigest);
    if (left === undefined) {
      const bytes = code.reduce((sum, module) => sum + module.bytes, 0);
      left = (bytes / 2 ** 20) * GRACE_MS_PER_MIB;
      this.#left.set(codeDigest, left);
    }
    return left;
  }

  /** A request has ended, so much over its limit. */
  ended(code: Code, overMs: number, hasSucceeded: boolean): void {
    const left = this.graceMs(code);
    if (left > 0) this.#left.set(code.codeDigest, hasSucceeded ? 0 : Math.max(0, left - Math.max(0, overMs)));
  }
}
