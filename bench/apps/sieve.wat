;; A core module without an engine: what a compiler of Rust or C would make, small enough to read. `initialise` finds the
;; first 20,000 primes and keeps them in a table; a request is answered with the last of them.
(module
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

  ;; 0: text and results of calls. 4096: the heap of cabi_realloc. 65536: the table, 4 bytes an entry, up to 145536.
  ;; 196608: a byte for each candidate, up to the 20,000th prime, 224737. Beyond: 1 MiB in all, as compilers begin with.
  (memory (export "memory") 16)
  (data (i32.const 64) "prime 20000 is ")
  (global $heap (mut i32) (i32.const 4096))
  (global $entries (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    ;; at = heap rounded up to align
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  ;; The sieve of Eratosthenes.
  (func (export "initialise")
    (local $candidate i32) (local $multiple i32)
    (local.set $candidate (i32.const 2))
    (loop $next
      (if (i32.eqz (i32.load8_u offset=196608 (local.get $candidate)))
        (then
          (i32.store offset=65536 (i32.shl (global.get $entries) (i32.const 2)) (local.get $candidate))
          (global.set $entries (i32.add (global.get $entries) (i32.const 1)))
          (local.set $multiple (i32.shl (local.get $candidate) (i32.const 1)))
          (block $struck
            (loop $strike
              (br_if $struck (i32.gt_u (local.get $multiple) (i32.const 224737)))
              (i32.store8 offset=196608 (local.get $multiple) (i32.const 1))
              (local.set $multiple (i32.add (local.get $multiple) (local.get $candidate)))
              (br $strike)))))
      (local.set $candidate (i32.add (local.get $candidate) (i32.const 1)))
      (br_if $next (i32.le_u (local.get $candidate) (i32.const 224737)))))

  ;; Writes a number and a line feed so that they end at 128. Returns where the number begins.
  (func $decimal (param $number i32) (result i32)
    (local $at i32)
    (i32.store8 (i32.const 127) (i32.const 10))
    (local.set $at (i32.const 127))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digit (local.get $number)))
    (local.get $at))

  (func (export "wasi:http/incoming-handler@0.2.10#handle") (param $request i32) (param $out i32)
    (local $answer i32) (local $answer_body i32) (local $stream i32) (local $number i32)
    (local.set $number
      (call $decimal
        (i32.load offset=65536 (i32.shl (i32.sub (global.get $entries) (i32.const 1)) (i32.const 2)))))
    (local.set $answer (call $response (call $fields)))
    (call $body (local.get $answer) (i32.const 256))
    (local.set $answer_body (i32.load (i32.const 260)))
    (call $write (local.get $answer_body) (i32.const 256))
    (local.set $stream (i32.load (i32.const 260)))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write_stream (local.get $stream) (i32.const 64) (i32.const 15) (i32.const 256))
    (call $write_stream (local.get $stream)
      (local.get $number) (i32.sub (i32.const 128) (local.get $number)) (i32.const 256))
    (call $drop_stream (local.get $stream))
    (call $finish (local.get $answer_body) (i32.const 0) (i32.const 0) (i32.const 256))
    (call $drop_request (local.get $request))))
