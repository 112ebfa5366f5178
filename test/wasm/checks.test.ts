import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import * as fc from 'fast-check';
import { withWordChecks } from '../../src/wasm/word-checks.ts';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import { Control, importNames, instantiate, KEEP, onePage, outcome } from './fixtures/rewritten.ts';

/** What the checks look at, and the trap of one that finds the guest's time over. */
type Kind = { readonly what: string; readonly adapt: (code: Uint8Array) => Uint8Array; readonly trap: string };

const PAGE: Kind = { what: 'stop page', adapt: (code) => code, trap: 'RuntimeError: memory access out of bounds' };
const WORD: Kind = { what: 'word', adapt: withWordChecks, trap: 'RuntimeError: unreachable' };

/** The module with checks, and the control memory that they look at. Its import `env`.`stop` tells it to stop. */
async function checked(
  wat: string,
  { adapt }: Kind = PAGE,
): Promise<{ instance: WebAssembly.Instance; control: Control }> {
  const control = new Control();
  const rewritten = rewriteModule(await parse(wat), KEEP);
  const { shape } = rewritten;
  const code = adapt(rewritten.code);
  control.set(0, shape.memories[0]?.min ?? 0, 65_536);
  const own = Object.fromEntries(shape.memories.map(({ index }) => [`memory${index}`, onePage()]));
  const env = { stop: () => control.stop(true) };
  return { instance: instantiate(code, { env, thaw: { ...own, control: control.memory } }), control };
}

/**
 * Each exports `run`, whose result is how many rounds it made of those that it was asked for. Whatever its way to make
 * rounds, one that is to stop makes none or next to none.
 */
const ROUNDS: readonly (readonly [what: string, fields: string])[] = [
  [
    'a loop',
    `(func (export "run") (param $n i32) (result i32) (local $i i32)
      (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))) (local.get $i))`,
  ],
  [
    'a loop with parameters and results, by br_table',
    `(func (export "run") (param $n i32) (result i32)
      (i32.const 0)
      (loop $l (param i32) (result i32)
        (i32.add (i32.const 1))
        (block $out (param i32) (result i32)
          (br_table $l $out (i32.eqz (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))))`,
  ],
  [
    'an inner loop of a loop that was entered before',
    `(func (export "run") (param $n i32) (result i32) (local $i i32) (local $j i32)
      (loop $o (local.set $j (i32.const 0))
        (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 100))))
        (br_if $o (i32.lt_u (local.get $i) (local.get $n)))) (local.get $i))`,
  ],
  [
    'recursion',
    `(global $i (mut i32) (i32.const 0))
     (func $f (param $n i32) (if (local.get $n) (then (global.set $i (i32.add (global.get $i) (i32.const 1)))
       (call $f (i32.sub (local.get $n) (i32.const 1))))))
     (func (export "run") (param i32) (result i32) (call $f (local.get 0)) (global.get $i))`,
  ],
  [
    'a tree of calls without recursion',
    `(global $i (mut i32) (i32.const 0))
     (func $leaf (global.set $i (i32.add (global.get $i) (i32.const 1))))
     ${Array.from({ length: 12 }, (_, depth) => `(func $t${depth} (call ${depth === 0 ? '$leaf' : `$t${depth - 1}`}) (call ${depth === 0 ? '$leaf' : `$t${depth - 1}`}))`).join('\n')}
     (func (export "run") (param i32) (result i32) (call $t11) (global.get $i))`,
  ],
  [
    'tail calls, direct and by reference and through a table',
    `(type $f (func (param i32 i32) (result i32)))
     (table funcref (elem $a)) (elem declare func $c)
     (func $a (type $f) (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
       (return_call $b (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 1))))
     (func $b (type $f) (return_call_ref $f (local.get 0) (local.get 1) (ref.func $c)))
     (func $c (type $f) (return_call_indirect (type $f) (local.get 0) (local.get 1) (i32.const 0)))
     (func (export "run") (param i32) (result i32) (return_call $a (local.get 0) (i32.const 0)))`,
  ],
  [
    'calls through a table and by reference',
    `(type $f (func (param i32) (result i32)))
     (table funcref (elem $a)) (elem declare func $b)
     (func $a (type $f) (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
       (i32.add (i32.const 1) (call_ref $f (i32.sub (local.get 0) (i32.const 1)) (ref.func $b))))
     (func $b (type $f) (call_indirect (type $f) (local.get 0) (i32.const 0)))
     (func (export "run") (type $f) (call $a (local.get 0)))`,
  ],
  [
    'a loop of exceptions',
    `(tag $t)
     (func (export "run") (param $n i32) (result i32) (local $i i32)
       (loop $again
         (local.set $i (i32.add (local.get $i) (i32.const 1)))
         (block $caught
           (try_table (catch_all $caught)
             (br_if 1 (i32.ge_u (local.get $i) (local.get $n)))
             (throw $t)))
         (br_if $again (i32.lt_u (local.get $i) (local.get $n))))
       (local.get $i))`,
  ],
  [
    'memory.fill again and again, in straight code',
    `(memory 1)
     (global $i (mut i32) (i32.const 0))
     (func (export "run") (param i32) (result i32)
       ${'(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (global.set $i (i32.add (global.get $i) (i32.const 1)))'.repeat(1000)}
       (global.get $i))`,
  ],
];

/** Of so many rounds. */
const MANY = 4096;
const AT_LEAST = 1000;

for (const kind of [PAGE, WORD]) {
  describe(`a guest that is to stop, its checks at the ${kind.what}`, () => {
    for (const [what, fields] of ROUNDS) {
      test(`traps in ${what}, and runs to the end when it is not`, async () => {
        const { instance, control } = await checked(`(module ${fields})`, kind);
        control.stop(true);
        assert.equal(outcome(instance, 'run', MANY), kind.trap);
        control.stop(false);
        const rounds = outcome(instance, 'run', MANY);
        assert.ok(typeof rounds === 'number' && rounds >= AT_LEAST, `${rounds} rounds`);
      });
    }

    test('traps soon in straight code, however long it is', async () => {
      const step = '(global.set $i (i32.add (global.get $i) (i32.const 1)))';
      const { instance, control } = await checked(
        `(module
      (import "env" "stop" (func $stop))
      (global $i (mut i32) (i32.const 0))
      (func (export "steps") (param i32) (result i32) (global.get $i))
      (func (export "run") (param i32) (result i32)
        (if (local.get 0) (then (call $stop))) (global.set $i (i32.const 0)) ${step.repeat(20_000)} (global.get $i)))`,
        kind,
      );
      assert.equal(outcome(instance, 'run', 0), 20_000);
      assert.equal(outcome(instance, 'run', 1), kind.trap);
      const steps = Number(outcome(instance, 'steps', 0));
      assert.ok(steps > 0 && steps < 3000, `${steps} steps after it was to stop`);
      control.stop(true);
      assert.equal(outcome(instance, 'run', 0), kind.trap);
      assert.equal(outcome(instance, 'steps', 0), steps, 'at the entry');
    });

    const none = '(i32.const 0) (i32.const 0) (i32.const 0)';
    const bulk = [
      `(memory.fill ${none})`,
      `(memory.copy ${none})`,
      `(memory.init $d ${none})`,
      '(drop (memory.grow (i32.const 0)))',
      '(table.fill (i32.const 0) (ref.null func) (i32.const 0))',
      `(table.copy ${none})`,
      `(table.init $e ${none})`,
      '(drop (table.grow (ref.null func) (i32.const 0)))',
      '(drop (array.new $a (i32.const 0) (i32.const 0)))',
      '(drop (array.new_default $a (i32.const 0)))',
      '(drop (array.new_data $a $d (i32.const 0) (i32.const 0)))',
      '(drop (array.new_elem $r $e (i32.const 0) (i32.const 0)))',
      '(array.fill $a (global.get $x) (i32.const 0) (i32.const 0) (i32.const 0))',
      '(array.copy $a $a (global.get $x) (i32.const 0) (global.get $x) (i32.const 0) (i32.const 0))',
      `(array.init_data $a $d (global.get $x) ${none})`,
      `(array.init_elem $r $e (global.get $y) ${none})`,
    ];
    for (const instruction of bulk) {
      test(`traps before ${/[a-z]+\.[a-z_]+/.exec(instruction.replace('(drop ', ''))?.[0]}`, async () => {
        const { instance } = await checked(
          `(module
        (import "env" "stop" (func $stop))
        (type $a (array (mut i8))) (type $r (array (mut funcref)))
        (memory 1) (table 1 funcref) (data $d "x") (elem $e func)
        (global $x (ref $a) (array.new $a (i32.const 0) (i32.const 1)))
        (global $y (ref $r) (array.new $r (ref.null func) (i32.const 1)))
        (func (export "run") (param i32) (result i32)
          (if (local.get 0) (then (call $stop))) ${instruction} (i32.const 1)))`,
          kind,
        );
        assert.equal(outcome(instance, 'run', 0), 1);
        assert.equal(outcome(instance, 'run', 1), kind.trap);
      });
    }

    test('traps before a call that a path without a check leads to', async () => {
      const { instance, control } = await checked(
        `(module
      (global $i (mut i32) (i32.const 0))
      (func $called (global.set $i (i32.add (global.get $i) (i32.const 1))))
      (func (export "calls") (param i32) (result i32) (global.get $i))
      (func (export "else") (param i32) (result i32)
        (if (local.get 0) (then (call $called)) (else (call $called))) (i32.const 0))
      (func (export "after") (param i32) (result i32)
        (block $b (br_if $b (local.get 0)) (call $called)) (call $called) (i32.const 0))
      (func (export "catch") (param i32) (result i32)
        try (br_if 0 (local.get 0)) (call $called) catch_all (call $called) end (call $called) (i32.const 0))
      (func (export "leaf") (param i32) (result i32) (local.get 0)))`,
        kind,
      );
      control.stop(true);
      for (const name of ['else', 'after', 'catch']) {
        for (const way of [0, 1]) assert.equal(outcome(instance, name, way), kind.trap, `${name}(${way})`);
      }
      assert.equal(outcome(instance, 'calls', 0), 0);
      assert.equal(outcome(instance, 'leaf', 7), 7, 'a function that calls nothing needs no check');
    });
  });
}

test('checks: false leaves them out', async () => {
  const source = await parse('(module (func (export "run") (loop (br 0))))');
  assert.deepEqual(importNames(rewriteModule(source, { ...KEEP, checks: false }).code), []);
  assert.deepEqual(importNames(rewriteModule(source, KEEP).code), ['memory thaw control']);
});

/**
 * Random programs: a few functions of nested blocks, loops, branches and calls. Steps, entries and loop heads count in
 * `$steps` and use up `$fuel`; without fuel they return, so that all programs end.
 */
type Statement =
  | { readonly kind: 'step'; readonly value: number }
  | { readonly kind: 'block' | 'loop' | 'if'; readonly body: readonly Statement[] }
  | { readonly kind: 'branch'; readonly depth: number }
  | { readonly kind: 'call'; readonly callee: number };

const FUNCTIONS = 4;

const { statements } = fc.letrec<{ statements: Statement[]; statement: Statement }>((tie) => ({
  statements: fc.array(tie('statement'), { minLength: 1, maxLength: 4 }),
  statement: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.record({ kind: fc.constant('step' as const), value: fc.nat(1000) }),
    fc.record({ kind: fc.constant('branch' as const), depth: fc.nat(5) }),
    fc.record({ kind: fc.constant('call' as const), callee: fc.nat(FUNCTIONS - 1) }),
    fc.record({ kind: fc.constantFrom('block' as const, 'loop' as const, 'if' as const), body: tie('statements') }),
  ),
}));

const STEP = `(if (i32.eqz (global.get $fuel)) (then (return)))
  (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))
  (global.set $steps (i32.add (global.get $steps) (i32.const 1)))`;

function textOf(statement: Statement, depth: number): string {
  switch (statement.kind) {
    case 'step':
      return `${STEP} (global.set $hash (i32.add (i32.mul (global.get $hash) (i32.const 31)) (i32.const ${statement.value})))`;
    case 'branch':
      return `(br_if ${Math.min(statement.depth, depth)} (i32.and (global.get $hash) (i32.const 1)))`;
    case 'call':
      return `(call ${statement.callee})`;
    default: {
      const body = statement.body.map((inner) => textOf(inner, depth + 1)).join(' ');
      if (statement.kind === 'if') return `(if (i32.and (global.get $hash) (i32.const 2)) (then ${body}))`;
      return statement.kind === 'loop' ? `(loop ${STEP} ${body})` : `(block ${body})`;
    }
  }
}

const FUEL = 20_000;

/** What steps between two checks may be: short functions' worth, no loop's. */
const FEW_STEPS = 200;

const programText = (functions: readonly (readonly Statement[])[]): string => `(module
  (global $fuel (mut i32) (i32.const 0)) (global $steps (mut i32) (i32.const 0)) (global $hash (mut i32) (i32.const 1))
  ${functions.map((body) => `(func ${STEP} ${body.map((statement) => textOf(statement, 0)).join(' ')})`).join('\n')}
  (func (export "run") (param i32) (result i32)
    (global.set $fuel (local.get 0)) (global.set $steps (i32.const 0)) (call 0) (global.get $hash))
  (func (export "steps") (param i32) (result i32) (global.get $steps)))`;

test('a program with checks computes what it computes without, and makes few steps when it is to stop', async () => {
  let long = 0;
  const program = fc.array(statements, { minLength: FUNCTIONS, maxLength: FUNCTIONS });
  await fc.assert(
    fc.asyncProperty(program, async (functions) => {
      const text = programText(functions);
      const original = instantiate(await parse(text));
      const { instance, control } = await checked(text);
      assert.equal(outcome(instance, 'run', FUEL), outcome(original, 'run', FUEL));
      const steps = outcome(original, 'steps', 0);
      assert.equal(outcome(instance, 'steps', 0), steps);
      if (Number(steps) > FEW_STEPS) long++;
      control.stop(true);
      outcome(instance, 'run', FUEL);
      const stopped = Number(outcome(instance, 'steps', 0));
      assert.ok(stopped <= FEW_STEPS, `${stopped} steps after it was to stop`);
    }),
    { numRuns: 150 },
  );
  assert.ok(long > 10, `${long} programs made more steps than a few, so that stopping meant something`);
});
