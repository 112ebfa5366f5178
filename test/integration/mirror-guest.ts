import { buildWat } from './wat-guest.ts';

/**
 * A guest that shows what a request became. By the second character of the path:
 * - `/m…`: the answer is path-with-query, authority and header fields, a line each
 * - `/c…`: the same, when the whole body has been read
 * - `/b…`: 64 MiB, in pieces, as fast as the client takes them
 * - `/s…`: tries to split the response by the value and by the name of a field; two digits, `1` where it was refused
 */
const WAT = String.raw`
(module
  (import "wasi:http/types@0.2.10" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.10" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]fields.entries" (func $entries (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]incoming-request.path-with-query" (func $path (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]incoming-request.authority" (func $authority (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]incoming-request.headers" (func $headers (param i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[method]incoming-request.consume" (func $consume (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]incoming-body.stream" (func $stream (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.10" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.10" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
  (import "wasi:io/streams@0.2.10" "[method]output-stream.blocking-write-and-flush"
    (func $write_stream (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.10" "[resource-drop]output-stream" (func $drop_stream (param i32)))

  (memory (export "memory") 32)
  ;; Results are written at 256; a line is put together at 65536, and what the host gives lies from 131072 on.
  (data (i32.const 16) "x-a")
  (data (i32.const 32) "a\0d\0ax-smuggled: 1")
  (data (i32.const 64) "x\0d\0ax-smuggled")
  (data (i32.const 96) "1")
  (global $heap (mut i32) (i32.const 131072))
  (global $line (mut i32) (i32.const 65536))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func $byte (param $value i32)
    (i32.store8 (global.get $line) (local.get $value))
    (global.set $line (i32.add (global.get $line) (i32.const 1))))

  (func $text (param $at i32) (param $length i32)
    (memory.copy (global.get $line) (local.get $at) (local.get $length))
    (global.set $line (i32.add (global.get $line) (local.get $length))))

  (func $mirror (param $request i32)
    (local $entry i32) (local $end i32)
    (call $path (local.get $request) (i32.const 256))
    (call $text (i32.load (i32.const 260)) (i32.load (i32.const 264)))
    (call $byte (i32.const 10))
    (call $authority (local.get $request) (i32.const 256))
    (call $text (i32.load (i32.const 260)) (i32.load (i32.const 264)))
    (call $byte (i32.const 10))
    (call $entries (call $headers (local.get $request)) (i32.const 256))
    (local.set $entry (i32.load (i32.const 256)))
    (local.set $end (i32.add (local.get $entry) (i32.mul (i32.load (i32.const 260)) (i32.const 16))))
    (loop $next
      (if (i32.lt_u (local.get $entry) (local.get $end))
        (then
          (call $text (i32.load (local.get $entry)) (i32.load offset=4 (local.get $entry)))
          (call $byte (i32.const 58))
          (call $text (i32.load offset=8 (local.get $entry)) (i32.load offset=12 (local.get $entry)))
          (call $byte (i32.const 10))
          (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
          (br $next)))))

  (func $read_all (param $request i32)
    (local $input i32)
    (call $consume (local.get $request) (i32.const 256))
    (call $stream (i32.load (i32.const 260)) (i32.const 256))
    (local.set $input (i32.load (i32.const 260)))
    (loop $next
      (call $read (local.get $input) (i64.const 4096) (i32.const 256))
      (br_if $next (i32.eqz (i32.load8_u (i32.const 256))))))

  (func $split (param $fields i32)
    (call $append (local.get $fields) (i32.const 16) (i32.const 3) (i32.const 32) (i32.const 16) (i32.const 256))
    (call $byte (i32.add (i32.const 48) (i32.load8_u (i32.const 256))))
    (call $append (local.get $fields) (i32.const 64) (i32.const 13) (i32.const 96) (i32.const 1) (i32.const 256))
    (call $byte (i32.add (i32.const 48) (i32.load8_u (i32.const 256)))))

  (func (export "wasi:http/incoming-handler@0.2.10#handle") (param $request i32) (param $out i32)
    (local $kind i32) (local $given i32) (local $answer i32) (local $answer_body i32) (local $output i32) (local $left i32)
    (call $path (local.get $request) (i32.const 256))
    (local.set $kind (i32.load8_u offset=1 (i32.load (i32.const 260))))
    (local.set $given (call $fields))
    (if (i32.eq (local.get $kind) (i32.const 99)) (then (call $read_all (local.get $request))))
    (if (i32.eq (local.get $kind) (i32.const 115))
      (then (call $split (local.get $given)))
      (else (call $mirror (local.get $request))))
    (local.set $answer (call $response (local.get $given)))
    (call $body (local.get $answer) (i32.const 256))
    (local.set $answer_body (i32.load (i32.const 260)))
    (call $write (local.get $answer_body) (i32.const 256))
    (local.set $output (i32.load (i32.const 260)))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write_stream (local.get $output) (i32.const 65536)
      (i32.sub (global.get $line) (i32.const 65536)) (i32.const 256))
    (if (i32.eq (local.get $kind) (i32.const 98))
      (then
        (local.set $left (i32.const 16384))
        (loop $next
          (call $write_stream (local.get $output) (i32.const 65536) (i32.const 4096) (i32.const 256))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $next (i32.and (i32.ne (local.get $left) (i32.const 0)) (i32.eqz (i32.load8_u (i32.const 256))))))))
    (call $drop_stream (local.get $output))
    (call $finish (local.get $answer_body) (i32.const 0) (i32.const 0) (i32.const 256))))
`;

const WORLD = `
package thaw:guests;

world guest {
  import wasi:http/types@0.2.10;
  import wasi:io/streams@0.2.10;
  export wasi:http/incoming-handler@0.2.10;
}
`;

/** The guest as a component. */
export const buildMirror = (): Promise<Uint8Array> => buildWat(WAT, WORLD);
