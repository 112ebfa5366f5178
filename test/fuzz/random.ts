/** A generator of pseudo-random numbers whose whole run follows from its seed: splitmix32, by Sebastiano Vigna's method. */
export class Random {
  #state: number;

  /** The generator of item `index` of a run, so that one item can be made again without those before it. */
  constructor(seed: number, index = 0) {
    this.#state = (Math.imul(seed, 0x9e37_79b1) ^ Math.imul(index, 0x85eb_ca6b)) | 0;
  }

  /** A whole number of 32 bits. */
  u32(): number {
    this.#state = (this.#state + 0x9e37_79b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0_aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** A whole number from 0 up to `limit`, which is excluded. 0 when there is none. */
  below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor((this.u32() / 2 ** 32) * limit);
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}
