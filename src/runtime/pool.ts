import { LRUCache } from 'lru-cache';
import { ThawError, invariant, type ErrorCode } from '../errors.ts';
import type { StartKind, StartTimer } from '../metrics/phases.ts';
import type { Digest } from '../wasm/plan.ts';
import type { CodeCache, CompiledModule } from './code.ts';
import { Slot, type SlotEnvironment } from './slot.ts';
import type { LoadedSnapshot } from './snapshot.ts';

export type PoolLimits = {
  /** Slots at a time, busy and idle. */
  readonly slots: number;
  /** Resident memory that idle slots may keep, in bytes. */
  readonly memoryBytes: number;
  /** Whether more than one snapshot is served: none of them may then take every slot. */
  readonly isShared: boolean;
};

/** A clean slot, and how it came to be clean. */
export type Acquired = { readonly slot: Slot; readonly kind: StartKind };

/**
 * A snapshot that lost its last clean slot to another and is wanted again within this time gets a slot of its own, while
 * there is room: two routes in turn would else throw each other out at every request.
 */
const ROBBED_MS = 10_000;
const MAX_ROBBED = 1024;

/**
 * A snapshot may hold so many times as many busy slots as are not busy. One whose requests all wait for something slow
 * so gets three quarters of the slots, two of them three sevenths each: there is always one left for somebody else.
 * Source: dynamic thresholds, Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998.
 */
const SHARE = 3;

/** What a new slot fails with when there can be no more of them: no address space, or no control record. */
const FULL: ReadonlySet<ErrorCode> = new Set(['OUT_OF_ADDRESS_SPACE', 'NODE_BUSY']);

type Waiter = { readonly snapshot: LoadedSnapshot; readonly wake: () => void };

/**
 * The slots of one thread: clean ones by route, least recently used first out.
 *
 * Invariants: `#idle` holds clean slots only, and no entry without one; `#total` counts them and the busy ones, and is
 * never more than `limits.slots`. Nobody waits who may have a slot: whatever makes one free, or a share larger, wakes the
 * first waiter that may.
 */
export class SlotPool {
  readonly #limits: PoolLimits;
  readonly #environment: SlotEnvironment;
  readonly #code: CodeCache;
  /** By snapshot: routes that share a snapshot share its slots. Order of use is the cache's. */
  readonly #idle: LRUCache<Digest, Slot[]>;
  readonly #waiters: Waiter[] = [];
  /** Busy slots by snapshot. */
  readonly #busy = new Map<Digest, number>();
  #busyTotal = 0;
  #total = 0;
  #idleBytes = 0;
  /** Lowered when the address space turns out to hold fewer. */
  #maxSlots: number;
  /** Snapshots whose last clean slot was turned to another, with the time. See {@link ROBBED_MS}. */
  readonly #robbed = new LRUCache<Digest, true>({ max: MAX_ROBBED, ttl: ROBBED_MS });

  constructor(limits: PoolLimits, environment: SlotEnvironment, code: CodeCache) {
    this.#limits = limits;
    this.#environment = environment;
    this.#code = code;
    this.#maxSlots = limits.slots;
    this.#idle = new LRUCache({ max: limits.slots });
  }

  /** Slots that hold a snapshot: clean ones waiting for a request. */
  cleanSlots(digest: Digest): number {
    return this.#idle.peek(digest)?.length ?? 0;
  }

  get slots(): { readonly total: number; readonly idle: number; readonly waiting: number } {
    let idle = 0;
    for (const slots of this.#idle.values()) idle += slots.length;
    return { total: this.#total, idle, waiting: this.#waiters.length };
  }

  /**
   * A clean slot of the snapshot: a waiting one, one of the same code turned, or a new one. Waits when all are busy.
   * Marks the phases that happen on the timer.
   *
   * @param deadline resolves when waiting is no use any more
   * @throws ThawError NODE_BUSY at the deadline; STORE_* when code cannot be loaded
   */
  async acquire(snapshot: LoadedSnapshot, timer: StartTimer, deadline: Promise<void>): Promise<Acquired> {
    const hot = this.#mayHold(snapshot.digest) ? this.#takeIdle(snapshot.digest, true) : null;
    timer.mark('acquire');
    if (hot !== null) return this.#held({ slot: hot, kind: 'hot' });
    const compiled = this.#code.peek(snapshot.manifest);
    const modules = compiled ?? (await this.#load(snapshot, deadline));
    if (compiled === null) timer.mark('compile');
    for (let hasWaited = false; ; hasWaited = true) {
      const acquired = this.#takeOrPassOn(snapshot, modules, timer);
      if (acquired !== null)
        return this.#held(
          compiled === null && acquired.kind === 'instantiate' ? { ...acquired, kind: 'load' } : acquired,
        );
      await this.#wait(snapshot, deadline, hasWaited);
      timer.mark('acquire');
    }
  }

  /** Compiling goes on after the deadline, for the next request. */
  async #load({ digest, manifest }: LoadedSnapshot, deadline: Promise<void>): Promise<readonly CompiledModule[]> {
    const modules = await Promise.race([this.#code.load(manifest), deadline]);
    if (modules !== undefined) return modules;
    throw new ThawError('NODE_BUSY', `the code of snapshot ${digest.slice(0, 12)} was not compiled in time`);
  }

  /** Whether the snapshot may have another slot, if there is one. */
  #mayHold(digest: Digest): boolean {
    const free = this.#maxSlots - this.#busyTotal;
    return this.#limits.isShared ? (this.#busy.get(digest) ?? 0) < SHARE * free : free > 0;
  }

  #held(acquired: Acquired): Acquired {
    const { digest } = acquired.slot.snapshot;
    this.#busy.set(digest, (this.#busy.get(digest) ?? 0) + 1);
    this.#busyTotal++;
    // One release may make the shares of several larger.
    this.#wakeNext();
    return acquired;
  }

  #returned({ digest }: LoadedSnapshot): void {
    const left = (this.#busy.get(digest) ?? 0) - 1;
    invariant(left >= 0, 'a slot that is released was held');
    if (left === 0) this.#busy.delete(digest);
    else this.#busy.set(digest, left);
    this.#busyTotal--;
  }

  /** As `#take`; a request that fails wakes the next in the queue, for it may have been woken for the slot it leaves. */
  #takeOrPassOn(snapshot: LoadedSnapshot, modules: readonly CompiledModule[], timer: StartTimer): Acquired | null {
    try {
      return this.#take(snapshot, modules, timer);
    } catch (error) {
      this.#wakeNext();
      throw error;
    }
  }

  /** What can be had without waiting, or null. */
  #take(snapshot: LoadedSnapshot, modules: readonly CompiledModule[], timer: StartTimer): Acquired | null {
    if (!this.#mayHold(snapshot.digest)) return null;
    const hot = this.#takeIdle(snapshot.digest, true);
    if (hot !== null) return { slot: hot, kind: 'hot' };
    const hasRoom = this.#total < this.#maxSlots;
    if (!(hasRoom && this.#robbed.has(snapshot.digest))) {
      const related = this.#takeRelated(snapshot);
      if (related !== null) return this.#turned(related, snapshot, timer);
    }
    if (!hasRoom && !this.#evictOne()) return null;
    return this.#create(snapshot, modules, timer);
  }

  #turned(slot: Slot, snapshot: LoadedSnapshot, timer: StartTimer): Acquired {
    this.#guarded(slot, () => slot.turn(snapshot));
    timer.mark('restore');
    return { slot, kind: 'switch' };
  }

  #create(snapshot: LoadedSnapshot, modules: readonly CompiledModule[], timer: StartTimer): Acquired | null {
    let slot: Slot;
    try {
      slot = new Slot(snapshot, modules, this.#environment);
    } catch (error) {
      const isFull = error instanceof ThawError && FULL.has(error.code);
      if (!isFull || this.#total === 0) throw error;
      // The slots that there are must do; V8 is not asked again, since it collects garbage before it says no.
      this.#maxSlots = this.#total;
      return this.#take(snapshot, modules, timer);
    }
    this.#total++;
    this.#guarded(slot, () => slot.turn(snapshot));
    timer.mark('instantiate');
    return { slot, kind: 'instantiate' };
  }

  /** A slot that fails to become clean is not kept. */
  #guarded(slot: Slot, turn: () => void): void {
    try {
      turn();
    } catch (error) {
      this.#dispose(slot);
      throw error;
    }
  }

  /**
   * Takes a slot back after its request, brings it to its snapshot again and gives it to whoever waits. Restoring happens
   * here, after the response, and not before the next request.
   */
  release(slot: Slot): void {
    invariant(slot.state === 'dirty', 'a slot is released after its request');
    this.#returned(slot.snapshot);
    try {
      slot.turn(slot.snapshot);
      this.#putIdle(slot);
    } catch (error) {
      this.#dispose(slot);
      throw error;
    } finally {
      this.#wakeNext();
    }
  }

  /** Wakes the first waiter that may have a slot. */
  #wakeNext(): void {
    const next = this.#waiters.findIndex(({ snapshot }) => this.#mayHold(snapshot.digest));
    if (next >= 0) this.#waiters.splice(next, 1)[0]?.wake();
  }

  /** Disposes of all idle slots. */
  clear(): void {
    while (this.#evictOne());
  }

  /** Takes a slot away from a snapshot, for itself or for another: only the first is a use that the cache remembers. */
  #takeIdle(digest: Digest, isUse: boolean): Slot | null {
    const slots = isUse ? this.#idle.get(digest) : this.#idle.peek(digest);
    const slot = slots?.pop();
    if (slots === undefined || slot === undefined) return null;
    if (slots.length === 0) this.#idle.delete(digest);
    this.#idleBytes -= slot.residentBytes;
    return slot;
  }

  /** The least recently used idle slot of the same code. */
  #takeRelated({ manifest }: LoadedSnapshot): Slot | null {
    for (const digest of this.#idle.rkeys()) {
      const slots = this.#idle.peek(digest) ?? [];
      if (slots[0]?.snapshot.manifest.codeDigest !== manifest.codeDigest) continue;
      if (slots.length === 1) this.#robbed.set(digest, true);
      return this.#takeIdle(digest, false);
    }
    return null;
  }

  #putIdle(slot: Slot): void {
    const { digest } = slot.snapshot;
    const slots = this.#idle.get(digest) ?? [];
    slots.push(slot);
    this.#idle.set(digest, slots);
    this.#idleBytes += slot.residentBytes;
    while (this.#idleBytes > this.#limits.memoryBytes && this.#evictOne());
  }

  /** Disposes of one slot of the least recently used route. @returns false when none is idle */
  #evictOne(): boolean {
    for (const digest of this.#idle.rkeys()) {
      const slot = this.#takeIdle(digest, false);
      invariant(slot !== null, 'an idle entry has a slot');
      this.#dispose(slot);
      return true;
    }
    return false;
  }

  #dispose(slot: Slot): void {
    slot.dispose();
    this.#total--;
  }

  /** Waits for a release. A request that was woken in vain keeps its place: at the head. */
  async #wait(snapshot: LoadedSnapshot, deadline: Promise<void>, hasWaited: boolean): Promise<void> {
    const { promise: woken, resolve } = Promise.withResolvers<true>();
    const waiter: Waiter = { snapshot, wake: () => resolve(true) };
    if (hasWaited) this.#waiters.unshift(waiter);
    else this.#waiters.push(waiter);
    if ((await Promise.race([woken, deadline])) === true) return;
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
    // Woken at the very deadline: the slot that it was woken for is the next one's.
    else this.#wakeNext();
    throw this.#busyError(snapshot);
  }

  #busyError({ digest }: LoadedSnapshot): ThawError {
    const [busy, slots] = [this.#busy.get(digest) ?? 0, this.#maxSlots];
    const why = this.#busyTotal < slots ? `of ${slots} its snapshot has ${busy}, its share` : `all ${slots} are busy`;
    return new ThawError('NODE_BUSY', `no slot became free in time: ${why} (pool.slots)`);
  }
}
