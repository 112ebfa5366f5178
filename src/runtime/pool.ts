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

/** The slots of one snapshot: those that are clean, and how many are busy. */
type Holding = { readonly idle: Slot[]; busy: number };

/** What a new slot fails with when there can be no more of them: no address space, or no control record. */
const FULL: ReadonlySet<ErrorCode> = new Set(['OUT_OF_ADDRESS_SPACE', 'NODE_BUSY']);

type Waiter = { readonly snapshot: LoadedSnapshot; readonly wake: () => void };

/**
 * The slots of one thread: clean ones by route, least recently used first out.
 *
 * Invariants: `#holdings` has an entry for exactly those snapshots that have a slot, clean or busy; `#total` counts the
 * slots, and is never more than `limits.slots`. Nobody waits who may have a slot: whatever makes one free, or a share
 * larger, wakes the first waiter that may.
 */
export class SlotPool {
  readonly #limits: PoolLimits;
  readonly #environment: SlotEnvironment;
  readonly #code: CodeCache;
  /** By snapshot: routes that share a snapshot share its slots. Order of use is the cache's. */
  readonly #holdings: LRUCache<Digest, Holding>;
  readonly #waiters: Waiter[] = [];
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
    this.#holdings = new LRUCache({ max: limits.slots });
  }

  /** Slots that hold a snapshot: clean ones waiting for a request. */
  cleanSlots(digest: Digest): number {
    return this.#holdings.peek(digest)?.idle.length ?? 0;
  }

  get slots(): { readonly total: number; readonly idle: number; readonly waiting: number } {
    return { total: this.#total, idle: this.#total - this.#busyTotal, waiting: this.#waiters.length };
  }

  /**
   * A clean slot of the snapshot: a waiting one, one of the same code turned, or a new one. At once where that can be;
   * else code is compiled first, or a slot waited for. Marks the phases that happen on the timer.
   *
   * @param deadline gives what resolves when waiting is no use any more; asked only when there is a wait
   * @throws ThawError NODE_BUSY at the deadline; STORE_* when code cannot be loaded; or rejects with it
   */
  acquire(snapshot: LoadedSnapshot, timer: StartTimer, deadline: () => Promise<void>): Acquired | Promise<Acquired> {
    const hot = this.#takeHot(snapshot.digest);
    timer.mark('acquire');
    if (hot !== null) return this.#held(hot);
    const compiled = this.#code.peek(snapshot.manifest);
    if (compiled === null) return this.#acquireLoaded(snapshot, timer, deadline());
    const acquired = this.#takeOrPassOn(snapshot, compiled, timer);
    return acquired === null ? this.#acquireLater(snapshot, compiled, timer, deadline()) : this.#held(acquired);
  }

  async #acquireLoaded(snapshot: LoadedSnapshot, timer: StartTimer, deadline: Promise<void>): Promise<Acquired> {
    const modules = await this.#load(snapshot, deadline);
    timer.mark('compile');
    const acquired = this.#takeOrPassOn(snapshot, modules, timer);
    if (acquired === null) return asLoad(await this.#acquireLater(snapshot, modules, timer, deadline));
    return asLoad(this.#held(acquired));
  }

  async #acquireLater(
    snapshot: LoadedSnapshot,
    modules: readonly CompiledModule[],
    timer: StartTimer,
    deadline: Promise<void>,
  ): Promise<Acquired> {
    for (let hasWaited = false; ; hasWaited = true) {
      await this.#wait(snapshot, deadline, hasWaited);
      timer.mark('acquire');
      const acquired = this.#takeOrPassOn(snapshot, modules, timer);
      if (acquired !== null) return this.#held(acquired);
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
    return this.#limits.isShared ? (this.#holdings.peek(digest)?.busy ?? 0) < SHARE * free : free > 0;
  }

  #held(acquired: Acquired): Acquired {
    this.#holdingOf(acquired.slot.snapshot.digest).busy++;
    this.#busyTotal++;
    // One release may make the shares of several larger.
    this.#wakeNext();
    return acquired;
  }

  /** The slots of a snapshot that is about to have one. */
  #holdingOf(digest: Digest): Holding {
    let holding = this.#holdings.get(digest);
    if (holding === undefined) {
      holding = { idle: [], busy: 0 };
      this.#holdings.set(digest, holding);
    }
    return holding;
  }

  #forgetEmpty(digest: Digest, { idle, busy }: Holding): void {
    if (idle.length === 0 && busy === 0) this.#holdings.delete(digest);
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
    const hot = this.#takeHot(snapshot.digest);
    if (hot !== null) return hot;
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
    const { digest } = slot.snapshot;
    const holding = this.#holdings.get(digest);
    invariant(holding !== undefined && holding.busy > 0, 'a slot that is released was held');
    holding.busy--;
    this.#busyTotal--;
    try {
      slot.turn(slot.snapshot);
      holding.idle.push(slot);
      this.#idleBytes += slot.residentBytes;
      while (this.#idleBytes > this.#limits.memoryBytes && this.#evictOne());
    } catch (error) {
      this.#dispose(slot);
      this.#forgetEmpty(digest, holding);
      throw error;
    } finally {
      this.#wakeNext();
    }
  }

  /** Wakes the first waiter that may have a slot. */
  #wakeNext(): void {
    if (this.#waiters.length === 0) return;
    const next = this.#waiters.findIndex(({ snapshot }) => this.#mayHold(snapshot.digest));
    if (next >= 0) this.#waiters.splice(next, 1)[0]?.wake();
  }

  /** Disposes of all idle slots. */
  clear(): void {
    while (this.#evictOne());
  }

  /** A clean slot of the snapshot, to be held: the snapshot is used. */
  #takeHot(digest: Digest): Acquired | null {
    if (!this.#mayHold(digest)) return null;
    const slot = this.#holdings.get(digest)?.idle.pop();
    if (slot === undefined) return null;
    this.#idleBytes -= slot.residentBytes;
    return { slot, kind: 'hot' };
  }

  /** The least recently used idle slot of the same code. */
  #takeRelated({ manifest }: LoadedSnapshot): Slot | null {
    return this.#takeFromOthers(({ snapshot }) => snapshot.manifest.codeDigest === manifest.codeDigest, true);
  }

  /** Takes the slot away from the least recently used snapshot whose slots will do. @param isRobbed it will want it again */
  #takeFromOthers(willDo: (slot: Slot) => boolean, isRobbed: boolean): Slot | null {
    for (const digest of this.#holdings.rkeys()) {
      const holding = this.#holdings.peek(digest) as Holding;
      const slot = holding.idle.at(-1);
      if (slot === undefined || !willDo(slot)) continue;
      holding.idle.pop();
      if (isRobbed && holding.idle.length === 0) this.#robbed.set(digest, true);
      this.#forgetEmpty(digest, holding);
      this.#idleBytes -= slot.residentBytes;
      return slot;
    }
    return null;
  }

  /** Disposes of one slot of the least recently used route. @returns false when none is idle */
  #evictOne(): boolean {
    const slot = this.#takeFromOthers(() => true, false);
    if (slot === null) return false;
    this.#dispose(slot);
    return true;
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
    const [busy, slots] = [this.#holdings.peek(digest)?.busy ?? 0, this.#maxSlots];
    const why = this.#busyTotal < slots ? `of ${slots} its snapshot has ${busy}, its share` : `all ${slots} are busy`;
    return new ThawError('NODE_BUSY', `no slot became free in time: ${why} (pool.slots)`);
  }
}

/** Of a request that had its code compiled: a new slot is one of another kind then. */
const asLoad = (acquired: Acquired): Acquired =>
  acquired.kind === 'instantiate' ? { ...acquired, kind: 'load' } : acquired;
