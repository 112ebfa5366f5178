import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { RouteConfig } from '../config/schema.ts';
import { ThawError, messageOf } from '../errors.ts';
import type { GuestLine } from '../log.ts';
import type { StartupHistograms } from '../metrics/histograms.ts';
import type { StartTimer } from '../metrics/phases.ts';
import type { RouteCounters } from '../metrics/route-counters.ts';
import type { Acquired, SlotPool } from '../runtime/pool.ts';
import type { Slot } from '../runtime/slot.ts';
import type { LoadedSnapshot } from '../runtime/snapshot.ts';
import { CpuTimeExceeded } from '../wasi/guest.ts';
import type { Target } from './admission.ts';
import { CpuCurb, type Leave } from './cpu-curb.ts';
import type { Cutoff } from './cutoff.ts';
import type { Departures } from './departures.ts';
import { Exchange } from './exchange.ts';
import { RETRY_AFTER, logLevelOf, logText, publicText } from './failures.ts';
import type { Outbound } from './outbound.ts';
import { hasBody } from './request-body.ts';
import type { ResponseWriter } from './response-writer.ts';
import type { Found } from './router.ts';
import { TURN_MS, Turns } from './turns.ts';

/** A route as it is served. */
export type ServedRoute = RouteConfig & {
  /** Of its counter. */
  readonly index: number;
  /** Loaded at the first request, so that a node with many routes is ready at once. */
  readonly snapshotOf: () => LoadedSnapshot;
  readonly envList: readonly (readonly [string, string])[];
  /** Of its `limits.concurrency`, what requests may have whose bodies have not arrived; see upload-gate.ts. */
  readonly maxUploads: number;
  /** How long its guests run at worst, in milliseconds; what is long ago counts less. */
  slowestMs: number;
};

/** Guests that run longer are not waited for by responses that are ready: half a turn. */
const QUICK_MS = TURN_MS / 2;

/** After forty quick requests, a tenth of a slow one is left. */
const SLOWEST_FADES = 0.94;

/** A request that has its route and may be served. */
export type Admitted = {
  readonly request: IncomingMessage;
  readonly writer: ResponseWriter;
  readonly target: Target;
  readonly found: Found<ServedRoute>;
  /** Counted from 1 in this process. */
  readonly number: number;
  readonly timer: StartTimer;
  readonly cutoff: Cutoff;
};

/** Work that goes on, or is over: most requests are when the call that began them returns. */
export type Pending = Promise<void> | undefined;

/** Calls `after` when the work is over. */
export function whenOver(work: Pending, after: () => void): Pending {
  if (work !== undefined) return work.finally(after);
  after();
  return undefined;
}

export type GuestServiceInput = {
  readonly pool: SlotPool;
  readonly histograms: StartupHistograms;
  readonly counters: RouteCounters;
  readonly outbound: Outbound;
  readonly departures: Departures;
  readonly log: Logger;
};

/**
 * Has guests serve admitted requests: a turn of the thread, a slot, the guest, its response, and the slot restored. A request
 * whose guest does not wait is over when `serve` returns.
 */
export class GuestService {
  readonly #pool: SlotPool;
  readonly #histograms: StartupHistograms;
  readonly #counters: RouteCounters;
  readonly #outbound: Outbound;
  readonly #departures: Departures;
  readonly #log: Logger;
  readonly #turns = new Turns();
  readonly #curb = new CpuCurb();
  /** Tells the request ids of this process from those of others. */
  readonly #idPrefix = randomBytes(4).toString('hex');

  constructor({ pool, histograms, counters, outbound, departures, log }: GuestServiceInput) {
    this.#pool = pool;
    this.#histograms = histograms;
    this.#counters = counters;
    this.#outbound = outbound;
    this.#departures = departures;
    this.#log = log;
  }

  /** A client has connected: others may follow, and are let in before guests that wait for their turn. */
  connected(): void {
    this.#turns.connected();
  }

  /** Serves a request: answers it in any case, and never rejects. */
  serve(admitted: Admitted): Pending {
    const { route } = admitted.found;
    if (this.#curb.isCurbed(route.index)) return this.#serveCurbed(admitted);
    const turn = this.#turns.take(route.index);
    return turn === null ? this.#acquire(admitted, null) : turn.then(() => this.#acquire(admitted, null));
  }

  async #serveCurbed(admitted: Admitted): Promise<void> {
    const { found, cutoff } = admitted;
    const leave = await this.#curb.enter(cutoff.passed);
    try {
      await this.#turns.take(found.route.index);
      await this.#acquire(admitted, leave);
    } finally {
      leave(0);
    }
  }

  /** Finds the request a slot, and runs it there. @param leaveCurb to be called when the guest no longer runs */
  #acquire(admitted: Admitted, leaveCurb: Leave | null): Pending {
    const { found, timer, cutoff } = admitted;
    timer.skip();
    try {
      if (cutoff.reason !== null) throw cutoff.reason;
      const acquired = this.#pool.acquire(found.route.snapshotOf(), timer, () => cutoff.passed);
      return acquired instanceof Promise
        ? this.#runLater(acquired, admitted, leaveCurb)
        : this.#runInTurn(acquired, admitted, leaveCurb);
    } catch (error) {
      this.#conclude(admitted, null, error);
      return undefined;
    }
  }

  async #runLater(acquiring: Promise<Acquired>, admitted: Admitted, leaveCurb: Leave | null): Promise<void> {
    let acquired: Acquired;
    try {
      acquired = await acquiring;
    } catch (error) {
      this.#conclude(admitted, null, error);
      return;
    }
    await this.#runInTurn(acquired, admitted, leaveCurb);
  }

  #runInTurn(acquired: Acquired, admitted: Admitted, leaveCurb: Leave | null): Pending {
    const turn = this.#turns.again(admitted.found.route.index);
    return turn === null
      ? this.#run(acquired, admitted, leaveCurb)
      : turn.then(() => this.#run(acquired, admitted, leaveCurb));
  }

  #run(acquired: Acquired, admitted: Admitted, leaveCurb: Leave | null): Pending {
    const { slot } = acquired;
    const { timer, found } = admitted;
    timer.skip();
    if (found.route.slowestMs > QUICK_MS) this.#departures.flush();
    const begun = leaveCurb === null ? 0 : performance.now();
    let running: Pending;
    try {
      const exchange = this.#exchangeOf(acquired, admitted);
      running = this.#runAtOnce(exchange, acquired, admitted)
        ? undefined
        : this.#runWaiting(exchange, acquired, admitted);
    } catch (error) {
      this.#conclude(admitted, slot, error);
      return undefined;
    } finally {
      // The guest has run until it waits, or to its end.
      leaveCurb?.(performance.now() - begun);
    }
    if (running === undefined) {
      this.#conclude(admitted, slot, null);
      return undefined;
    }
    return running.then(
      () => this.#conclude(admitted, slot, null),
      (error: unknown) => this.#conclude(admitted, slot, error),
    );
  }

  #exchangeOf({ kind }: Acquired, admitted: Admitted): Exchange {
    const { request, writer, target, found, timer } = admitted;
    const { route } = found;
    return new Exchange({
      request,
      writer,
      target,
      match: found,
      env: route.envList,
      outbound: this.#outbound,
      onLine: ({ stream, line }: GuestLine) => {
        this.#log.info({ route: route.id, request: this.#idOf(admitted), stream }, line);
      },
      timer,
      onAnswer: () => {
        timer.finish();
        this.#histograms.record(route.id, kind, timer);
      },
      cpuMs: this.#curb.limitOf(route.index, route.limits.cpuMs),
    });
  }

  /** Runs a guest whose like do not wait. @returns false when it must be run as one that may; the slot is clean then */
  #runAtOnce(exchange: Exchange, { slot, kind }: Acquired, admitted: Admitted): boolean {
    if (!slot.snapshot.waits.isQuiet || hasBody(admitted.request)) return false;
    let isServed = false;
    try {
      isServed = exchange.runAtOnce(slot);
    } finally {
      this.#ran(slot, admitted.found.route);
    }
    if (isServed) {
      this.#served({ slot, kind }, admitted);
      return true;
    }
    slot.turn(slot.snapshot);
    admitted.timer.skip();
    return false;
  }

  async #runWaiting(exchange: Exchange, { slot, kind }: Acquired, admitted: Admitted): Promise<void> {
    admitted.cutoff.onPassed((reason) => exchange.abort(reason));
    try {
      await exchange.run(slot);
    } finally {
      this.#ran(slot, admitted.found.route);
    }
    this.#served({ slot, kind }, admitted);
  }

  /** A guest has run, whatever became of it. */
  #ran(slot: Slot, route: ServedRoute): void {
    const { refusedGrows, cpuMs } = slot.usage;
    if (refusedGrows > 0) this.#counters.add(route.index, 'refusedGrows', refusedGrows);
    this.#turns.took(route.index, cpuMs);
    const known = Number.isFinite(route.slowestMs) ? route.slowestMs : 0;
    route.slowestMs = Math.max(cpuMs, known * SLOWEST_FADES);
    slot.snapshot.waits.ended(slot.hasWaited);
  }

  /** A guest has served its request. */
  #served({ slot, kind }: Acquired, admitted: Admitted): void {
    const { found, timer } = admitted;
    this.#curb.ended(found.route.index, slot.usage.cpuMs);
    if (!this.#log.isLevelEnabled('debug')) return;
    const about = { route: found.route.id, request: this.#idOf(admitted), start: kind, ...slot.usage };
    this.#log.debug({ ...about, phases: timer.toJSON() }, 'served');
  }

  /** The request is over: what it held leaves, and its slot is restored. @param failure null for a guest that served it */
  #conclude(admitted: Admitted, slot: Slot | null, failure: unknown): void {
    const { writer, found, cutoff } = admitted;
    const { route } = found;
    if (failure !== null) {
      if (failure instanceof CpuTimeExceeded) this.#countStop(route);
      this.#fail(cutoff.isClientGone ? cutoff.reason : failure, writer, route, this.#idOf(admitted));
    }
    writer.flush();
    if (slot !== null) this.#release(slot, route.id);
  }

  #idOf({ number }: Admitted): string {
    return `${this.#idPrefix}-${number.toString(36)}`;
  }

  #countStop({ id, index, limits }: ServedRoute): void {
    this.#counters.add(index, 'cpuStops');
    if (!this.#curb.stopped(index)) return;
    const limitMs = this.#curb.limitOf(index, limits.cpuMs);
    this.#log.warn({ route: id, limitMs }, 'stopped again and again: requests get less CPU time than limits.cpu');
  }

  #fail(error: unknown, writer: ResponseWriter, { id: route, limits }: ServedRoute, request: string): void {
    const failure = error instanceof ThawError ? error : new ThawError('INTERNAL', messageOf(error), { cause: error });
    const level = logLevelOf(failure.code);
    this.#log[level](
      {
        route,
        request,
        code: failure.code,
        ...(failure instanceof CpuTimeExceeded ? { limitMs: failure.limitMs, usedMs: failure.usedMs } : {}),
        ...(level === 'error' ? { err: error } : {}),
      },
      logText(failure, limits.cpuMs),
    );
    if (writer.answered) {
      writer.flush();
      if (failure.code !== 'GUEST_EXITED') writer.abort();
      return;
    }
    const isBusy = failure.status === 503 && failure.code !== 'CPU_TIME_EXCEEDED';
    writer.fail(failure.status, publicText(failure), isBusy ? RETRY_AFTER : {});
  }

  /** Brings the slot back to its snapshot, after the response. Its cost is recorded as the phase `restore` of hot starts. */
  #release(slot: Slot, route: string): void {
    const begun = performance.now();
    try {
      this.#pool.release(slot);
    } catch (error) {
      this.#log.error({ route, err: error }, 'restoring a slot failed; the slot is not used again');
      return;
    }
    const micros = (performance.now() - begun) * 1000;
    this.#histograms.recordPhase(route, 'hot', 'restore', micros);
  }
}
