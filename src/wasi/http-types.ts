import { Pollable, type IoError } from './io.ts';
import { Fields } from './http-fields.ts';
import type { FutureTrailers, IncomingBody, OutgoingBody } from './http-body.ts';
import type { ErrorCode } from './http-error.ts';
import type { FutureIncomingResponse } from './http-outgoing.ts';
import {
  OutgoingRequest,
  OutgoingResponse,
  RequestOptions,
  type IncomingRequest,
  type IncomingResponse,
  type Method,
  type ResponseOutparam,
  type Scheme,
} from './http-messages.ts';
import type { HostInterface } from './host.ts';
import type { HostFunction } from './lowered.ts';
import { OK, type Result } from './values.ts';

/** wasi:http/types@0.2 as the guest imports it. Source: WASI proposals, wasi-http, 0.2.0 to 0.2.12. */

/** What a guest answered with: a response, or the error that it wants to be reported. */
export type ResponseOutcome = Result<OutgoingResponse, ErrorCode>;

const WIT = `
  use wasi:clocks/monotonic-clock.{duration};
  use wasi:io/streams.{input-stream, output-stream};
  use wasi:io/error.{error};
  use wasi:io/poll.{pollable};

  variant method { get, head, post, put, delete, connect, options, trace, patch, other(string) }
  variant scheme { HTTP, HTTPS, other(string) }
  record DNS-error-payload { rcode: option<string>, info-code: option<u16> }
  record TLS-alert-received-payload { alert-id: option<u8>, alert-message: option<string> }
  record field-size-payload { field-name: option<string>, field-size: option<u32> }
  variant error-code {
    DNS-timeout, DNS-error(DNS-error-payload), destination-not-found, destination-unavailable,
    destination-IP-prohibited, destination-IP-unroutable, connection-refused, connection-terminated,
    connection-timeout, connection-read-timeout, connection-write-timeout, connection-limit-reached,
    TLS-protocol-error, TLS-certificate-error, TLS-alert-received(TLS-alert-received-payload),
    HTTP-request-denied, HTTP-request-length-required, HTTP-request-body-size(option<u64>),
    HTTP-request-method-invalid, HTTP-request-URI-invalid, HTTP-request-URI-too-long,
    HTTP-request-header-section-size(option<u32>), HTTP-request-header-size(option<field-size-payload>),
    HTTP-request-trailer-section-size(option<u32>), HTTP-request-trailer-size(field-size-payload),
    HTTP-response-incomplete, HTTP-response-header-section-size(option<u32>),
    HTTP-response-header-size(field-size-payload), HTTP-response-body-size(option<u64>),
    HTTP-response-trailer-section-size(option<u32>), HTTP-response-trailer-size(field-size-payload),
    HTTP-response-transfer-coding(option<string>), HTTP-response-content-coding(option<string>),
    HTTP-response-timeout, HTTP-upgrade-failed, HTTP-protocol-error, loop-detected, configuration-error,
    internal-error(option<string>),
  }
  http-error-code: func(err: borrow<error>) -> option<error-code>;
  variant header-error { invalid-syntax, forbidden, immutable }
  type field-name = string;
  type field-value = list<u8>;
  type status-code = u16;

  resource fields {
    constructor();
    from-list: static func(entries: list<tuple<field-name, field-value>>) -> result<fields, header-error>;
    get: func(name: field-name) -> list<field-value>;
    has: func(name: field-name) -> bool;
    set: func(name: field-name, value: list<field-value>) -> result<_, header-error>;
    delete: func(name: field-name) -> result<_, header-error>;
    append: func(name: field-name, value: field-value) -> result<_, header-error>;
    entries: func() -> list<tuple<field-name, field-value>>;
    clone: func() -> fields;
  }
  resource incoming-request {
    method: func() -> method;
    path-with-query: func() -> option<string>;
    scheme: func() -> option<scheme>;
    authority: func() -> option<string>;
    headers: func() -> fields;
    consume: func() -> result<incoming-body>;
  }
  resource outgoing-request {
    constructor(headers: fields);
    body: func() -> result<outgoing-body>;
    method: func() -> method;
    set-method: func(method: method) -> result;
    path-with-query: func() -> option<string>;
    set-path-with-query: func(path-with-query: option<string>) -> result;
    scheme: func() -> option<scheme>;
    set-scheme: func(scheme: option<scheme>) -> result;
    authority: func() -> option<string>;
    set-authority: func(authority: option<string>) -> result;
    headers: func() -> fields;
  }
  resource request-options {
    constructor();
    connect-timeout: func() -> option<duration>;
    set-connect-timeout: func(duration: option<duration>) -> result;
    first-byte-timeout: func() -> option<duration>;
    set-first-byte-timeout: func(duration: option<duration>) -> result;
    between-bytes-timeout: func() -> option<duration>;
    set-between-bytes-timeout: func(duration: option<duration>) -> result;
  }
  resource response-outparam {
    set: static func(param: response-outparam, response: result<outgoing-response, error-code>);
  }
  resource incoming-response {
    status: func() -> status-code;
    headers: func() -> fields;
    consume: func() -> result<incoming-body>;
  }
  resource incoming-body {
    %stream: func() -> result<input-stream>;
    finish: static func(this: incoming-body) -> future-trailers;
  }
  resource future-trailers {
    subscribe: func() -> pollable;
    get: func() -> option<result<result<option<fields>, error-code>>>;
  }
  resource outgoing-response {
    constructor(headers: fields);
    status-code: func() -> status-code;
    set-status-code: func(status-code: status-code) -> result;
    headers: func() -> fields;
    body: func() -> result<outgoing-body>;
  }
  resource outgoing-body {
    write: func() -> result<output-stream>;
    finish: static func(this: outgoing-body, trailers: option<fields>) -> result<_, error-code>;
  }
  resource future-incoming-response {
    subscribe: func() -> pollable;
    get: func() -> option<result<result<incoming-response, error-code>>>;
  }`;

const isErrorCode = (cause: unknown): cause is ErrorCode =>
  typeof cause === 'object' && cause !== null && 'tag' in cause;

const fieldsFuncs: Record<string, HostFunction> = {
  '[constructor]fields': (guest) => Fields.empty(guest.allowance),
  '[static]fields.from-list': (guest, list: [string, Uint8Array][]) => Fields.fromList(list, guest.allowance),
  '[method]fields.get': (_, self: Fields, name: string) => self.get(name),
  '[method]fields.has': (_, self: Fields, name: string) => self.has(name),
  '[method]fields.set': (_, self: Fields, name: string, values: Uint8Array[]) => self.set(name, values),
  '[method]fields.delete': (_, self: Fields, name: string) => self.delete(name),
  '[method]fields.append': (_, self: Fields, name: string, value: Uint8Array) => self.append(name, value),
  '[method]fields.entries': (_, self: Fields) => self.entries(),
  '[method]fields.clone': (guest, self: Fields) => self.clone(guest.allowance),
};

const incomingFuncs: Record<string, HostFunction> = {
  '[method]incoming-request.method': (_, self: IncomingRequest) => self.method,
  '[method]incoming-request.path-with-query': (_, self: IncomingRequest) => self.pathWithQuery,
  '[method]incoming-request.scheme': (_, self: IncomingRequest) => self.scheme,
  '[method]incoming-request.authority': (_, self: IncomingRequest) => self.authority,
  '[method]incoming-request.headers': (_, self: IncomingRequest) => self.headers.frozen(),
  '[method]incoming-request.consume': (_, self: IncomingRequest) => self.consume(),
  '[method]incoming-response.status': (_, self: IncomingResponse) => self.status,
  '[method]incoming-response.headers': (_, self: IncomingResponse) => self.headers.frozen(),
  '[method]incoming-response.consume': (_, self: IncomingResponse) => self.consume(),
  '[method]incoming-body.stream': (_, self: IncomingBody) => self.stream(),
  '[static]incoming-body.finish': (_, self: IncomingBody) => self.finish(),
  '[method]future-trailers.subscribe': (_, self: FutureTrailers) => new Pollable(self),
  '[method]future-trailers.get': (_, self: FutureTrailers) => self.get(),
  '[method]future-incoming-response.subscribe': (_, self: FutureIncomingResponse) => new Pollable(self),
  '[method]future-incoming-response.get': (_, self: FutureIncomingResponse) => self.get(),
};

const outgoingFuncs: Record<string, HostFunction> = {
  '[constructor]outgoing-request': (guest, headers: Fields) => new OutgoingRequest(headers, guest.allowance),
  '[method]outgoing-request.body': (_, self: OutgoingRequest) => self.body(),
  '[method]outgoing-request.method': (_, self: OutgoingRequest) => self.method,
  '[method]outgoing-request.set-method': (_, self: OutgoingRequest, method: Method) => self.setMethod(method),
  '[method]outgoing-request.path-with-query': (_, self: OutgoingRequest) => self.pathWithQuery,
  '[method]outgoing-request.set-path-with-query': (_, self: OutgoingRequest, path?: string) =>
    self.setPathWithQuery(path),
  '[method]outgoing-request.scheme': (_, self: OutgoingRequest) => self.scheme,
  '[method]outgoing-request.set-scheme': (_, self: OutgoingRequest, scheme?: Scheme) => self.setScheme(scheme),
  '[method]outgoing-request.authority': (_, self: OutgoingRequest) => self.authority,
  '[method]outgoing-request.set-authority': (_, self: OutgoingRequest, authority?: string) =>
    self.setAuthority(authority),
  '[method]outgoing-request.headers': (_, self: OutgoingRequest) => self.fields.frozen(),
  '[constructor]outgoing-response': (guest, headers: Fields) => new OutgoingResponse(headers, guest.allowance),
  '[method]outgoing-response.status-code': (_, self: OutgoingResponse) => self.status,
  '[method]outgoing-response.set-status-code': (_, self: OutgoingResponse, status: number) => self.setStatus(status),
  '[method]outgoing-response.headers': (_, self: OutgoingResponse) => self.fields.frozen(),
  '[method]outgoing-response.body': (_, self: OutgoingResponse) => self.body(),
  '[method]outgoing-body.write': (_, self: OutgoingBody) => self.write(),
  '[static]outgoing-body.finish': (_, self: OutgoingBody, trailers?: Fields) => self.finish(trailers),
  '[static]response-outparam.set': (guest, _param: ResponseOutparam, outcome: ResponseOutcome) =>
    guest.call.respond(outcome),
};

type Timeout = 'connectTimeout' | 'firstByteTimeout' | 'betweenBytesTimeout';

const timeoutFuncs = (name: string, key: Timeout): Record<string, HostFunction> => ({
  [`[method]request-options.${name}`]: (_, self: RequestOptions) => self[key],
  [`[method]request-options.set-${name}`]: (_, self: RequestOptions, duration?: bigint) => {
    self[key] = duration;
    return OK;
  },
});

export const httpTypes: HostInterface = {
  name: 'wasi:http/types',
  wit: WIT,
  funcs: {
    'http-error-code': (_, error: IoError) => (isErrorCode(error.cause) ? error.cause : undefined),
    ...fieldsFuncs,
    ...incomingFuncs,
    ...outgoingFuncs,
    '[constructor]request-options': () => new RequestOptions(),
    ...timeoutFuncs('connect-timeout', 'connectTimeout'),
    ...timeoutFuncs('first-byte-timeout', 'firstByteTimeout'),
    ...timeoutFuncs('between-bytes-timeout', 'betweenBytesTimeout'),
  },
};
