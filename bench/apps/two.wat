;; A component whose handler does not own its memory: $env has memory and cabi_realloc, $app imports the memory and has
;; the code. Dynamically linked guests have this shape. /counter answers how often it was called, from a global of $app;
;; everything else has a fixed answer. The line marked @tableset is filled in by the builder of the guest tableset.
(component $two
  (type $error-interface (instance (export "error" (type (sub resource)))))
  (import "wasi:io/error@0.2.10" (instance $io-error (type $error-interface)))
  (alias export $io-error "error" (type $error))

  (type $streams-interface
    (instance
      (export "output-stream" (type $stream (sub resource)))
      (alias outer $two $error (type $outer-error))
      (export "error" (type $error (eq $outer-error)))
      (type $own-error (own $error))
      (type $stream-error' (variant (case "last-operation-failed" $own-error) (case "closed")))
      (export "stream-error" (type $stream-error (eq $stream-error')))
      (type $self (borrow $stream))
      (type $contents (list u8))
      (type $written (result (error $stream-error)))
      (export "[method]output-stream.blocking-write-and-flush"
        (func (param "self" $self) (param "contents" $contents) (result $written)))))
  (import "wasi:io/streams@0.2.10" (instance $streams (type $streams-interface)))
  (alias export $streams "output-stream" (type $output-stream))

  (type $types-interface
    (instance
      (export "fields" (type $fields (sub resource)))
      (export "headers" (type $headers (eq $fields)))
      (export "trailers" (type $trailers (eq $fields)))
      (export "incoming-request" (type $request (sub resource)))
      (export "outgoing-response" (type $response (sub resource)))
      (export "outgoing-body" (type $body (sub resource)))
      (export "response-outparam" (type $outparam (sub resource)))
      (alias outer $two $output-stream (type $outer-stream))
      (export "output-stream" (type $stream (eq $outer-stream)))

      (type $text (option string))
      (type $small (option u16))
      (type $dns' (record (field "rcode" $text) (field "info-code" $small)))
      (export "DNS-error-payload" (type $dns (eq $dns')))
      (type $tiny (option u8))
      (type $tls' (record (field "alert-id" $tiny) (field "alert-message" $text)))
      (export "TLS-alert-received-payload" (type $tls (eq $tls')))
      (type $number (option u32))
      (type $field-size' (record (field "field-name" $text) (field "field-size" $number)))
      (export "field-size-payload" (type $field-size (eq $field-size')))
      (type $size (option u64))
      (type $some-field-size (option $field-size))
      (type $error-code'
        (variant
          (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found") (case "destination-unavailable")
          (case "destination-IP-prohibited") (case "destination-IP-unroutable") (case "connection-refused")
          (case "connection-terminated") (case "connection-timeout") (case "connection-read-timeout")
          (case "connection-write-timeout") (case "connection-limit-reached") (case "TLS-protocol-error")
          (case "TLS-certificate-error") (case "TLS-alert-received" $tls) (case "HTTP-request-denied")
          (case "HTTP-request-length-required") (case "HTTP-request-body-size" $size)
          (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
          (case "HTTP-request-header-section-size" $number) (case "HTTP-request-header-size" $some-field-size)
          (case "HTTP-request-trailer-section-size" $number) (case "HTTP-request-trailer-size" $field-size)
          (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" $number)
          (case "HTTP-response-header-size" $field-size) (case "HTTP-response-body-size" $size)
          (case "HTTP-response-trailer-section-size" $number) (case "HTTP-response-trailer-size" $field-size)
          (case "HTTP-response-transfer-coding" $text) (case "HTTP-response-content-coding" $text)
          (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error")
          (case "loop-detected") (case "configuration-error") (case "internal-error" $text)))
      (export "error-code" (type $error-code (eq $error-code')))

      (type $own-fields (own $fields))
      (type $own-headers (own $headers))
      (type $own-trailers (own $trailers))
      (type $own-response (own $response))
      (type $own-body (own $body))
      (type $own-outparam (own $outparam))
      (type $own-stream (own $stream))
      (type $this-request (borrow $request))
      (type $this-response (borrow $response))
      (type $this-body (borrow $body))
      (type $got-body (result $own-body))
      (type $got-stream (result $own-stream))
      (type $answer (result $own-response (error $error-code)))
      (type $some-trailers (option $own-trailers))
      (type $finished (result (error $error-code)))
      (export "[constructor]fields" (func (result $own-fields)))
      (export "[method]incoming-request.path-with-query" (func (param "self" $this-request) (result $text)))
      (export "[constructor]outgoing-response" (func (param "headers" $own-headers) (result $own-response)))
      (export "[method]outgoing-response.body" (func (param "self" $this-response) (result $got-body)))
      (export "[method]outgoing-body.write" (func (param "self" $this-body) (result $got-stream)))
      (export "[static]outgoing-body.finish"
        (func (param "this" $own-body) (param "trailers" $some-trailers) (result $finished)))
      (export "[static]response-outparam.set" (func (param "param" $own-outparam) (param "response" $answer)))))
  (import "wasi:http/types@0.2.10" (instance $types (type $types-interface)))
  (alias export $types "incoming-request" (type $incoming-request))
  (alias export $types "response-outparam" (type $response-outparam))

  (core module $Env
    (memory (export "memory") 1)
    ;; Below 4096 is $app's.
    (global $heap (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))

  (core module $App
    (import "env" "memory" (memory 1))
    (import "types" "fields" (func $fields (result i32)))
    (import "types" "path" (func $path (param i32 i32)))
    (import "types" "response" (func $response (param i32) (result i32)))
    (import "types" "body" (func $body (param i32 i32)))
    (import "types" "write" (func $write (param i32 i32)))
    (import "types" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "types" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "types" "drop-request" (func $drop_request (param i32)))
    (import "streams" "write" (func $write_stream (param i32 i32 i32 i32)))
    (import "streams" "drop" (func $drop_stream (param i32)))

    (data (i32.const 64) "two modules, one memory\n")
    (global $count (mut i32) (i32.const 0))
    (table $calls 2 funcref)
    (elem (table $calls) (i32.const 0) func $fixed $count)

    ;; What to answer: where it is and how long it is. Results of calls are written at 256.
    (func $fixed (result i32 i32) (i32.const 64) (i32.const 24))
    (func $count (result i32 i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      ;; a decimal digit and a line feed
      (i32.store8 (i32.const 128) (i32.add (i32.const 48) (i32.rem_u (global.get $count) (i32.const 10))))
      (i32.store8 (i32.const 129) (i32.const 10))
      (i32.const 128) (i32.const 2))

    ;; Whether the option<string> at 256 is "/counter".
    (func $is_counter (result i32)
      (if (i32.eqz (i32.load8_u (i32.const 256))) (then (return (i32.const 0))))
      (if (i32.ne (i32.load (i32.const 264)) (i32.const 8)) (then (return (i32.const 0))))
      (i64.eq (i64.load (i32.load (i32.const 260))) (i64.const 0x7265746e756f632f)))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $answer i32) (local $answer_body i32) (local $stream i32) (local $at i32) (local $length i32)
      (call $path (local.get $request) (i32.const 256))
      (call_indirect (result i32 i32) (call $is_counter))
      (local.set $length)
      (local.set $at)
      ;; @tableset
      (local.set $answer (call $response (call $fields)))
      (call $body (local.get $answer) (i32.const 256))
      (local.set $answer_body (i32.load (i32.const 260)))
      (call $write (local.get $answer_body) (i32.const 256))
      (local.set $stream (i32.load (i32.const 260)))
      (call $set (local.get $out) (i32.const 0) (local.get $answer)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $write_stream (local.get $stream) (local.get $at) (local.get $length) (i32.const 256))
      (call $drop_stream (local.get $stream))
      (call $finish (local.get $answer_body) (i32.const 0) (i32.const 0) (i32.const 256))
      (call $drop_request (local.get $request))))

  (core instance $env (instantiate $Env))
  (alias core export $env "memory" (core memory $memory))
  (alias core export $env "cabi_realloc" (core func $realloc))

  (core func $fields (canon lower (func $types "[constructor]fields")))
  (core func $path
    (canon lower (func $types "[method]incoming-request.path-with-query") (memory $memory) (realloc $realloc)))
  (core func $response (canon lower (func $types "[constructor]outgoing-response")))
  (core func $body (canon lower (func $types "[method]outgoing-response.body") (memory $memory)))
  (core func $write (canon lower (func $types "[method]outgoing-body.write") (memory $memory)))
  (core func $finish
    (canon lower (func $types "[static]outgoing-body.finish") (memory $memory) (realloc $realloc)))
  (core func $set
    (canon lower (func $types "[static]response-outparam.set") (memory $memory)))
  (core func $drop-request (canon resource.drop $incoming-request))
  (core func $write-stream
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $drop-stream (canon resource.drop $output-stream))

  (core instance $app
    (instantiate $App
      (with "env" (instance $env))
      (with "types" (instance
        (export "fields" (func $fields))
        (export "path" (func $path))
        (export "response" (func $response))
        (export "body" (func $body))
        (export "write" (func $write))
        (export "finish" (func $finish))
        (export "set" (func $set))
        (export "drop-request" (func $drop-request))))
      (with "streams" (instance
        (export "write" (func $write-stream))
        (export "drop" (func $drop-stream))))))

  (type $own-request (own $incoming-request))
  (type $own-outparam (own $response-outparam))
  (func $handle (param "request" $own-request) (param "response-out" $own-outparam)
    (canon lift (core func $app "handle")))

  ;; An instance that exports functions with resources has to export them through a component of its own.
  (component $Handler
    (import "incoming-request" (type $request (sub resource)))
    (import "response-outparam" (type $outparam (sub resource)))
    (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))))
    (export $exported-request "incoming-request" (type $request))
    (export $exported-outparam "response-outparam" (type $outparam))
    (export "handle" (func $handle)
      (func (param "request" (own $exported-request)) (param "response-out" (own $exported-outparam)))))
  (instance $handler
    (instantiate $Handler
      (with "incoming-request" (type $incoming-request))
      (with "response-outparam" (type $response-outparam))
      (with "handle" (func $handle))))
  (export "wasi:http/incoming-handler@0.2.10" (instance $handler)))
