import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { EdgeConfig, RouteConfig } from '../config/schema.ts';
import { ThawError, messageOf, type ErrorCode } from '../errors.ts';
import type { StartupHistograms } from '../metrics/histograms.ts';
import type { RouteCounters } from '../metrics/route-counters.ts';
import { StartTimer } from '../metrics/phases.ts';
import type { SlotPool } from '../runtime/pool.ts';
import type { LoadedSnapshot } from '../runtime/snapshot.ts';
import { HeadRefused, admissionOf, type Target } from './admission.ts';
import type { ConnectionCounts } from './connections.ts';
import { Cutoff } from './cutoff.ts';
import { bodyTooLarge } from './exchange.ts';
import { MethodNotAllowed, RETRY_AFTER, publicText } from './failures.ts';
import { GuestService, type Admitted, type ServedRoute } from './guest-service.ts';
import { createListener } from './listener.ts';
import { Outbound } from './outbound.ts';
import { LINGER_BYTES, LINGER_MS, discardRest, hasBody } from './request-body.ts';
import { ResponseWriter } from './response-writer.ts';
import { createRouter, type Found, type Router } from './router.ts';
import { cutSlowReader } from './slow-reader.ts';
import { UploadGate, type LeaveGate } from './upload-gate.ts';

/** A request in work. */
type Visit = Admitted & {
  readonly response: ServerResponse;
  /** Gives its place among slow uploads back; null without one. */
  leaveGate: LeaveGate | null;
  /** Whether it counts for `limits.concurrency`. */
  isCounted: boolean;
  isOver: boolean;
};

/** Refusals behind which a connection has no future: the rest of a body may follow, or the node is going. */
const LAST_CODES: ReadonlySet<ErrorCode> = new Set(['REQUEST_BODY_SLOW', 'DRAINING']);

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
  readonly #lastResponses: () => void;
  readonly #guests: GuestService;
  readonly #log: Logger;
  readonly #router: Router<ServedRoute>;
  readonly #outbound: Outbound;
  readonly #inFlight: Int32Array;
  readonly #concurrency: number;
  readonly #uploads: UploadGate;
  #requests = 0;
  #draining = false;
  #idle: (() => void) | null = null;
  /** Requests in work, and those whose responses are still under way to their clients. */
  #total = 0;
  /** Requests in work that have come in this turn of the event loop. */
  #unwatched: Visit[] = [];
  /** Timers of finished requests, for the next ones. */
  readonly #timers: StartTimer[] = [];

  constructor(input: FrontInput) {
    const { config, pool, histograms, log, inFlight, counters, connections, threads, slots, snapshotOf } = input;
    this.#inFlight = inFlight;
    this.#concurrency = config.limits.concurrency;
    this.#uploads = new UploadGate(halfOf(slots));
    this.#log = log;
    const outbound = new Outbound(config.outbound);
    this.#outbound = outbound;
    this.#guests = new GuestService({ pool, histograms, counters, outbound, log });
    this.#router = createRouter(
      config.routes.map((route, index) => ({
        ...route,
        index,
        snapshotOf: () => snapshotOf(route),
        envList: Object.entries(route.env),
        maxUploads: halfOf(route.limits.concurrency / threads),
        slowestMs: Number.POSITIVE_INFINITY,
      })),
    );
    const listener = createListener({
      connections,
      log,
      longestWallMs: Math.max(...config.routes.map(({ limits }) => limits.wallMs)),
      handle: (request, response, onAccepted) => this.#handle(request, response, onAccepted),
    });
    this.server = listener.server;
    this.#lastResponses = listener.lastResponses;
    this.server.on('connection', () => this.#guests.connected());
  }

  /**
   * Takes no more requests and waits for those in work, until their responses have left.
   * @returns how many were still in work when `timeoutMs` was over; they were cut off
   */
  async drain(timeoutMs: number): Promise<number> {
    this.#draining = true;
    this.server.close();
    this.server.closeIdleConnections();
    this.#lastResponses();
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

  #handle(request: IncomingMessage, response: ServerResponse, onAccepted?: () => void): void {
    const timer = this.#timers.pop() ?? new StartTimer();
    timer.begin();
    const writer = new ResponseWriter(response, this.#depart, this.#broken);
    let target: Target;
    let found: Found<ServedRoute>;
    try {
      const admission = admissionOf(request);
      if (admission.kind === 'node') {
        answerForNode(request, response);
        cutSlowReader(response, LINGER_MS);
        return;
      }
      target = admission;
      found = this.#admit(request, target);
    } catch (error) {
      this.#refuse(writer, error, onAccepted !== undefined);
      cutSlowReader(response, LINGER_MS);
      return;
    }
    timer.mark('route');
    onAccepted?.();
    this.#total++;
    const visit: Visit = {
      request,
      response,
      writer,
      target,
      found,
      number: ++this.#requests,
      timer,
      cutoff: new Cutoff(),
      leaveCurb: null,
      chargedMs: 0,
      leaveGate: null,
      isCounted: false,
      isOver: false,
      onEnd: () => this.#end(visit),
    };
    if (hasBody(request)) void this.#serveWithBody(visit);
    else this.#serve(visit);
    if (!visit.isOver) this.#watchSoon(visit);
  }

  /** Many that wait for their turn are over in this one, in which neither their client nor a timer can be heard of. */
  #watchSoon(visit: Visit): void {
    if (this.#unwatched.push(visit) === 1) setImmediate(this.#watchAll);
  }

  readonly #watchAll = (): void => {
    const visits = this.#unwatched;
    this.#unwatched = [];
    for (const { isOver, writer, cutoff, found } of visits) {
      if (isOver) continue;
      writer.watch(() => cutoff.clientGone());
      cutoff.setWall(found.route.limits.wallMs);
    }
  };

  readonly #depart = (send: () => void): void => this.#guests.departures.depart(send);

  readonly #broken = (error: unknown): void => {
    this.#log.error({ err: error }, 'a response could not be sent; its connection is closed');
  };

  #end(visit: Visit): void {
    const { request, response, found, timer, cutoff } = visit;
    const { route } = found;
    visit.isOver = true;
    if (visit.isCounted) this.#countOut(route);
    visit.leaveGate?.();
    cutoff.clear();
    if (hasBody(request)) discardRest(request, route.limits.requestBodyBytes + LINGER_BYTES);
    this.#guests.departures.afterwards(() => this.#leave(route, response));
    this.#timers.push(timer);
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

  /** Serves the request once its body is no reason to wait. */
  async #serveWithBody(visit: Visit): Promise<void> {
    try {
      visit.leaveGate = await this.#uploads.enter(visit.request, visit.found.route, visit.cutoff.passed);
    } catch (error) {
      this.#turnAway(visit, error);
      return;
    }
    this.#serve(visit);
  }

  /** Serves the request within its route's concurrency. */
  #serve(visit: Visit): void {
    try {
      this.#enter(visit.found.route);
    } catch (error) {
      this.#turnAway(visit, error);
      return;
    }
    visit.isCounted = true;
    this.#guests.serve(visit);
  }

  #turnAway(visit: Visit, error: unknown): void {
    const { writer, cutoff } = visit;
    this.#refuse(writer, cutoff.isClientGone ? cutoff.reason : error, false);
    this.#end(visit);
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
    if (error instanceof HeadRefused || LAST_CODES.has(refusal.code)) writer.closeAfter();
    writer.fail(refusal.status, publicText(refusal), headers);
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
    // One of which nothing is left here is with the system. One that comes after others of its connection is here.
    if (response.closed || isWritten(response)) this.#ended();
    else response.once('close', () => this.#ended());
  }

  #ended(): void {
    this.#total--;
    if (this.#total === 0) this.#idle?.();
  }
}

const isWritten = ({ writableEnded, writableLength }: ServerResponse): boolean => writableEnded && writableLength === 0;

const halfOf = (count: number): number => Math.max(1, Math.floor(count / 2));

/** `OPTIONS *` asks whether the server is there (RFC 9110, section 9.3.7). */
function answerForNode(request: IncomingMessage, response: ServerResponse): void {
  if (hasBody(request)) response.shouldKeepAlive = false;
  response.writeHead(204).end();
}
