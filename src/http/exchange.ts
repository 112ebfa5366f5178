import type { IncomingMessage } from 'node:http';
import { isIPv6, type Socket } from 'node:net';
import { ThawError } from '../errors.ts';
import type { RouteConfig } from '../config/schema.ts';
import type { StartTimer } from '../metrics/phases.ts';
import { GuestLineWriter, type GuestLine } from '../log.ts';
import type { Slot } from '../runtime/slot.ts';
import type { Call, RequestLimits } from '../wasi/guest.ts';
import { Fields } from '../wasi/http-fields.ts';
import type { BodySource } from '../wasi/http-body.ts';
import type { ErrorCode } from '../wasi/http-error.ts';
import { IncomingRequest, type OutgoingResponse, type RequestHead } from '../wasi/http-messages.ts';
import type { FutureIncomingResponse, OutgoingExchange } from '../wasi/http-outgoing.ts';
import type { ResponseOutcome } from '../wasi/http-types.ts';
import { CLOSED } from '../wasi/io.ts';
import type { Result } from '../wasi/values.ts';
import { guestHeaders, type Target } from './admission.ts';
import { OutboundBudget } from './outbound-budget.ts';
import type { Outbound } from './outbound.ts';
import { EmptySource, ReadableSource } from './readable-source.ts';
import { hasBody } from './request-body.ts';
import { hasNoBody, type ResponseWriter } from './response-writer.ts';
import type { Found } from './router.ts';

export type ExchangeInput = {
  readonly request: IncomingMessage;
  readonly writer: ResponseWriter;
  readonly target: Target;
  readonly match: Found<RouteConfig>;
  readonly env: readonly (readonly [string, string])[];
  readonly outbound: Outbound;
  /** A line that the guest printed. */
  readonly onLine: (line: GuestLine) => void;
  readonly timer: StartTimer;
  /** The response head is there, or its place was taken by an error: the start is over. */
  readonly onAnswer: () => void;
  /** The guest has waited: calls `goOn` when it may run again. */
  readonly onResume: (goOn: () => void) => void;
  /** CPU time that the guest gets: the route's limit or less. */
  readonly cpuMs: number;
};

/** What a guest that runs at once has said so far. It counts when the guest has returned. */
type Trial = { answer: { readonly response: OutgoingResponse | null } | null; readonly lines: GuestLine[] };

/** One request while a guest serves it: what host functions see of the request, and what ends it. */
export class Exchange implements Call {
  readonly env: readonly (readonly [string, string])[];
  readonly limits: RequestLimits;
  readonly #input: ExchangeInput;
  /** While its guest runs or waits; afterwards the slot serves others. */
  #slot: Slot | null = null;
  #trial: Trial | null = null;
  /** Made with the first output: most requests have none. */
  #output: GuestLineWriter | null = null;
  /** Why the guest's answer is none. */
  #refusal: ThawError | null = null;
  #aborted: ThawError | null = null;
  /** Made with the first outbound request: most requests send none. */
  #outboundBudget: OutboundBudget | null = null;

  constructor(input: ExchangeInput) {
    this.#input = input;
    this.env = input.env;
    this.limits = { cpuMs: input.cpuMs, memoryBytes: input.match.route.limits.memoryBytes };
  }

  /**
   * Runs the guest to its end, which may be after the response.
   * @throws ThawError: a trap, an abort, or a guest that did not answer
   */
  async run(slot: Slot): Promise<void> {
    this.#slot = slot;
    try {
      const served = slot.serve(this, this.#incomingRequest());
      // Aborted before it began.
      if (this.#aborted !== null) slot.abort(this.#aborted);
      await served;
    } catch (error) {
      // A guest may trap over what the abort made of its streams: that is not the reason.
      throw this.#aborted ?? error;
    } finally {
      this.#output?.end();
      this.#slot = null;
    }
    this.#checkAnswered();
  }

  /**
   * Runs a guest that does not wait.
   * @returns false when it would have had to: then nothing has happened, and `run` must follow, on a clean slot
   * @throws ThawError as `run`
   */
  runAtOnce(slot: Slot): boolean {
    this.#slot = slot;
    const trial: Trial = { answer: null, lines: [] };
    this.#trial = trial;
    try {
      if (!slot.serveAtOnce(this, this.#incomingRequest())) {
        this.#forget();
        return false;
      }
    } catch (error) {
      this.#keep(trial);
      throw this.#aborted ?? error;
    } finally {
      this.#slot = null;
    }
    this.#keep(trial);
    this.#checkAnswered();
    return true;
  }

  /** What the guest has said counts. */
  #keep({ answer, lines }: Trial): void {
    this.#output?.end();
    this.#trial = null;
    for (const line of lines) this.#input.onLine(line);
    if (answer === null) return;
    this.#input.onAnswer();
    if (answer.response !== null) this.#input.writer.send(answer.response);
  }

  /** Nothing of what the guest has said counts. */
  #forget(): void {
    this.#trial = null;
    this.#output = null;
    this.#refusal = null;
    this.#aborted = null;
  }

  #checkAnswered(): void {
    if (this.#refusal !== null) throw this.#refusal;
    if (this.#input.writer.answered) return;
    throw this.#aborted ?? new ThawError('GUEST_NO_RESPONSE', 'the guest returned without setting a response');
  }

  /** Stops the guest at its next host call, or now if it waits in one. */
  abort(reason: ThawError): void {
    this.#aborted ??= reason;
    this.#slot?.abort(reason);
  }

  respond(outcome: ResponseOutcome): void {
    this.#input.timer.mark('guest');
    const response = this.#judged(outcome);
    if (this.#trial !== null) {
      this.#trial.answer = { response };
      return;
    }
    this.#input.onAnswer();
    if (response !== null) this.#input.writer.hold(response);
  }

  /** The response of the outcome, ready to be sent, or null when it is refused. */
  #judged(outcome: ResponseOutcome): OutgoingResponse | null {
    if (outcome.tag === 'err') {
      this.#refuse(`the guest answered with the error ${outcome.val.tag}`);
      return null;
    }
    const response = outcome.val;
    const isBodiless = this.#input.request.method === 'HEAD' || hasNoBody(response.status);
    const fault = lengthFault(response, isBodiless);
    if (fault !== null) {
      this.#refuse(fault);
      response.pipe?.fail(CLOSED);
      return null;
    }
    if (isBodiless) response.pipe?.expectNothing();
    if (this.#limitBody(response)) return response;
    this.#refusal = responseTooLarge(this.#input.match.route.limits.responseBodyBytes ?? 0);
    response.pipe?.fail(CLOSED);
    return null;
  }

  /** @returns false when the body is known to be too large */
  #limitBody({ pipe }: OutgoingResponse): boolean {
    const limit = this.#input.match.route.limits.responseBodyBytes;
    if (limit === null || pipe === null) return true;
    const error = { tag: 'HTTP-response-body-size', val: BigInt(limit) } as const;
    return pipe.limitTo(limit, error, () => this.abort(responseTooLarge(limit)));
  }

  #refuse(why: string): void {
    this.#refusal = new ThawError('GUEST_RESPONSE_INVALID', why);
  }

  fetch(exchange: OutgoingExchange): Result<FutureIncomingResponse, ErrorCode> {
    const { outbound, match } = this.#input;
    const { allowedOutboundHosts, limits } = match.route;
    this.#outboundBudget ??= new OutboundBudget(limits);
    return outbound.fetch({ allow: allowedOutboundHosts, budget: this.#outboundBudget }, exchange);
  }

  stdio(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    this.#output ??= new GuestLineWriter((line) => {
      if (this.#trial === null) this.#input.onLine(line);
      else this.#trial.lines.push(line);
    });
    this.#output.write(stream, bytes);
  }

  resume(goOn: () => void): void {
    this.#input.onResume(goOn);
  }

  #incomingRequest(): IncomingRequest {
    return new IncomingRequest(new ReceivedHead(this.#input), this.#body());
  }

  #body(): BodySource {
    const { request, match } = this.#input;
    if (!hasBody(request)) return new EmptySource();
    const limit = match.route.limits.requestBodyBytes;
    return new ReadableSource(request, {
      maxBytes: limit,
      tooLarge: { tag: 'HTTP-request-body-size', val: BigInt(limit) },
      onTooLarge: () => this.abort(bodyTooLarge(limit)),
      rawTrailers: () => guestHeaders(request.rawTrailers),
      errorCode: () => ({ tag: 'connection-terminated' }),
      // What the guest leaves unread, Node throws away after the response.
      onCancel: () => {},
    });
  }
}

/** The head of a request as its guest sees it. Its header fields are made when the guest asks for them. */
class ReceivedHead implements RequestHead {
  readonly scheme = 'HTTP';
  readonly #input: ExchangeInput;

  constructor(input: ExchangeInput) {
    this.#input = input;
  }

  get method(): string {
    return this.#input.request.method as string;
  }

  get pathWithQuery(): string {
    return this.#input.target.pathWithQuery;
  }

  get authority(): string {
    return this.#input.target.authority;
  }

  get headers(): Fields {
    return Fields.received([...guestHeaders(this.#input.request.rawHeaders), ...this.#nodeHeaders()]);
  }

  /** What the node tells the guest about the request, as Spin does. */
  #nodeHeaders(): string[] {
    const { match, request } = this.#input;
    const headers = ['thaw-matched-route', match.matchedRoute, 'thaw-client-addr', clientAddress(request.socket)];
    for (const [name, value] of Object.entries(match.params)) headers.push(`thaw-path-match-${name}`, encodeURI(value));
    return headers;
  }
}

/** Of what a guest sent, so many characters are told in a message: it may be 128 KiB. */
const MAX_SHOWN = 80;

/**
 * What is wrong with the Content-Length of a response, or null. Whoever reads the response finds its end by it: one that
 * is not exactly what is sent would let a guest put a second response behind the first (RFC 9112, section 6.3).
 */
function lengthFault({ fields, pipe }: OutgoingResponse, isBodiless: boolean): string | null {
  if (!fields.has('content-length')) return null;
  const values = fields.get('content-length');
  const [value] = values;
  if (value === undefined || values.length > 1 || !/^\d{1,15}$/.test(value)) {
    const shown = JSON.stringify(values.join(', ').slice(0, MAX_SHOWN));
    return `the Content-Length of the guest's response is ${shown}, which is not one number`;
  }
  const isMissing = pipe === null && !isBodiless && Number(value) > 0;
  return isMissing ? `the guest's response has a Content-Length of ${value}, and no body` : null;
}

export const bodyTooLarge = (limit: number): ThawError =>
  new ThawError('REQUEST_BODY_TOO_LARGE', `the request body is larger than limits.requestBody, ${limit} bytes`);

const responseTooLarge = (limit: number): ThawError =>
  new ThawError('RESPONSE_BODY_TOO_LARGE', `the response body is larger than limits.responseBody, ${limit} bytes`);

/** As an authority is written: `192.0.2.1:49152`, `[2001:db8::1]:49152`. IPv4 on an IPv6 listener is told as IPv4. */
export function clientAddress({
  remoteAddress = '',
  remotePort = 0,
}: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  const address = remoteAddress.replace(/^::ffff:(?=\d+\.)/, '');
  return `${isIPv6(address) ? `[${address}]` : address}:${remotePort}`;
}
