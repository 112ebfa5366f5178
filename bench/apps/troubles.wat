;; A core module that does what a request can do beside answering: /trap traps, /exit ends the instance, everything else is
;; answered with how often it was asked, which is once when every request begins with the same state.
(module
  (import "wasi:http/types@0.2.10" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.10" "[method]incoming-request.path-with-query" (func $path (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.10" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.10" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.10" "[resource-drop]incoming-request" (func $drop_request (param i32)))
  (import "wasi:io/streams@0.2.10" "[method]output-stream.blocking-write-and-flush"
    (func $write_stream (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.10" "[resource-drop]output-stream" (func $drop_stream (param i32)))
  (import "wasi:cli/exit@0.2.10" "exit" (func $exit (param i32)))

  ;; 64: a text of which the first byte counts requests. 256: results of calls. 4096: the heap of cabi_realloc.
  (memory (export "memory") 1)
  (data (i32.const 64) "0 asked\n")
  (global $heap (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    ;; at = heap rounded up to align
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  ;; The option<string> at 256 is the path; its second byte tells /trap and /exit.
  (func $trouble (param $request i32)
    (local $letter i32)
    (call $path (local.get $request) (i32.const 256))
    (if (i32.lt_u (i32.load (i32.const 264)) (i32.const 2)) (then (return)))
    (local.set $letter (i32.load8_u offset=1 (i32.load (i32.const 260))))
    (if (i32.eq (local.get $letter) (i32.const 116)) (then unreachable))
    (if (i32.eq (local.get $letter) (i32.const 101)) (then (call $exit (i32.const 1)))))

  (func (export "wasi:http/incoming-handler@0.2.10#handle") (param $request i32) (param $out i32)
    (local $answer i32) (local $answer_body i32) (local $stream i32)
    (call $trouble (local.get $request))
    (i32.store8 (i32.const 64) (i32.add (i32.load8_u (i32.const 64)) (i32.const 1)))
    (local.set $answer (call $response (call $fields)))
    (call $body (local.get $answer) (i32.const 256))
    (local.set $answer_body (i32.load (i32.const 260)))
    (call $write (local.get $answer_body) (i32.const 256))
    (local.set $stream (i32.load (i32.const 260)))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write_stream (local.get $stream) (i32.const 64) (i32.const 8) (i32.const 256))
    (call $drop_stream (local.get $stream))
    (call $finish (local.get $answer_body) (i32.const 0) (i32.const 0) (i32.const 256))
    (call $drop_request (local.get $request))))
