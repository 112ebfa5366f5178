import { performance } from 'node:perf_hooks';
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
import { Departures } from './departures.ts';
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
  /** To be called when its guest no longer runs; null for a route that is not curbed. */
  leaveCurb: Leave | null;
  /** Of the CPU time that its guest has used, what its route has been charged for; see {@link Turns}. */
  chargedMs: number;
  /** Called once, when the guest is done and its slot restored. The response may be on its way. */
  readonly onEnd: () => void;
};

export type GuestServiceInput = {
  readonly pool: SlotPool;
  readonly histograms: StartupHistograms;
  readonly counters: RouteCounters;
  readonly outbound: Outbound;
  readonly log: Logger;
};

/**
 * Has guests serve admitted requests: a turn of the thread, a slot, the guest, its response, and the slot restored. All of it
 * happens within one call, without a promise, where nothing has to wait.
 */
export class GuestService {
  readonly #pool: SlotPool;
  readonly #histograms: StartupHistograms;
  readonly #counters: RouteCounters;
  readonly #outbound: Outbound;
  readonly #log: Logger;
  readonly #turns = new Turns();
  /** How responses leave. */
  readonly departures = new Departures(() => this.#turns.isBusy);
  readonly #curb = new CpuCurb();
  /** Tells the request ids of this process from those of others. */
  readonly #idPrefix = randomBytes(4).toString('hex');

  constructor({ pool, histograms, counters, outbound, log }: GuestServiceInput) {
    this.#pool = pool;
    this.#histograms = histograms;
    this.#counters = counters;
    this.#outbound = outbound;
    this.#log = log;
  }

  /** A client has connected: others may follow, and are let in before guests that wait for their turn. */
  connected(): void {
    this.#turns.connected();
  }

  /** Serves a request, and answers it in any case. Its `onEnd` may be called before this returns. */
  serve(admitted: Admitted): void {
    const { route } = admitted.found;
    if (this.#curb.isCurbed(route.index)) void this.#serveCurbed(admitted);
    else this.#turns.take(route.index, () => this.#acquire(admitted));
  }

  async #serveCurbed(admitted: Admitted): Promise<void> {
    const { found, cutoff } = admitted;
    admitted.leaveCurb = await this.#curb.enter(cutoff.passed);
    this.#turns.take(found.route.index, () => this.#acquire(admitted));
  }

  /** Finds the request a slot, and runs it there. */
  #acquire(admitted: Admitted): void {
    const { found, timer, cutoff } = admitted;
    timer.skip();
    let acquired;
    try {
      if (cutoff.reason !== null) throw cutoff.reason;
      acquired = this.#pool.acquire(found.route.snapshotOf(), timer, () => cutoff.passed);
    } catch (error) {
      this.#conclude(admitted, null, error);
      return;
    }
    if (acquired instanceof Promise) void this.#runLater(acquired, admitted);
    else this.#runInTurn(acquired, admitted);
  }

  async #runLater(acquiring: Promise<Acquired>, admitted: Admitted): Promise<void> {
    let acquired: Acquired;
    try {
      acquired = await acquiring;
    } catch (error) {
      this.#conclude(admitted, null, error);
      return;
    }
    this.#runInTurn(acquired, admitted);
  }

  #runInTurn(acquired: Acquired, admitted: Admitted): void {
    this.#turns.again(admitted.found.route.index, () => this.#run(acquired, admitted));
  }

  #run(acquired: Acquired, admitted: Admitted): void {
    const { slot } = acquired;
    const { timer, found } = admitted;
    timer.skip();
    this.#letGo(found.route);
    const begun = admitted.leaveCurb === null ? 0 : performance.now();
    const exchange = this.#exchangeOf(acquired, admitted);
    let isOver = true;
    let failure: unknown = null;
    try {
      isOver = this.#runAtOnce(exchange, acquired, admitted);
      if (!isOver) void this.#runWaiting(exchange, acquired, admitted);
    } catch (error) {
      failure = error;
    }
    // The guest has run until it waits, or to its end.
    admitted.leaveCurb?.(performance.now() - begun);
    if (isOver) this.#conclude(admitted, slot, failure);
  }

  /** A guest of the route is about to run: responses that are ready do not wait for a slow one. */
  #letGo({ slowestMs }: ServedRoute): void {
    if (slowestMs > QUICK_MS) this.departures.flush();
  }

  #exchangeOf({ slot, kind }: Acquired, admitted: Admitted): Exchange {
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
      onResume: (goOn) => {
        this.#charge(slot.usedMs, admitted);
        this.#turns.goOn(route.index, () => {
          this.#letGo(route);
          goOn();
        });
      },
      cpuMs: this.#curb.limitOf(route.index, route.limits.cpuMs),
    });
  }

  /** Runs a guest whose like do not wait. @returns false when it must be run as one that may; the slot is clean then */
  #runAtOnce(exchange: Exchange, { slot, kind }: Acquired, admitted: Admitted): boolean {
    // What waits looks after clients that leave; this one may have left already.
    if (!slot.snapshot.waits.isQuiet || hasBody(admitted.request) || admitted.cutoff.reason !== null) return false;
    let isServed = false;
    try {
      isServed = exchange.runAtOnce(slot);
    } finally {
      this.#ran(slot, admitted);
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
    let failure: unknown = null;
    try {
      await exchange.run(slot);
    } catch (error) {
      failure = error;
    }
    this.#ran(slot, admitted);
    if (failure === null) this.#served({ slot, kind }, admitted);
    this.#conclude(admitted, slot, failure);
  }

  /** A guest has run, whatever became of it. */
  #ran(slot: Slot, admitted: Admitted): void {
    const { route } = admitted.found;
    const { refusedGrows, cpuMs } = slot.usage;
    if (refusedGrows > 0) this.#counters.add(route.index, 'refusedGrows', refusedGrows);
    this.#charge(cpuMs, admitted);
    admitted.chargedMs = 0;
    const known = Number.isFinite(route.slowestMs) ? route.slowestMs : 0;
    route.slowestMs = Math.max(cpuMs, known * SLOWEST_FADES);
    slot.snapshot.waits.ended(slot.hasWaited);
  }

  /** The guest of a request has used so much until now. */
  #charge(usedMs: number, admitted: Admitted): void {
    this.#turns.took(admitted.found.route.index, usedMs - admitted.chargedMs);
    admitted.chargedMs = usedMs;
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
    admitted.leaveCurb?.(0);
    writer.flush();
    if (slot !== null) this.#release(slot, route.id);
    admitted.onEnd();
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
