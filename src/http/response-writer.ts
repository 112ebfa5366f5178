import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { BodyTransport, OutgoingBodyPipe } from '../wasi/http-body.ts';
import type { Fields } from '../wasi/http-fields.ts';
import type { OutgoingResponse } from '../wasi/http-messages.ts';
import { CLOSED } from '../wasi/io.ts';
import { endAfterBody, hasBody } from './request-body.ts';

/**
 * `waiting`: the guest has not answered. `held`: it has, and the head leaves with the first of the body, at the end of the
 * guest's turn at the latest. `leaving`: the response is whole and waits for others that leave with it. `streaming`: the
 * head is out. `ended`: nothing more can be sent.
 */
type WriterState =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'held'; readonly response: OutgoingResponse }
  | { readonly kind: 'leaving'; readonly response: OutgoingResponse; readonly chunks: readonly Buffer[] }
  | { readonly kind: 'streaming' }
  | { readonly kind: 'ended' };

/** Statuses whose responses have no body. */
export const hasNoBody = (status: number): boolean => status === 204 || status === 304;

/** Bodies up to here go into one string with their head: one buffer for the system to take, instead of two. */
const SHORT_BODY_BYTES = 4096;

/** When a response that is whole is sent: at once, unless something lets several leave together. */
type Depart = (send: () => void) => void;

/**
 * Writes one guest's response. A response that is whole before the guest first waits goes out in one piece, with a
 * Content-Length; otherwise head and body stream, with the client's pace as back-pressure.
 */
export class ResponseWriter {
  readonly #response: ServerResponse;
  readonly #depart: Depart;
  readonly #onBroken: (error: unknown) => void;
  #state: WriterState = { kind: 'waiting' };
  #pipe: OutgoingBodyPipe | null = null;

  /** @param onBroken hears of a response that Node would not take: its connection is closed, and nothing else harmed */
  constructor(
    response: ServerResponse,
    depart: Depart = (send) => send(),
    onBroken: (error: unknown) => void = rethrow,
  ) {
    this.#response = response;
    this.#depart = depart;
    this.#onBroken = onBroken;
  }

  /**
   * Looks after the client from now on: nothing that comes of it is heard before the event loop turns.
   * @param onGone the client has left before the response had ended
   */
  watch(onGone: () => void): void {
    const closed = (): void => this.#closed(onGone);
    if (this.#response.closed) closed();
    else this.#response.on('close', closed);
  }

  /** True once a status line may have left: from then on the client can only be told by closing the connection. */
  get headSent(): boolean {
    return this.#response.headersSent;
  }

  get answered(): boolean {
    return this.#state.kind !== 'waiting';
  }

  /** `response-outparam.set` with a response. The head leaves when the guest's turn ends, if not before. */
  hold(response: OutgoingResponse): void {
    this.#take(response);
    queueMicrotask(() => this.flush());
  }

  /** Sends the response of a guest that has returned. */
  send(response: OutgoingResponse): void {
    this.#take(response);
    this.flush();
  }

  #take(response: OutgoingResponse): void {
    if (this.#state.kind === 'ended') {
      // Nobody is there to read it: a guest that wrote on would wait for room until its time is over.
      response.pipe?.fail(CLOSED);
      return;
    }
    this.#state = { kind: 'held', response };
    this.#pipe = response.pipe;
  }

  /** Sends what is held. */
  flush(): void {
    if (this.#state.kind !== 'held') return;
    const { response } = this.#state;
    const whole = response.pipe === null ? { chunks: [], trailers: null } : response.pipe.takeWhole();
    if (whole === null || whole.trailers !== null) {
      this.#guarded(() => this.#stream(response, response.pipe, whole));
      return;
    }
    this.#state = { kind: 'leaving', response, chunks: whole.chunks };
    this.#depart(this.#leave);
  }

  readonly #leave = (): void => {
    if (this.#state.kind !== 'leaving') return;
    const { response, chunks } = this.#state;
    this.#state = { kind: 'ended' };
    this.#guarded(() => this.#sendWhole(response, chunks));
  };

  #guarded(send: () => void): void {
    try {
      send();
    } catch (error) {
      this.#state = { kind: 'ended' };
      this.#pipe?.fail(CLOSED);
      this.#cut();
      this.#onBroken(error);
    }
  }

  #sendWhole({ status, fields }: OutgoingResponse, chunks: readonly Buffer[]): void {
    const [first] = chunks;
    const body = chunks.length === 1 ? first : Buffer.concat(chunks);
    const length = body?.length ?? 0;
    const headers = untrailed(status, fields);
    if (!fields.has('content-length') && this.#saysLength(status, length)) {
      headers.push('content-length', String(length));
    }
    this.#response.writeHead(status, headers);
    if (body === undefined || length === 0) this.#response.end();
    else if (length <= SHORT_BODY_BYTES) this.#response.end(body.toString('latin1'), 'latin1');
    else this.#response.end(body);
  }

  /** A response to HEAD that has no body says nothing of the one that GET would get. */
  #saysLength(status: number, length: number): boolean {
    return !hasNoBody(status) && (length > 0 || this.#response.req.method !== 'HEAD');
  }

  #stream(
    { status, fields }: OutgoingResponse,
    pipe: OutgoingBodyPipe | null,
    whole: { readonly chunks: readonly Buffer[]; readonly trailers: Fields | null } | null,
  ): void {
    this.#state = { kind: 'streaming' };
    this.#response.on('drain', () => this.#pipe?.drained());
    this.#response.writeHead(status, this.#canTrail(status, fields) ? [...fields.raw] : untrailed(status, fields));
    this.#response.flushHeaders();
    if (whole === null) {
      pipe?.attach(this.#transport());
      return;
    }
    for (const chunk of whole.chunks) this.#response.write(chunk);
    this.#end(whole.trailers);
  }

  /** Whether trailers can come behind the body: only chunked ones have a place for them (RFC 9112, section 7.1.2). */
  #canTrail(status: number, fields: Fields): boolean {
    const { method, httpVersionMinor } = this.#response.req;
    return httpVersionMinor > 0 && method !== 'HEAD' && !hasNoBody(status) && !fields.has('content-length');
  }

  #transport(): BodyTransport {
    return {
      write: (chunk) => this.#response.write(chunk),
      end: (trailers) => this.#end(trailers),
      abort: () => this.abort(),
    };
  }

  #end(trailers: Fields | null): void {
    this.#state = { kind: 'ended' };
    if (trailers !== null) this.#response.addTrailers(trailers.entries());
    this.#response.end();
  }

  /** No other request is taken from the connection. */
  closeAfter(): void {
    this.#response.shouldKeepAlive = false;
  }

  /** A whole response of thaw's own, when the guest has none to give. Only while the head is not out. */
  fail(status: number, text: string, headers: Readonly<Record<string, string>> = {}): void {
    this.#state = { kind: 'ended' };
    const body = Buffer.from(`${text}\n`);
    const own = { 'content-type': 'text/plain; charset=utf-8', 'content-length': String(body.length), ...headers };
    this.#response.writeHead(status, own);
    const request = this.#response.req;
    // With `connection: close` the client was not told to send its body.
    if (!hasBody(request) || request.readableEnded || headers['connection'] === 'close') {
      this.#response.end(body);
      return;
    }
    this.#response.write(body);
    endAfterBody(request, this.#response);
  }

  /**
   * Closes the connection in the middle of the response: the client must not take what it has for the whole. A response
   * that has ended is whole, though some of it may still be under way.
   */
  abort(): void {
    this.#leave();
    if (this.#response.writableEnded) return;
    this.#state = { kind: 'ended' };
    this.#cut();
  }

  /** Closes the connection, once the responses before this one have left. */
  #cut(): void {
    const response = this.#response;
    // Node would send what there is of it in its turn, and wait for the rest.
    if (response.socket === null) response.once('socket', (socket: Socket) => socket.destroy());
    response.destroy();
  }

  #closed(onGone: () => void): void {
    const isGone = this.#state.kind !== 'ended';
    this.#state = { kind: 'ended' };
    this.#pipe?.fail(CLOSED);
    if (isGone) onGone();
  }
}

/** Lines that are not sent where no trailers can come: Node throws at those that announce some (RFC 9110, section 6.6.2). */
const WHERE_NO_TRAILERS: readonly string[] = ['trailer'];
/** A 204 has no length, not even zero (RFC 9110, section 8.6). Guests pass them on from servers that say one. */
const WITH_NO_CONTENT: readonly string[] = ['trailer', 'content-length'];

/** The lines of a response behind which no trailers can come. */
function untrailed(status: number, fields: Fields): string[] {
  const omitted = status === 204 ? WITH_NO_CONTENT : WHERE_NO_TRAILERS;
  if (!omitted.some((name) => fields.has(name))) return [...fields.raw];
  return fields
    .entries()
    .filter(([name]) => !omitted.includes(name.toLowerCase()))
    .flat();
}

function rethrow(error: unknown): never {
  throw error;
}
