import { ThawError, invariant } from '../errors.ts';
import { Allowance } from './allowance.ts';
import type { FutureIncomingResponse, OutgoingExchange } from './http-outgoing.ts';
import type { ErrorCode } from './http-error.ts';
import type { ResponseOutcome } from './http-types.ts';
import type { Result } from './values.ts';
import { HandleTable } from './handles.ts';

/**
 * Resources that one request may hold at a time. Each is a host object of some 100 bytes, so a guest that leaks them all
 * costs the node some 10 MiB until its request ends.
 */
const MAX_RESOURCES = 100_000;

/**
 * Handles to them, of 8 bytes each. More, since StarlingMonkey subscribes to a stream before every read and drops none of
 * the handles: a body of 1 GiB leaves 130,000 handles to one pollable behind.
 */
const MAX_HANDLES = 2_000_000;

/** What one request may use. */
export type RequestLimits = {
  /** Milliseconds in which the guest runs. */
  readonly cpuMs: number;
  /** All linear memories together. */
  readonly memoryBytes: number;
};

/** What host functions need of the request that the guest is serving. */
export interface Call {
  readonly limits: RequestLimits;
  /** Environment variables that the route grants. */
  readonly env: readonly (readonly [string, string])[];
  /** `response-outparam.set`. */
  respond(outcome: ResponseOutcome): void;
  /** `outgoing-handler.handle`: refusals are immediate, failures are in the future. */
  fetch(exchange: OutgoingExchange): Result<FutureIncomingResponse, ErrorCode>;
  /** Bytes that the guest wrote to stdout or stderr. Copied before return. */
  stdio(stream: 'stdout' | 'stderr', bytes: Uint8Array): void;
  /** What the guest has waited for is there. Calls `goOn` when the guest may run again; it does so in the microtasks after. */
  resume(goOn: () => void): void;
}

/** What counts the time in which a guest runs, and says when it is over. */
export interface GuestClock {
  /** The guest runs from now on. */
  resume(): void;
  /** The guest no longer runs, if it did. */
  pause(): void;
  /** Whether the guest, which runs, is to stop. */
  readonly isOver: boolean;
  /** Milliseconds: of CPU time that a request may use, and that it has used up to the last pause. */
  readonly limitMs: number;
  readonly usedMs: number;
}

/** For guests that nobody counts. */
const NO_CLOCK: GuestClock = { resume() {}, pause() {}, isOver: false, limitMs: Infinity, usedMs: 0 };

/**
 * How a request is run. `waiting`: on a stack of its own, which can be set aside. `at-once`: on the thread's own stack,
 * which is cheaper; a guest that would have to wait, or do what cannot be taken back, is stopped with {@link MustWait} and
 * runs anew.
 */
export type CallMode = 'waiting' | 'at-once';

/** Ends a guest that runs at once and cannot. Not an error of anybody's: never shown, never logged. */
class MustWait extends Error {}

/**
 * The host's side of one component instance: its handles and the request that it is serving.
 *
 * Invariant: between `end` and the next `begin` the handle table is empty and no call is set.
 */
export class Guest {
  readonly handles = new HandleTable(MAX_RESOURCES, MAX_HANDLES);
  readonly clock: GuestClock;
  #call: Call | null = null;
  #mode: CallMode = 'waiting';
  #hasWaited = false;
  /** Made for the first that is kept. */
  #allowance: Allowance | null = null;
  #aborted: Error | null = null;
  #rejectSuspended: ((reason: ThawError) => void) | null = null;

  constructor(clock: GuestClock = NO_CLOCK) {
    this.clock = clock;
  }

  /** The request being served. Host functions run only while there is one. */
  get call(): Call {
    if (this.#call === null) throw new ThawError('GUEST_TRAP', 'the guest called its host after its request had ended');
    return this.#call;
  }

  /** Of the request being served: each has its own. */
  get allowance(): Allowance {
    return (this.#allowance ??= new Allowance());
  }

  begin(call: Call, mode: CallMode = 'waiting'): void {
    invariant(this.#call === null && this.handles.size === 0, 'a guest begins a request with nothing left of another');
    this.#call = call;
    this.#mode = mode;
    this.#hasWaited = false;
    this.#aborted = null;
  }

  /**
   * Whether the request, or the last one, has had to wait or did something that cannot be taken back. One that ran at once
   * has then served nobody.
   */
  get hasWaited(): boolean {
    return this.#hasWaited;
  }

  /** Called before what cannot be taken back, and before waiting: one that runs at once ends here. */
  commit(): void {
    this.#hasWaited = true;
    if (this.#mode === 'waiting') return;
    // A guest that catches it meets it again at its next host call.
    this.#aborted ??= new MustWait('a guest that runs at once would have to wait');
    throw this.#aborted;
  }

  /** Forgets the request and everything that the guest held. */
  end(): void {
    this.#call = null;
    this.#rejectSuspended = null;
    this.#allowance = null;
    this.handles.reset();
  }

  /**
   * Stops the guest at its next host call, or now when it is suspended in one. A guest that catches the error meets it
   * again at the call after.
   */
  abort(reason: ThawError): void {
    if (this.#call === null || this.#aborted !== null) return;
    this.#aborted = reason;
    const reject = this.#rejectSuspended;
    this.#rejectSuspended = null;
    reject?.(reason);
  }

  /** Throws the reason when the request was aborted or its time is over. Every host call begins with this. */
  checkAborted(): void {
    if (this.#aborted !== null) throw this.#aborted;
    if (this.clock.isOver) throw new CpuTimeExceeded(this.clock);
  }

  /**
   * Waits for `work` on behalf of the suspended guest, and then until it may run again; rejects at once when the request is
   * aborted meanwhile.
   */
  suspend(work: Promise<unknown>): Promise<void> {
    this.checkAborted();
    invariant(this.#mode === 'waiting', 'a guest that runs at once is stopped before it waits');
    const { call } = this;
    return new Promise((resolve, reject) => {
      this.#rejectSuspended = reject;
      // Work that outlives its abort may settle while the guest is suspended again, in another request even.
      const goOn = (settle: () => void): void => {
        if (this.#rejectSuspended !== reject) return;
        this.#rejectSuspended = null;
        settle();
      };
      const settled = (settle: () => void): void => {
        if (this.#rejectSuspended === reject) call.resume(() => goOn(settle));
      };
      work.then(
        () => settled(resolve),
        (error: unknown) => settled(() => reject(error)),
      );
    });
  }
}

/** The end of a guest whose CPU time was over. */
export class CpuTimeExceeded extends ThawError {
  readonly limitMs: number;
  readonly usedMs: number;

  constructor({ limitMs, usedMs }: GuestClock, options?: ErrorOptions) {
    const used = usedMs.toFixed(1);
    super('CPU_TIME_EXCEEDED', `the request used ${used} ms of CPU time, over limits.cpu, ${limitMs} ms`, options);
    this.limitMs = limitMs;
    this.usedMs = usedMs;
  }
}
