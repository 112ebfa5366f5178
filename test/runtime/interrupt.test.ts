import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { Slot, type SlotEnvironment } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { Watchdog } from '../../src/runtime/watchdog.ts';
import { CpuTimeExceeded, type RequestLimits } from '../../src/wasi/guest.ts';
import { createHost } from '../../src/wasi/index.ts';
import { buildGuest } from '../guests/build.ts';
import { RecordingCall, requestTo } from '../support/call.ts';
import { Bench } from '../support/runtime.ts';
import { assertSameState } from '../support/same-state.ts';
import { handlerComponent } from '../support/wat.ts';
import { thawError } from '../snapshot/support.ts';

const bench = new Bench();
const watchdog = new Watchdog(2);
after(() => watchdog.stop());

/** With the real clocks, as timers must fire between the segments of a request. */
const environment: SlotEnvironment = {
  ...bench.environment('copy'),
  host: createHost(),
  control: new ControlMemory(watchdog.links[0]),
};

const newSlot = (snapshot: LoadedSnapshot): Promise<Slot> => bench.newSlot(snapshot, environment);

type Outcome = { readonly body: string | null; readonly error: ThawError | null };

/** Serves one request and restores the slot. */
async function ask(slot: Slot, path: string, limits: Partial<RequestLimits> = {}): Promise<Outcome> {
  const call = new RecordingCall({ limits });
  try {
    await slot.serve(call, requestTo(path));
    return { body: call.sent?.body ?? null, error: null };
  } catch (error) {
    assert.ok(error instanceof ThawError);
    return { body: call.sent?.body ?? null, error };
  } finally {
    slot.turn(slot.snapshot);
  }
}

/** Far more than a limit and the watchdog's delay, on a machine that does other things, too. */
const PATIENCE_MS = 5000;

function assertStopped({ error }: Outcome, limitMs: number, what: string): void {
  assert.ok(error instanceof CpuTimeExceeded, `${what}: ${error?.code} ${error?.message}`);
  assert.equal(error.limitMs, limitMs);
  assert.ok(error.usedMs >= limitMs - 1 && error.usedMs < PATIENCE_MS, `${what} used ${error.usedMs} ms`);
}

describe('a guest that is not JavaScript', () => {
  let app: LoadedSnapshot;
  before(async () => {
    app = await bench.freeze(await buildGuest('as-table'));
  });

  test('is stopped 1,000 times in a row, and the requests in between are right', async () => {
    const slot = await newSlot(app);
    const fresh = await newSlot(app);
    const limits = { cpuMs: 1 };
    for (let round = 0; round < 1000; round++) {
      assertStopped(await ask(slot, round % 4 === 0 ? '/ask-forever' : '/spin', limits), 1, `round ${round}`);
      if (round % 100 === 0) assertSameState(slot.observe(), fresh.observe(), `in round ${round}`);
      assert.deepEqual(await ask(slot, '/counter'), { body: '1 1\n', error: null });
    }
  });

  test('that suspends uses no time meanwhile', async () => {
    const slot = await newSlot(app);
    assert.deepEqual(await ask(slot, '/wait?ms=120', { cpuMs: 60 }), { body: 'waited\n', error: null });
    assert.ok(slot.usage.cpuMs < 60);
  });

  test('is stopped while others are suspended on the same thread, which go on', async () => {
    const slots = await Promise.all(Array.from({ length: 8 }, () => newSlot(app)));
    const spinning = await newSlot(app);
    const waiting = slots.map((slot, index) => ask(slot, `/wait?ms=${10 + 5 * index}`, { cpuMs: 20 }));
    for (let round = 0; round < 5; round++) assertStopped(await ask(spinning, '/spin', { cpuMs: 10 }), 10, '/spin');
    for (const outcome of await Promise.all(waiting)) assert.deepEqual(outcome, { body: 'waited\n', error: null });
  });

  test('that runs out of stack is told so, and is not charged for what it did not use', async () => {
    const slot = await newSlot(app);
    const { error } = await ask(slot, '/recurse', { cpuMs: 1000 });
    assert.equal(error?.code, 'GUEST_TRAP');
    assert.match(error.message, /ran out of stack/);
    assert.deepEqual(await ask(slot, '/counter'), { body: '1 1\n', error: null });
  });
});

describe('a guest in JavaScript', () => {
  let app: LoadedSnapshot;
  let slot: Slot;
  before(async () => {
    app = await bench.freezeGuest('js-kitchen');
    slot = await newSlot(app);
    assert.deepEqual(await ask(slot, '/hello'), { body: 'hello from JavaScript\n', error: null });
  });

  const ways = ['loop', 'catching', 'regex', 'sort', 'recursion', 'microtasks', 'timers', 'hostcalls'];
  for (const how of ways) {
    test(`is stopped in an endless ${how}, and the next request is right`, async () => {
      for (let round = 0; round < 2; round++) {
        assertStopped(await ask(slot, `/spin?how=${how}`, { cpuMs: 40 }), 40, how);
        assert.deepEqual(await ask(slot, '/counter'), { body: '1\n', error: null });
      }
    });
  }

  test('that had begun its answer is stopped, too', async () => {
    const outcome = await ask(slot, '/stream-spin', { cpuMs: 40 });
    assertStopped(outcome, 40, '/stream-spin');
    assert.equal(outcome.body, '\0'.repeat(16));
  });

  test('whose recursion its engine ends is answered by the engine', async () => {
    assert.deepEqual(await ask(slot, '/recurse'), { body: 'Internal Server Error\n', error: null });
  });
});

test('the first requests to an engine may run over their limit, for V8 compiles on their time, but only once', async () => {
  const app = await bench.freezeGuest('js-tiny');
  // A meter that has not seen this code.
  const cold = { ...environment, control: new ControlMemory(watchdog.links[1]) };
  const slot = await bench.newSlot(app, cold);
  const spin = await bench.freezeGuest('js-kitchen');
  assert.equal(spin.manifest.codeDigest, app.manifest.codeDigest);
  slot.turn(spin);
  assertStopped(await ask(slot, '/spin', { cpuMs: 5 }), 5, 'the first');
  assert.ok(slot.usage.cpuMs >= 200, `${slot.usage.cpuMs} ms`);
  assertStopped(await ask(slot, '/spin', { cpuMs: 5 }), 5, 'the second');
  assert.ok(slot.usage.cpuMs < 200, `${slot.usage.cpuMs} ms`);
});

test('a guest that catches what the host throws at it is stopped none the less', async () => {
  const component = await handlerComponent({
    imports: `(import "wasi:random/random@0.2.10" (instance $random
      (export "get-random-u64" (func (result u64)))))
      (core func $u64 (canon lower (func $random "get-random-u64")))`,
    links: '(with "host" (instance (export "u64" (func $u64))))',
    core: `(import "host" "u64" (func $u64 (result i64)))
      (func (export "handle") (param i32 i32)
        (loop $again
          try (drop (call $u64)) catch_all end
          (br $again)))`,
  });
  const slot = await newSlot(await bench.freeze(component));
  for (let round = 0; round < 5; round++) assertStopped(await ask(slot, '/', { cpuMs: 5 }), 5, `round ${round}`);
});

test('start functions of a component that cannot be restored have a limit of their own', async () => {
  const component = await handlerComponent({
    core: `(memory (export "memory") 1) (start $s) (func $s (loop (br 0)))
      (func (export "handle") (param i32 i32))`,
  });
  const snapshot = await bench.freezeWhole(component);
  const modules = await bench.modules(snapshot);
  const slot = new Slot(snapshot, modules, environment);
  assert.throws(() => slot.turn(snapshot), thawError('CPU_TIME_EXCEEDED', 'start functions', '1000 ms is the limit'));
  slot.dispose();
});

test('a guest that waits again and again is stopped once its segments are too much together', async () => {
  const component = await handlerComponent({
    imports: `(import "wasi:io/poll@0.2.10" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.10" (instance $clock
        (alias outer 1 $pollable (type $p))
        (export "pollable" (type $own (eq $p)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
      (core func $block (canon lower (func $poll "[method]pollable.block")))
      (core func $subscribe (canon lower (func $clock "subscribe-duration")))
      (core func $drop (canon resource.drop $pollable))`,
    links: `(with "host" (instance
      (export "block" (func $block)) (export "subscribe" (func $subscribe)) (export "drop" (func $drop))))`,
    core: `(import "host" "block" (func $block (param i32)))
      (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
      (import "host" "drop" (func $drop (param i32)))
      (func (export "handle") (param i32 i32) (local $p i32) (local $i i32)
        (loop $again
          (local.set $i (i32.const 1000000))
          (loop $work (br_if $work (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
          (local.set $p (call $subscribe (i64.const 1000000)))
          (call $block (local.get $p))
          (call $drop (local.get $p))
          (br $again)))`,
  });
  const slot = await newSlot(await bench.freeze(component));
  for (let round = 0; round < 3; round++) assertStopped(await ask(slot, '/', { cpuMs: 15 }), 15, `round ${round}`);
});
