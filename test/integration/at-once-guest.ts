import { buildWat } from './wat-guest.ts';

/**
 * A guest that prints its path, a line, and answers with it. By the second character of the path:
 * - `/q…`: does nothing else, and so never waits
 * - `/l…`: the same, with 5,000 times the path's first 4 bytes before it
 * - `/w…`: waits 30 ms between printing and answering
 * - `/f<authority>`: sends a request there, after printing, and waits for its response
 * - `/a…`: answers, and waits 30 ms then
 */
const WAT = String.raw`
(module
  (import "wasi:http/types@0.2.10" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.10" "[method]incoming-request.path-with-query" (func $path (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-request.set-scheme"
    (func $set_scheme (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-request.set-authority"
    (func $set_authority (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[method]future-incoming-response.subscribe" (func $subscribe (param i32) (result i32)))
  (import "wasi:http/outgoing-handler@0.2.10" "handle" (func $send (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.10" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.10" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.10" "[method]output-stream.blocking-write-and-flush"
    (func $write_stream (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.10" "[resource-drop]output-stream" (func $drop_stream (param i32)))
  (import "wasi:io/poll@0.2.10" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.10" "subscribe-duration" (func $timer (param i64) (result i32)))
  (import "wasi:cli/stdout@0.2.10" "get-stdout" (func $stdout (result i32)))

  ;; Results are written at 256; the path lies at 4096, whatever is before it at 65536.
  (memory (export "memory") 4)
  (global $length (mut i32) (i32.const 0))
  (global $given (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $given))
    (global.set $given (i32.add (global.get $given) (local.get $size)))
    (local.get $at))

  ;; The path and a line feed, which stands where nothing has been written.
  (func $line (param $stream i32)
    (call $write_stream (local.get $stream) (i32.const 4096) (i32.add (global.get $length) (i32.const 1)) (i32.const 256)))

  (func $fetch
    (local $outgoing i32)
    (local.set $outgoing (call $request (call $fields)))
    (drop (call $set_scheme (local.get $outgoing) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
    (drop (call $set_authority (local.get $outgoing) (i32.const 1)
      (i32.const 4098) (i32.sub (global.get $length) (i32.const 2))))
    (call $send (local.get $outgoing) (i32.const 0) (i32.const 0) (i32.const 256))
    (if (i32.load8_u (i32.const 256)) (then (unreachable)))
    (call $block (call $subscribe (i32.load (i32.const 264)))))

  (func $much (param $stream i32)
    (local $at i32)
    (local.set $at (i32.const 65536))
    (loop $next
      (i32.store (local.get $at) (i32.load (i32.const 4096)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 85536))))
    (call $write_stream (local.get $stream) (i32.const 65536) (i32.const 20000) (i32.const 256)))

  (func $wait (call $block (call $timer (i64.const 30000000))))

  (func $is (param $kind i32) (result i32) (i32.eq (i32.load8_u (i32.const 4097)) (local.get $kind)))

  (func (export "wasi:http/incoming-handler@0.2.10#handle") (param $incoming i32) (param $out i32)
    (local $answer i32) (local $answer_body i32) (local $stream i32)
    (call $path (local.get $incoming) (i32.const 256))
    (global.set $length (i32.load (i32.const 264)))
    (i32.store8 (i32.add (i32.const 4096) (global.get $length)) (i32.const 10))
    (call $line (call $stdout))
    ;; w, f, l, a
    (if (call $is (i32.const 119)) (then (call $wait)))
    (if (call $is (i32.const 102)) (then (call $fetch)))
    (local.set $answer (call $response (call $fields)))
    (call $body (local.get $answer) (i32.const 256))
    (local.set $answer_body (i32.load (i32.const 260)))
    (call $write (local.get $answer_body) (i32.const 256))
    (local.set $stream (i32.load (i32.const 260)))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (if (call $is (i32.const 108)) (then (call $much (local.get $stream))))
    (call $line (local.get $stream))
    (call $drop_stream (local.get $stream))
    (call $finish (local.get $answer_body) (i32.const 0) (i32.const 0) (i32.const 256))
    (if (call $is (i32.const 97)) (then (call $wait)))))
`;

const WORLD = `
package thaw:guests;

world guest {
  import wasi:http/types@0.2.10;
  import wasi:http/outgoing-handler@0.2.10;
  import wasi:io/streams@0.2.10;
  import wasi:io/poll@0.2.10;
  import wasi:clocks/monotonic-clock@0.2.10;
  import wasi:cli/stdout@0.2.10;
  export wasi:http/incoming-handler@0.2.10;
}
`;

/** The guest as a component. */
export const buildPrinter = (): Promise<Uint8Array> => buildWat(WAT, WORLD);
