;; A component whose handler waits three seconds and then returns without an answer.
(component
  (type $poll-interface
    (instance
      (export "pollable" (type $pollable (sub resource)))
      (type $this (borrow $pollable))
      (export "[method]pollable.block" (func (param "self" $this)))))
  (import "wasi:io/poll@0.2.10" (instance $poll (type $poll-interface)))
  (alias export $poll "pollable" (type $pollable))

  (type $clock-interface
    (instance
      (alias outer 1 $pollable (type $outer-pollable))
      (export "pollable" (type $pollable (eq $outer-pollable)))
      (type $own-pollable (own $pollable))
      (export "subscribe-duration" (func (param "when" u64) (result $own-pollable)))))
  (import "wasi:clocks/monotonic-clock@0.2.10" (instance $clock (type $clock-interface)))

  (type $types-interface
    (instance
      (export "incoming-request" (type (sub resource)))
      (export "response-outparam" (type (sub resource)))))
  (import "wasi:http/types@0.2.10" (instance $types (type $types-interface)))
  (alias export $types "incoming-request" (type $incoming-request))
  (alias export $types "response-outparam" (type $response-outparam))

  (core module $App
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (func (export "handle") (param $request i32) (param $out i32)
      (call $block (call $subscribe (i64.const 3000000000)))))

  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core instance $app
    (instantiate $App
      (with "host" (instance (export "subscribe" (func $subscribe)) (export "block" (func $block))))))

  (func $handle (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $app "handle")))
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
