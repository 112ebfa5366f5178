import process from 'node:process';
import type { HostInterface } from './host.ts';
import { Pollable, type Waitable } from './io.ts';

/** wasi:clocks@0.2. Source: WASI proposals, wasi-clocks. */

const NS_PER_MS = 1_000_000n;
/** setTimeout's longest delay, 2^31 - 1 ms; a longer wait is made of several. */
const MAX_TIMEOUT_MS = 2_147_483_647n;

class Timer implements Waitable {
  readonly #deadline: bigint;
  #timeout: NodeJS.Timeout | undefined;

  /** @param deadline on the monotonic clock, in nanoseconds */
  constructor(deadline: bigint) {
    this.#deadline = deadline;
  }

  ready(): boolean {
    return process.hrtime.bigint() >= this.#deadline;
  }

  /** Rounded up to whole milliseconds, so that the timer has passed when it fires. */
  wait(): Promise<void> {
    const left = this.#deadline - process.hrtime.bigint();
    const ms = (left + NS_PER_MS - 1n) / NS_PER_MS;
    const delay = ms < 0n ? 0n : ms > MAX_TIMEOUT_MS ? MAX_TIMEOUT_MS : ms;
    return new Promise((resolve) => {
      this.#timeout = setTimeout(resolve, Number(delay));
    });
  }

  release(): void {
    clearTimeout(this.#timeout);
  }
}

export const monotonicClock: HostInterface = {
  name: 'wasi:clocks/monotonic-clock',
  wit: `
    use wasi:io/poll.{pollable};
    type instant = u64;
    type duration = u64;
    now: func() -> instant;
    resolution: func() -> duration;
    subscribe-instant: func(when: instant) -> pollable;
    subscribe-duration: func(when: duration) -> pollable;`,
  funcs: {
    now: () => process.hrtime.bigint(),
    resolution: () => 1n,
    'subscribe-instant': (_, when: bigint) => new Pollable(new Timer(when)),
    'subscribe-duration': (_, when: bigint) => new Pollable(new Timer(process.hrtime.bigint() + when)),
  },
};

export const wallClock: HostInterface = {
  name: 'wasi:clocks/wall-clock',
  wit: `
    record datetime { seconds: u64, nanoseconds: u32 }
    now: func() -> datetime;
    resolution: func() -> datetime;`,
  funcs: {
    now: () => {
      const ms = Date.now();
      return { seconds: BigInt(Math.floor(ms / 1000)), nanoseconds: (ms % 1000) * 1_000_000 };
    },
    resolution: () => ({ seconds: 0n, nanoseconds: 1_000_000 }),
  },
};
