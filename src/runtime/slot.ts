import { ThawError, invariant } from '../errors.ts';
import { WASM_PAGE_BYTES } from '../snapshot/manifest.ts';
import type { GlobalState, LiftedExport } from '../wasm/plan.ts';
import { Guest, type Call, type CallMode } from '../wasi/guest.ts';
import type { Host } from '../wasi/host.ts';
import { ResponseOutparam, type IncomingRequest } from '../wasi/http-messages.ts';
import type { CompiledModule } from './code.ts';
import type { ControlMemory } from './control-memory.ts';
import { guestError } from './guest-error.ts';
import { Instance, globalValue, memoryNeeds } from './instance.ts';
import { HostBinder } from './instantiate.ts';
import type { MemoryPool } from './memory-pool.ts';
import { Account } from './meter.ts';
import type { SlotMemory } from './slot-memory.ts';
import type { LoadedSnapshot, RestorableState } from './snapshot.ts';

/**
 * `clean`: in exactly the state of `snapshot`. `busy`: a request runs in it. `dirty`: a request has run; only `turn` makes
 * it clean. `disposed`: its memories are the pool's again.
 */
export type SlotState = 'clean' | 'busy' | 'dirty' | 'disposed';

/** What slots of one thread share. */
export type SlotEnvironment = { readonly host: Host; readonly control: ControlMemory; readonly memories: MemoryPool };

/** What one request has used. `refusedGrows`: how often its guest was refused more memory. */
export type RequestUsage = { readonly cpuMs: number; readonly refusedGrows: number };

/**
 * For start functions of a component that cannot be restored: they run between requests, on a thread that serves others
 * meanwhile. What takes longer should be frozen.
 */
const START_CPU_MS = 1000;

/** The guest's export, as it is, and on a stack that can be set aside. */
type Handler = {
  readonly atOnce: (request: number, outparam: number) => unknown;
  readonly waiting: (request: number, outparam: number) => Promise<unknown>;
};

/**
 * One instance of one code module set, with its memory; holds one snapshot at a time.
 *
 * Invariant: `state` is `clean` exactly when memory, globals, logical sizes and handles equal those of a brand-new
 * instance of `snapshot`.
 */
export class Slot {
  readonly modules: readonly CompiledModule[];
  readonly #environment: SlotEnvironment;
  readonly #guest: Guest;
  readonly #account: Account;
  readonly #record: number;
  readonly #memories: readonly SlotMemory[];
  #snapshot: LoadedSnapshot;
  #state: SlotState = 'dirty';
  #instance: Instance | null = null;
  #handler: Handler | null = null;
  #globalValues: readonly (number | bigint)[] = [];
  #usage: RequestUsage = { cpuMs: 0, refusedGrows: 0 };

  /**
   * Takes memories from the pool; `turn` must follow before it can serve.
   * @throws ThawError OUT_OF_ADDRESS_SPACE, NODE_BUSY
   */
  constructor(snapshot: LoadedSnapshot, modules: readonly CompiledModule[], environment: SlotEnvironment) {
    this.#snapshot = snapshot;
    this.modules = modules;
    this.#environment = environment;
    this.#account = new Account(environment.control.meter);
    this.#guest = new Guest(this.#account);
    this.#record = environment.control.allocate();
    try {
      this.#memories = environment.memories.take(memoryNeeds(snapshot.manifest.plan, modules).map(({ min }) => min));
    } catch (error) {
      environment.control.release(this.#record);
      throw error;
    }
  }

  get state(): SlotState {
    return this.#state;
  }

  /** What the slot holds, or held before it became dirty. */
  get snapshot(): LoadedSnapshot {
    return this.#snapshot;
  }

  /** CPU time that the request in the slot has used until it last waited, in milliseconds. */
  get usedMs(): number {
    return this.#account.usedMs;
  }

  /** Of the last request. */
  get usage(): RequestUsage {
    return this.#usage;
  }

  /** What the clean slot costs the node, in bytes. */
  get residentBytes(): number {
    return this.#memories.reduce((sum, memory) => sum + memory.residentBytes, INSTANCE_BYTES);
  }

  /**
   * Brings the slot to a snapshot of its code: the one that it held (restore) or another (switch).
   * @returns how many 4 KiB pages were copied or dropped; 0 for a fresh instance
   */
  turn(snapshot: LoadedSnapshot): number {
    invariant(this.#state === 'clean' || this.#state === 'dirty', `a slot that is ${this.#state} is not turned`);
    invariant(
      snapshot.manifest.codeDigest === this.#snapshot.manifest.codeDigest,
      'a slot turns to snapshots of its code only',
    );
    const { state } = snapshot;
    const isOther = snapshot !== this.#snapshot;
    this.#state = 'dirty';
    this.#snapshot = snapshot;
    const pages = state.kind === 'restorable' ? this.#restore(state, snapshot.handler, isOther) : this.#renew(snapshot);
    this.#state = 'clean';
    return pages;
  }

  #restore(state: RestorableState, handler: LiftedExport, isOther: boolean): number {
    let pages = 0;
    for (const [index, { image }] of state.images.entries())
      pages += (this.#memories[index] as SlotMemory).restore(image);
    if (this.#instance === null || isOther) this.#globalValues = state.globals.map(globalValue);
    const instance = this.#instance ?? this.#link(handler);
    for (const [index, { image }] of state.images.entries()) {
      instance.setSize(index, { pages: image.pages, limit: image.max ?? MAX_PAGES });
    }
    const globals = instance.liveGlobals;
    for (let index = 0; index < globals.length; index++) {
      (globals[index] as WebAssembly.Global).value = this.#globalValues[index] as number | bigint;
    }
    return pages;
  }

  #renew(snapshot: LoadedSnapshot): number {
    for (const [index, { min }] of memoryNeeds(snapshot.manifest.plan, this.#modulesOf(snapshot)).entries()) {
      (this.#memories[index] as SlotMemory).clear(min);
    }
    this.#link(snapshot.handler);
    return 0;
  }

  /** The slot's code with the shapes of a snapshot: equal code may begin with memories of different sizes. */
  #modulesOf({ manifest }: LoadedSnapshot): CompiledModule[] {
    return this.modules.map(({ module, shape }, index) => ({ module, shape: manifest.code[index]?.shape ?? shape }));
  }

  #link(handler: LiftedExport): Instance {
    const { host, control } = this.#environment;
    const binder = new HostBinder(host, this.#guest);
    const make = (): Instance =>
      new Instance({
        plan: this.#snapshot.manifest.plan,
        modules: this.#modulesOf(this.#snapshot),
        memories: this.#memories.map(({ memory }) => memory),
        control,
        record: this.#record,
        hostImport: (from, linked) => binder.bind(from, linked),
      });
    const instance = this.#started(make);
    this.#instance = instance;
    const exported = instance.exported(handler);
    this.#handler = { atOnce: exported, waiting: WebAssembly.promising(exported) };
    return instance;
  }

  /** Runs start functions within a limit of their own. */
  #started(make: () => Instance): Instance {
    const account = this.#account;
    account.open(START_CPU_MS);
    account.resume();
    try {
      return make();
    } catch (error) {
      account.pause();
      if (!account.wasStopped) throw error;
      throw new ThawError(
        'CPU_TIME_EXCEEDED',
        `the component's start functions were stopped after ${account.usedMs.toFixed(0)} ms; ${START_CPU_MS} ms is the limit`,
        { cause: error },
      );
    } finally {
      account.pause();
    }
  }

  /**
   * Serves one request. Settles when the guest has returned, which may be long after it has answered.
   * @throws ThawError CPU_TIME_EXCEEDED, GUEST_LIMIT, GUEST_TRAP, or what the host threw into the guest
   */
  async serve(call: Call, request: IncomingRequest): Promise<void> {
    const begun = this.#begin(call, 'waiting');
    try {
      limitMemory(begun.instance, call.limits.memoryBytes);
      await this.#run(begun.handler.waiting, request);
      begun.hasSucceeded = true;
    } catch (error) {
      throw this.#failure(error);
    } finally {
      this.#end(begun);
    }
  }

  /**
   * Serves one request on the thread's own stack: V8 makes a stack, and six objects that live until a full collection, for
   * each guest that may wait. The call's `respond` and `stdio` must have no effect that cannot be taken back.
   *
   * @returns false when the guest would have had to wait, or did not get on without what cannot be taken back: it has
   *   served nobody then, and the request must be served by `serve`, after a `turn`
   * @throws ThawError as `serve`
   */
  serveAtOnce(call: Call, request: IncomingRequest): boolean {
    const begun = this.#begin(call, 'at-once');
    try {
      limitMemory(begun.instance, call.limits.memoryBytes);
      this.#run(begun.handler.atOnce, request);
      begun.hasSucceeded = !this.#guest.hasWaited;
      return begun.hasSucceeded;
    } catch (error) {
      const failure = this.#failure(error);
      if (this.#guest.hasWaited) return false;
      throw failure;
    } finally {
      this.#end(begun);
    }
  }

  #begin(call: Call, mode: CallMode): Begun {
    const [instance, handler] = [this.#instance, this.#handler];
    invariant(
      this.#state === 'clean' && instance !== null && handler !== null,
      `a slot that is ${this.#state} does not serve`,
    );
    this.#state = 'busy';
    for (const memory of this.#memories) memory.begin();
    this.#guest.begin(call, mode);
    this.#account.open(call.limits.cpuMs, this.#environment.control.meter.cold.graceMs(this.#snapshot.manifest));
    return { instance, handler, hasSucceeded: false };
  }

  #failure(error: unknown): ThawError {
    this.#account.pause();
    return guestError(error, this.#account, this.#account.wasStopped);
  }

  #end({ instance, hasSucceeded }: Begun): void {
    const account = this.#account;
    this.#state = 'dirty';
    account.pause();
    const { cold } = this.#environment.control.meter;
    cold.ended(this.#snapshot.manifest, account.usedMs - account.limitMs, hasSucceeded);
    this.#usage = { cpuMs: account.usedMs, refusedGrows: instance.refusedGrows };
    this.#guest.end();
  }

  /** Whether the last request had to wait, or did what cannot be taken back. */
  get hasWaited(): boolean {
    return this.#guest.hasWaited;
  }

  /** The first segment of a request ends here, the others where the guest suspends or the promise settles. */
  #run<Returned>(handler: (request: number, outparam: number) => Returned, request: IncomingRequest): Returned {
    const { handles, clock } = this.#guest;
    const [incoming, outparam] = [handles.add(request), handles.add(new ResponseOutparam())];
    clock.resume();
    try {
      return handler(incoming, outparam);
    } finally {
      clock.pause();
    }
  }

  /** Stops the guest at its next host call, or now if it waits in one. */
  abort(reason: ThawError): void {
    this.#guest.abort(reason);
  }

  /** Gives the memories back to the pool. */
  dispose(): void {
    invariant(this.#state !== 'busy' && this.#state !== 'disposed', `a slot that is ${this.#state} is not disposed of`);
    this.#state = 'disposed';
    this.#instance = null;
    this.#handler = null;
    this.#environment.memories.giveBack(this.#memories);
    this.#environment.control.release(this.#record);
  }

  /** Logical memory contents and globals: what the oracle compares. */
  observe(): { readonly memories: readonly Buffer[]; readonly globals: readonly GlobalState[] } {
    const instance = this.#instance;
    invariant(instance !== null, 'a slot that was turned has an instance');
    const memories = this.#memories.map(({ bytes }, index) =>
      bytes.subarray(0, instance.size(index).pages * WASM_PAGE_BYTES),
    );
    return { memories, globals: instance.globals() };
  }
}

/** A request that is being served. */
type Begun = { readonly instance: Instance; readonly handler: Handler; hasSucceeded: boolean };

/**
 * What an instance costs beside its memory: tables, imports, V8's structures. Measured as the growth of the resident set
 * over 40 StarlingMonkey slots: 768 KiB each, of which the delta's private pages are 284.
 */
const INSTANCE_BYTES = 512 * 1024;

/** 2^16 pages of 64 KiB. */
const MAX_PAGES = 65_536;

/** @throws ThawError GUEST_LIMIT when the instance begins with more than it may have */
function limitMemory(instance: Instance, bytes: number): void {
  const limit = Math.min(Math.floor(bytes / WASM_PAGE_BYTES), MAX_PAGES);
  const pages = instance.limitPages(limit);
  if (pages <= limit) return;
  throw new ThawError(
    'GUEST_LIMIT',
    `the component begins with ${pages} pages of 64 KiB of memory, over limits.memory, ${limit} pages`,
  );
}
