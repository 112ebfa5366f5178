import { monotonicClock, wallClock } from '../../src/wasi/clocks.ts';
import type { Host, HostInterface } from '../../src/wasi/host.ts';
import { createHost } from '../../src/wasi/index.ts';
import { Pollable, type Waitable } from '../../src/wasi/io.ts';
import { randomInterfaces } from '../../src/wasi/random.ts';

/** A look at the clock takes this long, so that time never stands still. */
const NS_PER_LOOK = 1000n;
const NS_PER_MS = 1_000_000n;
const NS_PER_SECOND = 1_000_000_000n;
/** 2026-01-01. */
const EPOCH_SECONDS = 1_767_225_600n;

/** Knuth's 64-bit linear congruential generator. */
const MULTIPLIER = 6_364_136_223_846_793_005n;
const INCREMENT = 1_442_695_040_888_963_407n;

/**
 * A host whose clocks and random numbers depend on nothing but what guests have asked since `reset`: two guests in the
 * same state that serve the same request end in the same state. Waiting for a timer moves time to where it fires.
 */
export class World {
  readonly host: Host;
  readonly #timers = new Set<VirtualTimer>();
  #now = 0n;
  #random = 0n;

  constructor() {
    this.host = createHost([this.#monotonicClock(), this.#wallClock(), ...this.#randomness()]);
  }

  /** Begins anew. No guest may be in the middle of a request. */
  reset(): void {
    this.#now = 0n;
    this.#random = 0n;
  }

  /** Pollables of timers that guests hold. */
  get timers(): number {
    return this.#timers.size;
  }

  get now(): bigint {
    return this.#now;
  }

  look(): bigint {
    this.#now += NS_PER_LOOK;
    return this.#now;
  }

  /** Moves time to where the earliest of the timers that guests wait for fires. */
  skip(): void {
    const waiting = [...this.#timers].filter((timer) => timer.isWaiting);
    const earliest = waiting.toSorted((a, b) => Number(a.deadline - b.deadline))[0];
    if (earliest === undefined) return;
    if (earliest.deadline > this.#now) this.#now = earliest.deadline;
    for (const timer of waiting) timer.fireIfDue();
  }

  #timer(deadline: bigint): Pollable {
    const timer = new VirtualTimer(this, deadline, () => this.#timers.delete(timer));
    this.#timers.add(timer);
    return new Pollable(timer);
  }

  #monotonicClock(): HostInterface {
    return {
      ...monotonicClock,
      funcs: {
        now: () => this.look(),
        resolution: () => NS_PER_LOOK,
        'subscribe-instant': (_, when: bigint) => this.#timer(when),
        'subscribe-duration': (_, when: bigint) => this.#timer(this.#now + when),
      },
    };
  }

  #wallClock(): HostInterface {
    const now = (): unknown => {
      const ms = this.look() / NS_PER_MS;
      const seconds = (ms * NS_PER_MS) / NS_PER_SECOND;
      return { seconds: EPOCH_SECONDS + seconds, nanoseconds: Number((ms * NS_PER_MS) % NS_PER_SECOND) };
    };
    return { ...wallClock, funcs: { ...wallClock.funcs, now } };
  }

  #randomness(): HostInterface[] {
    const u64 = (): bigint => {
      this.#random = BigInt.asUintN(64, this.#random * MULTIPLIER + INCREMENT);
      return this.#random;
    };
    const bytes = (_: unknown, length: bigint): Uint8Array =>
      Uint8Array.from({ length: Number(length) }, () => Number(u64() >> 56n));
    const funcs = {
      'get-random-bytes': bytes,
      'get-random-u64': u64,
      'get-insecure-random-bytes': bytes,
      'get-insecure-random-u64': u64,
      'insecure-seed': () => [u64(), u64()],
    };
    return randomInterfaces.map((own) => ({
      ...own,
      funcs: Object.fromEntries(Object.entries(funcs).filter(([name]) => name in own.funcs)),
    }));
  }
}

class VirtualTimer implements Waitable {
  readonly deadline: bigint;
  readonly #world: World;
  readonly #onRelease: () => void;
  #wake: (() => void) | null = null;

  constructor(world: World, deadline: bigint, onRelease: () => void) {
    this.#world = world;
    this.deadline = deadline;
    this.#onRelease = onRelease;
  }

  get isWaiting(): boolean {
    return this.#wake !== null;
  }

  ready(): boolean {
    return this.#world.now >= this.deadline;
  }

  /** Time moves once nothing else can: a guest that waits has let go of the thread. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setImmediate(() => this.#world.skip());
    });
  }

  fireIfDue(): void {
    if (!this.ready()) return;
    this.#wake?.();
    this.#wake = null;
  }

  release(): void {
    this.#wake = null;
    this.#onRelease();
  }
}
