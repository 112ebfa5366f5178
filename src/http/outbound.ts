import { Readable } from 'node:stream';
import { LRUCache } from 'lru-cache';
import { Agent, type Dispatcher } from 'undici';
import { isAllowed, outboundTarget, type AllowList, type OutboundTarget } from '../config/outbound.ts';
import { errorCodeOf, type ErrorCode } from '../wasi/http-error.ts';
import type { BodySource, OutgoingBodyPipe } from '../wasi/http-body.ts';
import { Fields } from '../wasi/http-fields.ts';
import { IncomingResponse, methodText, type OutgoingRequest, type RequestOptions } from '../wasi/http-messages.ts';
import { FutureIncomingResponse, type OutgoingExchange } from '../wasi/http-outgoing.ts';
import { CLOSED } from '../wasi/io.ts';
import { err, ok, type Result } from '../wasi/values.ts';
import { ConnectError, createConnector, type ConnectRules, type Resolve } from './connect-policy.ts';
import type { OutboundBudget } from './outbound-budget.ts';
import { ReadableSource } from './readable-source.ts';

/** What a guest may wait for a server when it sets no timeouts of its own; the route's wall time ends it sooner. */
const DEFAULT_CONNECT_MS = 10_000;
const DEFAULT_RESPONSE_MS = 60_000;
const DEFAULT_BETWEEN_BYTES_MS = 60_000;

/** Idle connections are kept this long for the next request to the same origin. */
const KEEP_ALIVE_MS = 10_000;

/** Connections to one origin. Beyond, requests wait for one of them. */
const CONNECTIONS_PER_ORIGIN = 256;

/** Connect timeouts in use at a time; a guest that sets another one each time only loses connection reuse. */
const MAX_AGENTS = 16;

const NS_PER_MS = 1_000_000n;

/** What a request that is being served may send, and where to. */
export type OutboundRights = { readonly allow: AllowList; readonly budget: OutboundBudget };

/** Sends what guests want sent, to where their routes allow. One per thread: connections are pooled. */
export class Outbound {
  /**
   * By connect timeout in milliseconds: undici has one for all connections of an agent. A connection is held against
   * the rules when it is made, and may be used again without: neither its address nor the rules change.
   */
  readonly #agents = new LRUCache<number, Agent>({ max: MAX_AGENTS, dispose: (agent) => void agent.close() });
  readonly #rules: ConnectRules;
  readonly #resolve: Resolve | undefined;

  /** @param resolve undefined: the system's resolver */
  constructor(rules: ConnectRules, resolve?: Resolve) {
    this.#rules = rules;
    this.#resolve = resolve;
  }

  /** Refusals come at once, as WASI wants them; failures through the future. */
  fetch(
    { allow, budget }: OutboundRights,
    { request, options }: OutgoingExchange,
  ): Result<FutureIncomingResponse, ErrorCode> {
    const target = targetOf(request);
    if (target === null) return err({ tag: 'HTTP-request-URI-invalid' });
    if (!isAllowed(allow, target)) return err({ tag: 'HTTP-request-denied' });
    if (!budget.spend()) return err({ tag: 'connection-limit-reached' });
    const abort = new AbortController();
    const outcome = budget.run(() => this.#send(target, request, options, abort));
    return ok(new FutureIncomingResponse(outcome, () => abort.abort()));
  }

  async #send(
    target: OutboundTarget,
    request: OutgoingRequest,
    options: RequestOptions | undefined,
    abort: AbortController,
  ): Promise<Result<IncomingResponse, ErrorCode>> {
    try {
      // Given up while it waited for its turn: undici would connect first.
      abort.signal.throwIfAborted();
      const agent = this.#agentFor(milliseconds(options?.connectTimeout, DEFAULT_CONNECT_MS));
      const response = await agent.request({
        origin: `${target.scheme}://${target.host}:${target.port}`,
        path: pathOf(request),
        method: methodText(request.method),
        headers: headersOf(request),
        body: request.pipe === null ? null : pipeBody(request.pipe),
        headersTimeout: milliseconds(options?.firstByteTimeout, DEFAULT_RESPONSE_MS),
        bodyTimeout: milliseconds(options?.betweenBytesTimeout, DEFAULT_BETWEEN_BYTES_MS),
        signal: abort.signal,
        responseHeaders: 'raw',
      });
      return ok(incomingResponse(response));
    } catch (error) {
      request.pipe?.fail(CLOSED);
      return err(error instanceof ConnectError ? error.errorCode : errorCodeOf(error));
    }
  }

  #agentFor(connectMs: number): Agent {
    let agent = this.#agents.get(connectMs);
    if (agent === undefined) {
      agent = new Agent({
        connect: createConnector({ rules: this.#rules, timeoutMs: connectMs, resolve: this.#resolve }),
        connections: CONNECTIONS_PER_ORIGIN,
        keepAliveTimeout: KEEP_ALIVE_MS,
        pipelining: 1,
      });
      this.#agents.set(connectMs, agent);
    }
    return agent;
  }

  /** Closes all connections, the busy ones too. */
  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
  }
}

function targetOf({ scheme, authority }: OutgoingRequest): OutboundTarget | null {
  if (authority === undefined) return null;
  const name = scheme === undefined ? 'https' : scheme.tag === 'other' ? String(scheme.val) : scheme.tag;
  return outboundTarget(name, authority);
}

/**
 * The header lines, without `Expect`: undici refuses it, and sends a body without waiting to be told. A guest that passes
 * on what its client sent has it from curl, for one.
 */
function headersOf({ fields }: OutgoingRequest): string[] {
  if (!fields.has('expect')) return [...fields.raw];
  return fields
    .entries()
    .filter(([name]) => name.toLowerCase() !== 'expect')
    .flat();
}

function pathOf({ pathWithQuery }: OutgoingRequest): string {
  const path = pathWithQuery ?? '/';
  return path.startsWith('/') ? path : `/${path}`;
}

const milliseconds = (nanoseconds: bigint | undefined, otherwise: number): number =>
  nanoseconds === undefined ? otherwise : Math.max(1, Number(nanoseconds / NS_PER_MS));

/** The guest's writes as a stream that undici reads at the server's pace. */
function pipeBody(pipe: OutgoingBodyPipe): Readable {
  let isAttached = false;
  const body = new Readable({
    read() {
      if (isAttached) {
        pipe.drained();
        return;
      }
      isAttached = true;
      pipe.attach({
        write: (chunk) => body.push(chunk),
        end: () => body.push(null),
        abort: () => body.destroy(new Error('the guest did not finish its request body')),
      });
    },
    destroy(error, done) {
      pipe.fail(CLOSED);
      done(error);
    },
  });
  return body;
}

function incomingResponse({ statusCode, headers, body, trailers }: Dispatcher.ResponseData): IncomingResponse {
  const source: BodySource = new ReadableSource(body, {
    maxBytes: Number.MAX_SAFE_INTEGER,
    tooLarge: { tag: 'HTTP-response-body-size' },
    rawTrailers: () => rawHeaders(trailers),
    errorCode: errorCodeOf,
    onCancel: () => body.destroy(),
  });
  return new IncomingResponse(statusCode, Fields.received(rawHeaders(headers)), source);
}

/** undici's raw headers are buffers or strings in pairs; parsed ones an object. Both become Latin-1 strings in pairs. */
function rawHeaders(headers: unknown): string[] {
  if (Array.isArray(headers)) return headers.map(text);
  return Object.entries((headers ?? {}) as Record<string, unknown>).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).flatMap((one) => [name, text(one)]),
  );
}

const text = (value: unknown): string => (Buffer.isBuffer(value) ? value.toString('latin1') : String(value));
