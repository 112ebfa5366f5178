import { randomBytes } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { EdgeConfig, RouteConfig } from '../config/schema.ts';
import { ThawError, messageOf } from '../errors.ts';
import { GuestLineWriter } from '../log.ts';
import type { StartupHistograms } from '../metrics/histograms.ts';
import type { RouteCounters } from '../metrics/route-counters.ts';
import { PHASE_NAMES, StartTimer, type StartKind } from '../metrics/phases.ts';
import type { SlotPool } from '../runtime/pool.ts';
import type { Slot } from '../runtime/slot.ts';
import type { LoadedSnapshot } from '../runtime/snapshot.ts';
import { HeadRefused, admissionOf, type Target } from './admission.ts';
import type { ConnectionCounts } from './connections.ts';
import { Cutoff } from './cutoff.ts';
import { Exchange, bodyTooLarge } from './exchange.ts';
import { MethodNotAllowed, logLevelOf, logText, publicText } from './failures.ts';
import { createListener } from './listener.ts';
import { Outbound } from './outbound.ts';
import { LINGER_BYTES, discardRest, hasBody } from './request-body.ts';
import { ResponseWriter } from './response-writer.ts';
import { cutSlowReader } from './slow-reader.ts';
import { CpuTimeExceeded } from '../wasi/guest.ts';
import { CpuCurb, type Leave } from './cpu-curb.ts';
import { Turns } from './turns.ts';
import { UploadGate, type LeaveGate } from './upload-gate.ts';
import { createRouter, type Found, type Router } from './router.ts';

/** Seconds that a client which met a full node should wait. */
const RETRY_AFTER = { 'retry-after': '1' };

/** A route as the front serves it. */
type ServedRoute = RouteConfig & {
  /** Of its counter. */
  readonly index: number;
  /** Loaded at the first request, so that a node with many routes is ready at once. */
  readonly snapshotOf: () => LoadedSnapshot;
  readonly envList: readonly (readonly [string, string])[];
  /** Of its `limits.concurrency`, what requests may have whose bodies have not arrived; see upload-gate.ts. */
  readonly maxUploads: number;
};

/** A request that has its route and may be served. */
type Admitted = {
  readonly request: IncomingMessage;
  readonly writer: ResponseWriter;
  readonly target: Target;
  readonly found: Found<ServedRoute>;
  readonly requestId: string;
  readonly timer: StartTimer;
  readonly cutoff: Cutoff;
};

export type FrontInput = {
  readonly config: EdgeConfig;
  readonly pool: SlotPool;
  readonly histograms: StartupHistograms;
  readonly log: Logger;
  /** Requests in work by route, counted by all threads; index as in the config. The last is for all routes. */
  readonly inFlight: Int32Array;
  readonly counters: RouteCounters;
  readonly connections: ConnectionCounts;
  /** Threads that serve, and the slots of this one. */
  readonly threads: number;
  readonly slots: number;
  /** The snapshot of a route, loaded. */
  readonly snapshotOf: (route: RouteConfig) => LoadedSnapshot;
};

/** The data listener: from a request to a slot and back. */
export class Front {
  readonly server: Server;
  readonly #pool: SlotPool;
  readonly #histograms: StartupHistograms;
  readonly #log: Logger;
  readonly #router: Router<ServedRoute>;
  readonly #outbound: Outbound;
  readonly #inFlight: Int32Array;
  readonly #counters: RouteCounters;
  readonly #concurrency: number;
  readonly #uploads: UploadGate;
  readonly #turns = new Turns();
  readonly #curb = new CpuCurb();
  #requests = 0;
  #draining = false;
  #idle: (() => void) | null = null;
  /** Requests in work, and those whose responses are still under way to their clients. */
  #total = 0;
  /** Timers of finished requests, for the next ones. */
  readonly #timers: StartTimer[] = [];
  /** Tells the request ids of this process from those of others. */
  readonly #idPrefix = randomBytes(4).toString('hex');

  constructor(input: FrontInput) {
    const { config, pool, histograms, log, inFlight, counters, connections, threads, slots, snapshotOf } = input;
    this.#inFlight = inFlight;
    this.#counters = counters;
    this.#concurrency = config.limits.concurrency;
    this.#uploads = new UploadGate(halfOf(slots));
    this.#pool = pool;
    this.#histograms = histograms;
    this.#log = log;
    this.#outbound = new Outbound(config.outbound);
    this.#router = createRouter(
      config.routes.map((route, index) => ({
        ...route,
        index,
        snapshotOf: () => snapshotOf(route),
        envList: Object.entries(route.env),
        maxUploads: halfOf(route.limits.concurrency / threads),
      })),
    );
    this.server = createListener({
      connections,
      log,
      longestWallMs: Math.max(...config.routes.map(({ limits }) => limits.wallMs)),
      handle: (request, response, onAccepted) => void this.#handle(request, response, onAccepted),
    });
    this.server.on('connection', () => this.#turns.connected());
  }

  /**
   * Takes no more requests and waits for those in work, until their responses have left.
   * @returns how many were still in work when `timeoutMs` was over; they were cut off
   */
  async drain(timeoutMs: number): Promise<number> {
    this.#draining = true;
    this.server.close();
    this.server.closeIdleConnections();
    if (this.#total > 0) await this.#untilIdle(timeoutMs);
    const left = this.#total;
    this.server.closeAllConnections();
    await this.#outbound.close();
    return left;
  }

  async #untilIdle(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
  }

  async #handle(request: IncomingMessage, response: ServerResponse, onAccepted?: () => void): Promise<void> {
    const timer = this.#timers.pop() ?? new StartTimer();
    timer.begin();
    const requestId = `${this.#idPrefix}-${(++this.#requests).toString(36)}`;
    const cutoff = new Cutoff();
    const writer = new ResponseWriter(response, () => cutoff.clientGone());
    let target: Target;
    let found: Found<ServedRoute>;
    try {
      const admission = admissionOf(request);
      if (admission.kind === 'node') {
        answerForNode(request, response);
        return;
      }
      target = admission;
      found = this.#admit(request, target);
    } catch (error) {
      this.#refuse(writer, error, onAccepted !== undefined);
      return;
    }
    timer.mark('route');
    onAccepted?.();
    this.#total++;
    cutoff.setWall(found.route.limits.wallMs);
    try {
      await this.#serveInTurn({ request, writer, target, found, requestId, timer, cutoff });
    } finally {
      cutoff.clear();
      if (hasBody(request)) discardRest(request, found.route.limits.requestBodyBytes + LINGER_BYTES);
      this.#leave(found.route, response);
      this.#timers.push(timer);
    }
  }

  /** The route of a request that may be served. @throws ThawError with the status for the client */
  #admit(request: IncomingMessage, { authority, path }: Target): Found<ServedRoute> {
    if (this.#draining) throw new ThawError('DRAINING', 'the node is shutting down');
    const found = this.#router.match(authority, request.method as string, path);
    if (found.kind === 'not-found') throw new ThawError('ROUTE_NOT_FOUND', `no route for ${path}`);
    if (found.kind === 'method-not-allowed') throw new MethodNotAllowed(found.allow);
    const { limits } = found.route;
    if (hasBody(request) && Number(request.headers['content-length'] ?? 0) > limits.requestBodyBytes) {
      throw bodyTooLarge(limits.requestBodyBytes);
    }
    // Looked at again when it is its turn: a client that waits to send its body shall not send it for nothing.
    this.#checkRoom(
      found.route,
      Atomics.load(this.#inFlight, found.route.index),
      Atomics.load(this.#inFlight, this.#all),
    );
    return found;
  }

  /** Serves the request once its body is no reason to wait, within its route's concurrency. */
  async #serveInTurn(input: Admitted): Promise<void> {
    const { request, found, writer, cutoff } = input;
    const { route } = found;
    let leave: LeaveGate | null = null;
    try {
      if (hasBody(request)) leave = await this.#uploads.enter(request, route, cutoff.passed);
      this.#enter(route);
    } catch (error) {
      leave?.();
      this.#refuse(writer, cutoff.isClientGone ? cutoff.reason : error, false);
      return;
    }
    try {
      await this.#serve(input);
    } finally {
      this.#countOut(route);
      leave?.();
    }
  }

  /** @param isExpecting the client sends its body when it is told to, and not before */
  #refuse(writer: ResponseWriter, error: unknown, isExpecting: boolean): void {
    const refusal = error instanceof ThawError ? error : new ThawError('INTERNAL', messageOf(error), { cause: error });
    if (refusal.code === 'INTERNAL') this.#log.error({ err: error }, 'refusing a request failed');
    const headers: Record<string, string> = refusal.status === 503 ? { ...RETRY_AFTER } : {};
    if (refusal instanceof MethodNotAllowed) headers['allow'] = refusal.allow.join(', ');
    // Its next bytes could be the body or the next request.
    if (isExpecting) headers['connection'] = 'close';
    // Nor is it known after a head that breaks the rules, but the client may be writing: it shall get to read this.
    if (error instanceof HeadRefused || refusal.code === 'REQUEST_BODY_SLOW') writer.closeAfter();
    writer.fail(refusal.status, publicText(refusal), headers);
  }

  async #serve(input: Admitted): Promise<void> {
    const { writer, found, requestId, timer, cutoff } = input;
    const { route } = found;
    let slot: Slot | null = null;
    let leaveCurb: Leave | null = null;
    try {
      if (this.#curb.isCurbed(route.index)) leaveCurb = await this.#curb.enter(cutoff.passed);
      await this.#turns.take(route.index);
      timer.skip();
      if (cutoff.reason !== null) throw cutoff.reason;
      const acquired = await this.#pool.acquire(route.snapshotOf(), timer, () => cutoff.passed);
      ({ slot } = acquired);
      await this.#turns.again(route.index);
      timer.skip();
      await this.#run(acquired, input, leaveCurb);
    } catch (error) {
      if (error instanceof CpuTimeExceeded) this.#countStop(route);
      this.#fail(cutoff.isClientGone ? cutoff.reason : error, writer, route, requestId);
    } finally {
      leaveCurb?.(0);
      writer.flush();
      if (slot !== null) this.#release(slot, route.id);
    }
  }

  async #run(
    { slot, kind }: { slot: Slot; kind: StartKind },
    { request, writer, target, found, requestId, timer, cutoff }: Admitted,
    leaveCurb: Leave | null,
  ): Promise<void> {
    const { route } = found;
    const output = new GuestLineWriter(({ stream, line }) => {
      this.#log.info({ route: route.id, request: requestId, stream }, line);
    });
    const onAnswer = (): void => {
      timer.finish();
      this.#histograms.record(route.id, kind, timer);
    };
    const exchange = new Exchange({
      requestId,
      request,
      writer,
      target,
      match: found,
      env: route.envList,
      outbound: this.#outbound,
      output,
      timer,
      onAnswer,
      cpuMs: this.#curb.limitOf(route.index, route.limits.cpuMs),
    });
    cutoff.onPassed((reason) => exchange.abort(reason));
    try {
      const begun = performance.now();
      const running = exchange.run(slot);
      // The guest has run until it waits, or to its end.
      leaveCurb?.(performance.now() - begun);
      await running;
    } finally {
      output.end();
      const { refusedGrows, cpuMs } = slot.usage;
      if (refusedGrows > 0) this.#counters.add(route.index, 'refusedGrows', refusedGrows);
      this.#turns.took(route.index, cpuMs);
    }
    this.#curb.ended(route.index, slot.usage.cpuMs);
    if (this.#log.isLevelEnabled('debug')) {
      const about = { route: route.id, request: requestId, start: kind, ...slot.usage };
      this.#log.debug({ ...about, phases: timer.toJSON() }, 'served');
    }
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
    this.#histograms.record(route, 'hot', { microsAt: (phase) => (phase === RESTORE_PHASE ? micros : Number.NaN) });
  }

  /** Counts the request in. @throws ThawError ROUTE_BUSY, NODE_BUSY */
  #enter(route: ServedRoute): void {
    const ofRoute = Atomics.add(this.#inFlight, route.index, 1);
    const ofAll = Atomics.add(this.#inFlight, this.#all, 1);
    try {
      this.#checkRoom(route, ofRoute, ofAll);
    } catch (error) {
      this.#countOut(route);
      throw error;
    }
  }

  /** @throws ThawError ROUTE_BUSY, NODE_BUSY when so many others are in work that there is no room for one more */
  #checkRoom({ id, limits }: ServedRoute, ofRoute: number, ofAll: number): void {
    if (ofRoute >= limits.concurrency) {
      throw new ThawError('ROUTE_BUSY', `route ${id} serves ${limits.concurrency} requests, its limits.concurrency`);
    }
    if (ofAll >= this.#concurrency) {
      throw new ThawError('NODE_BUSY', `the node serves ${this.#concurrency} requests, its limits.concurrency`);
    }
  }

  #countOut({ index }: ServedRoute): void {
    Atomics.sub(this.#inFlight, index, 1);
    Atomics.sub(this.#inFlight, this.#all, 1);
  }

  /** Where requests of all routes are counted. */
  get #all(): number {
    return this.#inFlight.length - 1;
  }

  #leave({ limits }: ServedRoute, response: ServerResponse): void {
    cutSlowReader(response, limits.wallMs);
    // A response without a socket has been sent, or comes after others of a connection that may be gone.
    if (response.closed || response.socket === null) this.#ended();
    else response.once('close', () => this.#ended());
  }

  #ended(): void {
    this.#total--;
    if (this.#total === 0) this.#idle?.();
  }
}

const halfOf = (count: number): number => Math.max(1, Math.floor(count / 2));

/** `OPTIONS *` asks whether the server is there (RFC 9110, section 9.3.7). */
function answerForNode(request: IncomingMessage, response: ServerResponse): void {
  if (hasBody(request)) response.shouldKeepAlive = false;
  response.writeHead(204).end();
}

const RESTORE_PHASE = PHASE_NAMES.indexOf('restore');
