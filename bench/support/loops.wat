;; Tight loops, each over memory or registers, and recursion. Each export takes a number of rounds.
(module
  (memory 16)
  (global $count (mut i64) (i64.const 0))

  ;; The tightest there is: one addition to a global.
  (func (export "count") (param $n i32)
    (loop $l
      (global.set $count (i64.add (global.get $count) (i64.const 1)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

  ;; A linear congruential generator: each round waits for the one before.
  (func (export "random") (param $n i32) (local $x i32)
    (loop $l
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (global.set $count (i64.extend_i32_u (local.get $x))))

  ;; The sum of the bytes of a buffer.
  (func (export "sum") (param $n i32) (local $sum i32) (local $i i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u (i32.and (local.get $i) (i32.const 0xffff)))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (global.set $count (i64.extend_i32_u (local.get $sum))))

  ;; The sieve of Eratosthenes.
  (func (export "sieve") (param $n i32) (local $i i32) (local $j i32)
    (memory.fill (i32.const 0) (i32.const 0) (local.get $n))
    (local.set $i (i32.const 2))
    (loop $o
      (if (i32.eqz (i32.load8_u (local.get $i))) (then
        (local.set $j (i32.shl (local.get $i) (i32.const 1)))
        (block $x
          (loop $l
            (br_if $x (i32.ge_u (local.get $j) (local.get $n)))
            (i32.store8 (local.get $j) (i32.const 1))
            (local.set $j (i32.add (local.get $j) (local.get $i)))
            (br $l)))))
      (br_if $o (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))))

  ;; The product of two matrices of n × n doubles.
  (func (export "matrix") (param $n i32) (local $i i32) (local $j i32) (local $k i32) (local $s f64)
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $columns
        (local.set $k (i32.const 0))
        (local.set $s (f64.const 0))
        (loop $l
          (local.set $s (f64.add (local.get $s) (f64.mul
            (f64.load (i32.shl (i32.add (i32.mul (local.get $i) (local.get $n)) (local.get $k)) (i32.const 3)))
            (f64.load offset=320000
              (i32.shl (i32.add (i32.mul (local.get $k) (local.get $n)) (local.get $j)) (i32.const 3))))))
          (br_if $l (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $n))))
        (f64.store offset=640000
          (i32.shl (i32.add (i32.mul (local.get $i) (local.get $n)) (local.get $j)) (i32.const 3)) (local.get $s))
        (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
      (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))))

  ;; Fibonacci numbers the slow way: calls and nothing else.
  (func $fibonacci (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add
        (call $fibonacci (i32.sub (local.get $n) (i32.const 1)))
        (call $fibonacci (i32.sub (local.get $n) (i32.const 2)))))))
  (func (export "fibonacci") (param $n i32)
    (global.set $count (i64.extend_i32_u (call $fibonacci (local.get $n))))))
