import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import * as fc from 'fast-check';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import { Control, globalOf, instantiate, KEEP, outcome, STRIP } from './fixtures/rewritten.ts';

/**
 * Random programs that compute with all kinds of state: memory and its size, globals, a table, data segments, a start
 * function. A program is run as it is, rewritten, and rewritten without its state, which is put in from the one before.
 * Results, traps, memory, its size, and globals are the same.
 */

const PAGE = 65_536;
const MAX_PAGES = 4;
const CALLS = 6;

/**
 * Addresses of 12 bits hit what was written before. Others are beyond all that the memory can have: between what a guest
 * has and what its slot has, a restored instance reads zeroes where a new one traps.
 */
const addressOf = (value: string): string => `(i32.and ${value} (i32.const 0xfff))`;

type Terms = { i32: string; i64: string; f64: string; statement: string };

const text =
  (...parts: readonly string[]) =>
  (terms: readonly string[]): string =>
    parts.map((part, index) => part + (terms[index] ?? '')).join('');

const { statement, i32 } = fc.letrec<Terms>((tie) => {
  const form = (first: string, ...rest: readonly (readonly [keyof Terms, string])[]): fc.Arbitrary<string> =>
    fc.tuple(...rest.map(([term]) => tie(term))).map(text(first, ...rest.map(([, after]) => after)));
  const options = { depthSize: 'small', withCrossShrink: true } as const;
  const number = fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, 65_532, 65_536, 2 ** 31 - 1, -(2 ** 31)));
  return {
    i32: fc.oneof(
      options,
      number.map((value) => `(i32.const ${value})`),
      fc.constantFrom('(local.get 0)', '(local.get 1)', '(global.get $i)', '(memory.size)'),
      form('(i32.add ', ['i32', ' '], ['i32', ')']),
      form('(i32.div_s ', ['i32', ' '], ['i32', ')']),
      form('(i32.lt_u ', ['i32', ' '], ['i32', ')']),
      form('(i32.load (i32.or (i32.const 0x40000) ', ['i32', '))']),
      fc.tuple(tie('i32')).map(([at]) => `(i32.load16_u offset=3 ${addressOf(at)})`),
      form('(memory.grow (i32.and (i32.const 3) ', ['i32', '))']),
      form('(i32.wrap_i64 ', ['i64', ')']),
      form('(i32.trunc_f64_s ', ['f64', ')']),
      form('(call_indirect (type $f) ', ['i32', ' (i32.and (i32.const 3) '], ['i32', '))']),
      form('(select ', ['i32', ' '], ['i32', ' '], ['i32', ')']),
      form('(if (result i32) ', ['i32', ' (then '], ['i32', ') (else '], ['i32', '))']),
    ),
    i64: fc.oneof(
      options,
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => `(i64.const ${value})`),
      fc.constant('(global.get $l)'),
      form('(i64.extend_i32_s ', ['i32', ')']),
      form('(i64.rotl ', ['i64', ' '], ['i64', ')']),
      fc.tuple(tie('i32')).map(([at]) => `(i64.load ${addressOf(at)})`),
    ),
    f64: fc.oneof(
      options,
      fc.constantFrom('(f64.const 0.5)', '(f64.const -0)', '(f64.const 1e300)', '(global.get $d)'),
      form('(f64.convert_i64_s ', ['i64', ')']),
      form('(f64.mul ', ['f64', ' '], ['f64', ')']),
    ),
    statement: fc.oneof(
      options,
      form('(local.set 1 ', ['i32', ')']),
      form('(global.set $i ', ['i32', ')']),
      form('(global.set $l ', ['i64', ')']),
      form('(global.set $d (f64.abs ', ['f64', '))']),
      fc.tuple(tie('i32'), tie('i32')).map(([at, value]) => `(i32.store ${addressOf(at)} ${value})`),
      form('(i64.store offset=64500 (i32.and (i32.const 1023) ', ['i32', ') '], ['i64', ')']),
      fc.tuple(tie('i32'), tie('i32')).map(([at, value]) => `(memory.fill ${addressOf(at)} ${value} (i32.const 300))`),
      fc
        .tuple(tie('i32'), tie('i32'))
        .map(([to, from]) => `(memory.copy ${addressOf(to)} ${addressOf(from)} (i32.const 50))`),
      fc.tuple(tie('i32')).map(([at]) => `(memory.init $passive ${addressOf(at)} (i32.const 1) (i32.const 4))`),
      form('(if ', ['i32', ' (then '], ['statement', ') (else '], ['statement', '))']),
      form(
        '(loop (if (i32.eqz (global.get $fuel)) (then (return (i32.const 77)))) (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1))) ',
        ['statement', ' (br_if 0 '],
        ['i32', '))'],
      ),
      form('(block (br_if 0 ', ['i32', ') '], ['statement', ')']),
      form('', ['statement', ' '], ['statement', '']),
    ),
  };
});

const NAMES = ['i', 'l', 'd', 'fuel'] as const;

/** Function 0 calls the others through the table, they call whatever they like as long as there is fuel. */
const programOf = ([start, ...bodies]: readonly (readonly [string, string])[]): string => {
  const guard =
    '(if (i32.eqz (global.get $fuel)) (then (return (i32.const 99)))) (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))';
  const functions = bodies.map(
    ([statement, result], index) => `(func $f${index} (type $f) (local i32) ${guard} ${statement} ${result})`,
  );
  return `(module (type $f (func (param i32) (result i32)))
    (memory (export "memory") 1 ${MAX_PAGES})
    (global $i (export "i") (mut i32) (i32.const 7)) (global $l (export "l") (mut i64) (i64.const -3))
    (global $d (export "d") (mut f64) (f64.const 0.25)) (global $fuel (export "fuel") (mut i32) (i32.const 50))
    (table funcref (elem $f0 $f1 $f2)) (data (i32.const 16) "some data \\00\\ff") (data $passive "passive")
    ${functions.join('\n')}
    (func $start (drop (call $begin (i32.const 3))) (global.set $fuel (i32.const 200)))
    (func $begin (type $f) (local i32) ${start?.[0] ?? ''} (i32.const 0))
    (func (export "run") (param i32) (result i32) (global.set $fuel (i32.const 200)) (call $f0 (local.get 0)))
    (start $start))`;
};

type Machine = { readonly instance: WebAssembly.Instance; readonly pages: () => number };

const memoryOf = (instance: WebAssembly.Instance): WebAssembly.Memory => {
  const { memory } = instance.exports;
  assert.ok(memory instanceof WebAssembly.Memory);
  return memory;
};

/** All that the guest can see of its state. */
function stateOf({ instance, pages }: Machine): unknown[] {
  const memory = Buffer.from(memoryOf(instance).buffer, 0, pages() * PAGE);
  return [pages(), memory.toString('latin1'), ...NAMES.map((name) => globalOf(instance, name).value)];
}

function assertSameState(actual: Machine, expected: Machine, when: string): void {
  const [one, other] = [stateOf(actual), stateOf(expected)];
  // Not by deepEqual alone: it would print megabytes.
  assert.ok(one[1] === other[1], `memory ${when}`);
  assert.deepEqual([one[0], ...one.slice(2)], [other[0], ...other.slice(2)], when);
}

function started(code: Uint8Array, state: { memory: WebAssembly.Memory; pages: number }): Machine {
  const control = new Control();
  control.set(0, state.pages, MAX_PAGES);
  const instance = instantiate(code, { thaw: { memory0: state.memory, control: control.memory } });
  return { instance, pages: () => control.pages(0) };
}

/** The program without its state, in the state of another machine. `spare` pages are there that the guest has not. */
function restored(code: Uint8Array, from: Machine, spare: number): Machine {
  const pages = from.pages();
  const memory = new WebAssembly.Memory({ initial: Math.min(MAX_PAGES, pages + spare), maximum: MAX_PAGES });
  Buffer.from(memory.buffer).set(Buffer.from(memoryOf(from.instance).buffer, 0, pages * PAGE));
  const machine = started(code, { memory, pages });
  for (const name of NAMES) globalOf(machine.instance, name).value = globalOf(from.instance, name).value;
  return machine;
}

function original(source: Uint8Array): Machine {
  const instance = instantiate(source);
  return { instance, pages: () => memoryOf(instance).buffer.byteLength / PAGE };
}

/** The machine, or the trap of its start function. */
function startOf(make: () => Machine): Machine | string {
  try {
    return make();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) return error.message;
    throw error;
  }
}

test('a program computes what it computed before it was rewritten, and without its state once that is put in', async () => {
  const outcomes = { value: 0, trap: 0, grown: 0, started: 0 };
  const body = fc.tuple(statement, i32);
  const inputs = fc.array(fc.integer(), { minLength: CALLS, maxLength: CALLS });
  const bodies = fc.array(body, { minLength: 4, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(bodies, inputs, fc.nat(2), async (bodies, inputs, spare) => {
      const source = await parse(programOf(bodies));
      assert.ok(WebAssembly.validate(Uint8Array.from(source)));
      const [kept, stripped] = [rewriteModule(source, KEEP).code, rewriteModule(source, STRIP).code];
      const first = startOf(() => original(source));
      const second = startOf(() =>
        started(kept, { memory: new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES }), pages: 1 }),
      );
      if (typeof first === 'string' || typeof second === 'string') {
        assert.equal(second, first, 'the start function');
        return;
      }
      outcomes.started++;
      const third = restored(stripped, second, spare);
      assertSameState(second, first, 'after the start, rewritten');
      assertSameState(third, first, 'after the start, restored');
      for (const input of inputs) {
        const expected = outcome(first.instance, 'run', input);
        assert.equal(outcome(second.instance, 'run', input), expected, 'rewritten');
        assert.equal(outcome(third.instance, 'run', input), expected, 'restored');
        outcomes[typeof expected === 'number' ? 'value' : 'trap']++;
        if (first.pages() > 1) outcomes.grown++;
        assertSameState(second, first, `rewritten, after run(${input})`);
        assertSameState(third, first, `restored, after run(${input})`);
      }
    }),
    // Half of them start, and in an eighth a call returns or the memory grows: of so many there are always enough.
    { numRuns: 300 },
  );
  for (const [what, count] of Object.entries(outcomes)) assert.ok(count > 20, `${what}: ${JSON.stringify(outcomes)}`);
});
