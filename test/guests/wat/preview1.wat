;; A core module of the old kind: it prints through wasi_snapshot_preview1, so that making a component of it takes the
;; adapter. Answers every request with a fixed text.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.10" "[constructor]fields" (func $fields (result i32)))
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

  ;; The adapter asks cabi_realloc for 64 KiB of its own.
  (memory (export "memory") 3)
  (data (i32.const 16) "printed by fd_write\n")
  (data (i32.const 64) "answered by preview1\n")
  ;; The iovec of fd_write: pointer and length.
  (data (i32.const 128) "\10\00\00\00\14\00\00\00")
  ;; Results are written at 256; memory from 4096 on is given to the host and never taken back.
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

  (func (export "wasi:http/incoming-handler@0.2.10#handle") (param $request i32) (param $out i32)
    (local $answer i32) (local $answer_body i32) (local $stream i32)
    ;; to file descriptor 1, one iovec at 128, bytes written at 256
    (drop (call $fd_write (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 256)))
    (local.set $answer (call $response (call $fields)))
    (call $body (local.get $answer) (i32.const 256))
    (local.set $answer_body (i32.load (i32.const 260)))
    (call $write (local.get $answer_body) (i32.const 256))
    (local.set $stream (i32.load (i32.const 260)))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write_stream (local.get $stream) (i32.const 64) (i32.const 21) (i32.const 256))
    (call $drop_stream (local.get $stream))
    (call $finish (local.get $answer_body) (i32.const 0) (i32.const 0) (i32.const 256))
    (call $drop_request (local.get $request))))
