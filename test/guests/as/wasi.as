/**
 * The functions of WASI 0.2.10 that the guest calls, as the canonical ABI lowers them: handles are i32, strings and
 * lists a pointer and a length, results of more than one value are written to `ret`.
 */

@external("wasi:http/types@0.2.10", "[constructor]fields")
export declare function newFields(): i32;

@external("wasi:http/types@0.2.10", "[method]fields.append")
export declare function fieldsAppend(self: i32, name: usize, nameLen: usize, value: usize, valueLen: usize, ret: usize): void;

/** The value is a list of lists of bytes: 8 bytes each, pointer and length. */
@external("wasi:http/types@0.2.10", "[method]fields.set")
export declare function fieldsSet(self: i32, name: usize, nameLen: usize, value: usize, valueLen: usize, ret: usize): void;

@external("wasi:http/types@0.2.10", "[method]fields.clone")
export declare function fieldsClone(self: i32): i32;

@external("wasi:http/types@0.2.10", "[resource-drop]fields")
export declare function dropFields(self: i32): void;

@external("wasi:http/types@0.2.10", "[method]incoming-request.path-with-query")
export declare function requestPath(self: i32, ret: usize): void;

@external("wasi:http/types@0.2.10", "[method]incoming-request.consume")
export declare function requestConsume(self: i32, ret: usize): void;

@external("wasi:http/types@0.2.10", "[resource-drop]incoming-request")
export declare function dropRequest(self: i32): void;

@external("wasi:http/types@0.2.10", "[method]incoming-body.stream")
export declare function incomingBodyStream(self: i32, ret: usize): void;

@external("wasi:http/types@0.2.10", "[static]incoming-body.finish")
export declare function incomingBodyFinish(self: i32): i32;

@external("wasi:http/types@0.2.10", "[resource-drop]future-trailers")
export declare function dropFutureTrailers(self: i32): void;

@external("wasi:http/types@0.2.10", "[constructor]outgoing-response")
export declare function newResponse(headers: i32): i32;

@external("wasi:http/types@0.2.10", "[method]outgoing-response.set-status-code")
export declare function responseSetStatus(self: i32, status: i32): i32;

@external("wasi:http/types@0.2.10", "[method]outgoing-response.body")
export declare function responseBody(self: i32, ret: usize): void;

@external("wasi:http/types@0.2.10", "[constructor]outgoing-request")
export declare function newRequest(headers: i32): i32;

@external("wasi:http/types@0.2.10", "[method]outgoing-request.set-path-with-query")
export declare function requestSetPath(self: i32, isSome: i32, path: usize, pathLen: usize): i32;

/** option<scheme>: the cases of scheme are 0 for HTTP, 1 for HTTPS, 2 for another, which has a name. */
@external("wasi:http/types@0.2.10", "[method]outgoing-request.set-scheme")
export declare function requestSetScheme(self: i32, isSome: i32, scheme: i32, name: usize, nameLen: usize): i32;

@external("wasi:http/types@0.2.10", "[method]outgoing-request.set-authority")
export declare function requestSetAuthority(self: i32, isSome: i32, authority: usize, authorityLen: usize): i32;

@external("wasi:http/types@0.2.10", "[method]outgoing-request.body")
export declare function requestBody(self: i32, ret: usize): void;

/** To `ret`: result<future-incoming-response, error-code>, the payload at 8. */
@external("wasi:http/outgoing-handler@0.2.10", "handle")
export declare function send(request: i32, hasOptions: i32, options: i32, ret: usize): void;

@external("wasi:http/types@0.2.10", "[method]outgoing-body.write")
export declare function outgoingBodyWrite(self: i32, ret: usize): void;

@external("wasi:http/types@0.2.10", "[static]outgoing-body.finish")
export declare function outgoingBodyFinish(self: i32, hasTrailers: i32, trailers: i32, ret: usize): void;

/** result<outgoing-response, error-code>: the case, then the response or what error-code flattens to. */
@external("wasi:http/types@0.2.10", "[static]response-outparam.set")
export declare function outparamSet(self: i32, isError: i32, response: i32, a: i32, b: i64, c: i32, d: i32, e: i32, f: i32): void;

@external("wasi:io/streams@0.2.10", "[method]input-stream.blocking-read")
export declare function streamRead(self: i32, len: u64, ret: usize): void;

@external("wasi:io/streams@0.2.10", "[resource-drop]input-stream")
export declare function dropInputStream(self: i32): void;

@external("wasi:io/streams@0.2.10", "[method]output-stream.blocking-write-and-flush")
export declare function streamWrite(self: i32, data: usize, len: usize, ret: usize): void;

@external("wasi:io/streams@0.2.10", "[resource-drop]output-stream")
export declare function dropOutputStream(self: i32): void;

@external("wasi:io/poll@0.2.10", "[method]pollable.block")
export declare function pollableBlock(self: i32): void;

@external("wasi:io/poll@0.2.10", "[resource-drop]pollable")
export declare function dropPollable(self: i32): void;

@external("wasi:io/poll@0.2.10", "poll")
export declare function poll(list: usize, len: usize, ret: usize): void;

@external("wasi:clocks/monotonic-clock@0.2.10", "now")
export declare function now(): u64;

@external("wasi:clocks/monotonic-clock@0.2.10", "subscribe-duration")
export declare function subscribeDuration(nanoseconds: u64): i32;

@external("wasi:random/random@0.2.10", "get-random-u64")
export declare function getRandomU64(): u64;

@external("wasi:random/random@0.2.10", "get-random-bytes")
export declare function getRandomBytes(len: u64, ret: usize): void;

@external("wasi:cli/stdout@0.2.10", "get-stdout")
export declare function getStdout(): i32;

@external("wasi:cli/exit@0.2.10", "exit")
export declare function exit(isError: i32): void;
