import type { Allowance } from './allowance.ts';
import { HostResource } from './handles.ts';
import { IncomingBody, OutgoingBody, OutgoingBodyPipe, type BodySource } from './http-body.ts';
import type { ErrorCode } from './http-error.ts';
import { Fields } from './http-fields.ts';
import { ERR, OK, ok, type Result, type Tagged } from './values.ts';

/** The messages of wasi:http/types as resources. Source: WASI proposals, wasi-http. */

export type Method = Tagged;
export type Scheme = Tagged;

/** The methods that WIT has a case for, as they stand in a request line: methods are case-sensitive. */
const METHODS: ReadonlyMap<string, Method> = new Map(
  ['get', 'head', 'post', 'put', 'delete', 'connect', 'options', 'trace', 'patch'].map((tag) => [
    tag.toUpperCase(),
    { tag },
  ]),
);
const METHOD_TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** `GET` → `{tag: 'get'}`; a method that WIT has no case for → `{tag: 'other', val}`. */
const methodOf = (text: string): Method => METHODS.get(text) ?? { tag: 'other', val: text };

export const methodText = (method: Method): string =>
  method.tag === 'other' ? String(method.val) : method.tag.toUpperCase();

/** The Content-Length that fields promise, or null when they have none or not one number. */
function promisedLength(fields: Fields): number | null {
  const values = fields.get('content-length');
  const [value] = values;
  return values.length === 1 && value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : null;
}

/** The head of a request that came in. */
export type RequestHead = {
  readonly method: string;
  readonly pathWithQuery: string;
  readonly scheme: 'HTTP' | 'HTTPS';
  readonly authority: string;
  /** Asked once at most, when the guest wants them. */
  readonly headers: Fields;
};

export class IncomingRequest extends HostResource {
  override readonly resource = 'wasi:http/types#incoming-request';
  readonly #head: RequestHead;
  #headers: Fields | null = null;
  readonly #source: BodySource;
  #consumed = false;

  constructor(head: RequestHead, source: BodySource) {
    super();
    this.#head = head;
    this.#source = source;
  }

  get method(): Method {
    return methodOf(this.#head.method);
  }

  get pathWithQuery(): string {
    return this.#head.pathWithQuery;
  }

  get scheme(): Scheme {
    return { tag: this.#head.scheme };
  }

  get authority(): string {
    return this.#head.authority;
  }

  get headers(): Fields {
    return (this.#headers ??= this.#head.headers);
  }

  consume(): Result<IncomingBody, undefined> {
    if (this.#consumed) return ERR;
    this.#consumed = true;
    return ok(new IncomingBody(this.#source));
  }
}

export class IncomingResponse extends HostResource {
  override readonly resource = 'wasi:http/types#incoming-response';
  readonly status: number;
  readonly headers: Fields;
  readonly #source: BodySource;
  #consumed = false;

  constructor(status: number, headers: Fields, source: BodySource) {
    super();
    this.status = status;
    this.headers = headers;
    this.#source = source;
  }

  consume(): Result<IncomingBody, undefined> {
    if (this.#consumed) return ERR;
    this.#consumed = true;
    return ok(new IncomingBody(this.#source));
  }

  override dispose(): void {
    if (!this.#consumed) this.#source.cancel();
  }
}

/** What outgoing requests and responses have in common: fields and one body. */
abstract class OutgoingMessage extends HostResource {
  readonly fields: Fields;
  readonly #sizeError: ErrorCode;
  /** What the message is counted against beside its fields, which may be those of a message that came in. */
  protected readonly allowance: Allowance;
  #body: OutgoingBodyPipe | null = null;

  constructor(fields: Fields, sizeError: ErrorCode, allowance: Allowance) {
    super();
    this.fields = fields.frozen();
    this.#sizeError = sizeError;
    this.allowance = allowance;
  }

  /** The body can be had once. */
  body(): Result<OutgoingBody, undefined> {
    if (this.#body !== null) return ERR;
    this.#body = new OutgoingBodyPipe(promisedLength(this.fields), this.#sizeError, this.allowance);
    return ok(new OutgoingBody(this.#body));
  }

  /** The pipe of the body, or null when the guest never asked for one: the body is empty. */
  get pipe(): OutgoingBodyPipe | null {
    return this.#body;
  }
}

export class OutgoingResponse extends OutgoingMessage {
  override readonly resource = 'wasi:http/types#outgoing-response';
  #status = 200;

  /** @param allowance of the guest that makes it */
  constructor(fields: Fields, allowance: Allowance = fields.allowance) {
    super(fields, { tag: 'HTTP-response-body-size' }, allowance);
  }

  get status(): number {
    return this.#status;
  }

  /** 1xx are not final responses, and HTTP has three-digit codes up to 599; others are refused. */
  setStatus(status: number): Result<undefined, undefined> {
    if (status < 200 || status > 599) return ERR;
    this.#status = status;
    return OK;
  }
}

/**
 * A name has 253 characters at most (RFC 1035, section 2.3.4), three times as many when each is percent-encoded, and a
 * port six. What is longer would only take time, the square of its length where it is not ASCII: 100 ms for 5,000.
 */
const MAX_AUTHORITY_LENGTH = 1024;

/** What the URL parser would take for a user, a path or a query is no authority. */
const isAuthority = (text: string): boolean =>
  text.length <= MAX_AUTHORITY_LENGTH && !/[\s/?#@\\]/.test(text) && URL.canParse(`http://${text}/`);

export class OutgoingRequest extends OutgoingMessage {
  override readonly resource = 'wasi:http/types#outgoing-request';
  method: Method = { tag: 'get' };
  pathWithQuery: string | undefined;
  scheme: Scheme | undefined;
  authority: string | undefined;

  /** @param allowance of the guest that makes it */
  constructor(fields: Fields, allowance: Allowance = fields.allowance) {
    super(fields, { tag: 'HTTP-request-body-size' }, allowance);
  }

  /** What was there before stays counted: to set these again and again is no use that should be cheap. */
  #keep(text: string | undefined): void {
    if (text !== undefined) this.allowance.take(text.length, 'a part of a request');
  }

  setMethod(method: Method): Result<undefined, undefined> {
    const text = methodText(method);
    if (!METHOD_TOKEN.test(text)) return ERR;
    this.#keep(text);
    this.method = method;
    return OK;
  }

  /** Refuses what could not stand in a request line. */
  setPathWithQuery(path: string | undefined): Result<undefined, undefined> {
    if (path !== undefined && !/^[\x21-\x7e]*$/.test(path)) return ERR;
    this.#keep(path);
    this.pathWithQuery = path;
    return OK;
  }

  setScheme(scheme: Scheme | undefined): Result<undefined, undefined> {
    if (scheme?.tag === 'other' && !/^[a-z][a-z0-9+.-]*$/i.test(String(scheme.val))) return ERR;
    if (scheme?.tag === 'other') this.#keep(String(scheme.val));
    this.scheme = scheme;
    return OK;
  }

  setAuthority(authority: string | undefined): Result<undefined, undefined> {
    if (authority !== undefined && !isAuthority(authority)) return ERR;
    this.#keep(authority);
    this.authority = authority;
    return OK;
  }
}

/** Durations in nanoseconds. */
export class RequestOptions extends HostResource {
  override readonly resource = 'wasi:http/types#request-options';
  connectTimeout: bigint | undefined;
  firstByteTimeout: bigint | undefined;
  betweenBytesTimeout: bigint | undefined;
}

export class ResponseOutparam extends HostResource {
  override readonly resource = 'wasi:http/types#response-outparam';
}
