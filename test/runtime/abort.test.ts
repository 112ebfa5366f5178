import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import type { Slot, SlotEnvironment } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { createHost } from '../../src/wasi/index.ts';
import { buildGuest } from '../guests/build.ts';
import { PendingSource, RecordingCall, begin, requestTo } from '../support/call.ts';
import { Bench } from '../support/runtime.ts';
import { assertServesOn } from '../support/same-state.ts';
import { handlerComponent } from '../support/wat.ts';
import { thawError } from '../snapshot/support.ts';

const bench = new Bench();
let app: LoadedSnapshot;
let environment: SlotEnvironment;

before(async () => {
  app = await bench.freeze(await buildGuest('as-plain'));
  environment = bench.environment('copy');
});

const newSlot = (): Promise<Slot> => bench.newSlot(app, environment);

/** Long enough for a guest to run to where it waits for the hour that it asked for. */
const macrotask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

/** Timers of the real clock: an hour is not skipped. */
function slotOfRealTime(snapshot: LoadedSnapshot = app): Promise<Slot> {
  return bench.newSlot(snapshot, { ...environment, host: createHost() });
}

const HOUR = '/wait?ms=3600000';
const reason = (): ThawError => new ThawError('WALL_TIME_EXCEEDED', 'the test says so');

describe('abort', () => {
  test('ends a guest that waits, at once and with the reason', async () => {
    const slot = await slotOfRealTime();
    const { ended, call } = begin(slot, HOUR);
    await macrotask();
    assert.equal(slot.state, 'busy');
    const why = reason();
    slot.abort(why);
    await assert.rejects(ended, (error) => error === why);
    assert.equal(call.sent, null);
    await assertServesOn(slot, await newSlot());
  });

  test('ends a guest that runs, at its next call of the host', async () => {
    const slot = await newSlot();
    const why = reason();
    const call = new RecordingCall({ onRespond: () => slot.abort(why) });
    await assert.rejects(slot.serve(call, requestTo('/counter')), (error) => error === why);
    assert.equal(call.sent?.body, '');
    await assertServesOn(slot, await newSlot());
  });

  test('keeps the first reason, and is nothing to a slot that serves nobody', async () => {
    const slot = await slotOfRealTime();
    slot.abort(reason());
    const { ended } = begin(slot, HOUR);
    await macrotask();
    const why = reason();
    slot.abort(why);
    slot.abort(new ThawError('CLIENT_GONE', 'later'));
    await assert.rejects(ended, (error) => error === why);
    slot.abort(reason());
    await assertServesOn(slot, await newSlot());
  });

  test('reaches the next request of the slot, though what the last waited for comes only then', async () => {
    const slot = await slotOfRealTime();
    const body = new PendingSource();
    const first = begin(slot, '/echo', { body });
    await macrotask();
    slot.abort(reason());
    await assert.rejects(first.ended, thawError('WALL_TIME_EXCEEDED'));
    slot.turn(app);
    const second = begin(slot, HOUR);
    await macrotask();
    body.end();
    await macrotask();
    const why = reason();
    slot.abort(why);
    const ended = Promise.race([second.ended, macrotask().then(() => 'still waiting')]);
    await assert.rejects(ended, (error) => error === why);
    await assertServesOn(slot, await newSlot());
  });
});

/** Counts at address 0 how often a call of the host threw; `then` is what it does after two of them. */
const catching = (then: string): Promise<Uint8Array> =>
  handlerComponent({
    imports: `
      (import "wasi:io/poll@0.2.10" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.10" (instance $clock
        (export "now" (func (result u64)))
        (alias outer 1 $pollable (type $p))
        (export "pollable" (type $own-pollable (eq $p)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $own-pollable))))))
      (core func $block (canon lower (func $poll "[method]pollable.block")))
      (core func $subscribe (canon lower (func $clock "subscribe-duration")))
      (core func $now (canon lower (func $clock "now")))`,
    links: `(with "host" (instance
      (export "block" (func $block)) (export "subscribe" (func $subscribe)) (export "now" (func $now))))`,
    core: `
      (import "host" "block" (func $block (param i32)))
      (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
      (import "host" "now" (func $now (result i64)))
      (memory (export "memory") 1)
      (func $caught (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
      (func (export "handle") (param i32 i32)
        (local $pollable i32)
        (local.set $pollable (call $subscribe (i64.const 3600000000000)))
        (block $thrown (try_table (catch_all $thrown) (call $block (local.get $pollable))) (return))
        (call $caught)
        (block $thrown (try_table (catch_all $thrown) (drop (call $now))) (return))
        (call $caught)
        ${then})`,
  });
const count = (slot: Slot): number | undefined => slot.observe().memories[0]?.readInt32LE(0);

describe('a guest that catches what the host throws', () => {
  test('meets the abort again at its next call', async () => {
    const snapshot = await bench.freeze(await catching('(drop (call $now))'));
    assert.equal(snapshot.state.kind, 'restorable');
    const slot = await slotOfRealTime(snapshot);
    const { ended } = begin(slot, '/');
    await macrotask();
    const why = reason();
    slot.abort(why);
    await assert.rejects(ended, (error) => error === why);
    assert.equal(count(slot), 2);
    slot.turn(snapshot);
    assert.equal(count(slot), 0);
  });

  test('may end by itself, without a response', async () => {
    const snapshot = await bench.freeze(await catching(''));
    const slot = await slotOfRealTime(snapshot);
    const { ended, call } = begin(slot, '/');
    await macrotask();
    slot.abort(reason());
    await ended;
    assert.equal(call.sent, null);
    assert.equal(count(slot), 2);
    assert.equal(slot.state, 'dirty');
    slot.turn(snapshot);
    assert.equal(count(slot), 0);
  });
});
