import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import { Slot, type SlotEnvironment } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { createHost } from '../../src/wasi/index.ts';
import { buildGuest } from '../guests/build.ts';
import { RecordingCall, begin, requestTo, serve } from '../support/call.ts';
import { Bench } from '../support/runtime.ts';
import { assertServesOn } from '../support/same-state.ts';
import { SILENT, handlerComponent } from '../support/wat.ts';
import { thawError } from '../snapshot/support.ts';

const bench = new Bench();
let app: LoadedSnapshot;
let environment: SlotEnvironment;

before(async () => {
  app = await bench.freeze(await buildGuest('as-plain'));
  environment = bench.environment('copy');
});

const newSlot = (snapshot = app): Promise<Slot> => bench.newSlot(snapshot, environment);

const reason = (): ThawError => new ThawError('WALL_TIME_EXCEEDED', 'the test says so');

/**
 * A guest whose realloc waits for a timer, and that exits after a call that needs realloc.
 * @param waiting what realloc does, with `$wait` to call
 */
const waitingRealloc = (waiting: string): Promise<Uint8Array> =>
  handlerComponent({
    imports: `
      (import "wasi:io/poll@0.2.10" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.10" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $pollable (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
      (import "wasi:random/random@0.2.10" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
      (import "wasi:cli/exit@0.2.10" (instance $exit (export "exit" (func (param "status" (result))))))
      (core func $block (canon lower (func $poll "[method]pollable.block")))
      (core func $timer (canon lower (func $clock "subscribe-duration")))
      (core func $exit (canon lower (func $exit "exit")))
      (core module $Memory
        (import "host" "block" (func $block (param i32)))
        (import "host" "timer" (func $timer (param i64) (result i32)))
        (memory (export "memory") 1)
        (func $wait (call $block (call $timer (i64.const 3600000000000))))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) ${waiting} (i32.const 1024)))
      (core instance $memory (instantiate $Memory
        (with "host" (instance (export "block" (func $block)) (export "timer" (func $timer))))))
      (alias core export $memory "memory" (core memory $shared))
      (alias core export $memory "realloc" (core func $realloc))
      (core func $random (canon lower (func $random "get-random-bytes") (memory $shared) (realloc $realloc)))`,
    links: '(with "host" (instance (export "random" (func $random)) (export "exit" (func $exit))))',
    core: `
      (import "host" "random" (func $random (param i64 i32)))
      (import "host" "exit" (func $exit (param i32)))
      (func (export "handle") (param i32 i32)
        (call $random (i64.const 8) (i32.const 16))
        (call $exit (i32.const 1)))`,
  });

describe('the life of a slot', () => {
  const broken = thawError('INTERNAL', 'invariant broken');

  test('goes from dirty to clean, busy, dirty, and ends disposed of', async () => {
    const slot = new Slot(app, await bench.modules(app), environment);
    assert.equal(slot.state, 'dirty');
    slot.turn(app);
    assert.equal(slot.state, 'clean');
    const { ended } = begin(slot, '/counter');
    assert.equal(slot.state, 'busy');
    await ended;
    assert.equal(slot.state, 'dirty');
    slot.dispose();
    assert.equal(slot.state, 'disposed');
  });

  test('serves only while clean', async () => {
    const slot = await newSlot();
    await serve(slot, '/counter');
    await assert.rejects(serve(slot, '/counter'), broken);
    assert.equal(slot.state, 'dirty');
    slot.dispose();
    await assert.rejects(serve(slot, '/counter'), broken);
  });

  test('is neither turned nor disposed of while busy, nor after its end', async () => {
    const slot = await newSlot();
    const { ended, call } = begin(slot, '/wait?ms=1');
    assert.throws(() => slot.turn(app), broken);
    assert.throws(() => slot.dispose(), broken);
    await assert.rejects(slot.serve(call, requestTo('/counter')), broken);
    await ended;
    assert.equal(call.sent?.body, 'waited\n');
    slot.dispose();
    assert.throws(() => slot.turn(app), broken);
    assert.throws(() => slot.dispose(), broken);
  });

  test('turns to snapshots of its own code only', async () => {
    const other = await bench.freeze(await handlerComponent({ core: `(memory (export "memory") 1) ${SILENT}` }));
    const slot = await newSlot();
    assert.throws(() => slot.turn(other), broken);
    assert.equal(slot.snapshot, app);
    assert.equal(slot.state, 'clean');
  });

  test('a clean slot may be turned again', async () => {
    const slot = await newSlot();
    slot.turn(app);
    assert.equal((await serve(slot, '/counter'))?.body, '1 1\n');
  });

  test('gives memories and control record back, and takes them again', async () => {
    const own = bench.environment('copy');
    for (let round = 0; round < 1100; round++) (await bench.newSlot(app, own)).dispose();
    assert.equal(own.memories.created, 1);
  });

  test('a slot for which there is no memory gives its record back', async () => {
    const own = bench.environment('copy');
    const record = own.control.allocate();
    own.control.release(record);
    own.memories.take = () => {
      throw new ThawError('OUT_OF_ADDRESS_SPACE', 'the test says so');
    };
    const modules = await bench.modules(app);
    assert.throws(() => new Slot(app, modules, own), thawError('OUT_OF_ADDRESS_SPACE'));
    assert.equal(own.control.allocate(), record);
  });
});

describe('memory that a request grew', () => {
  test('does not look grown to the next, and is zero when that grows it', async () => {
    const own = bench.environment('copy');
    const slot = await bench.newSlot(app, own);
    const sizes = async (pages: number): Promise<string | undefined> => {
      const sent = await serve(slot, `/grow?pages=${pages}`);
      slot.turn(app);
      return sent?.body;
    };
    const first = await sizes(100);
    const before = Number(first?.split(' ')[0]);
    assert.equal(first, `${before} ${before} ${before + 100}\n`);
    assert.equal(await sizes(100), first);
    assert.equal(await sizes(0), `${before} ${before} ${before}\n`);
    assert.equal(slot.observe().memories[0]?.length, before * WASM_PAGE_BYTES);
    // Though it is: no slot can make it smaller again.
    slot.dispose();
    assert.equal(own.memories.take([1])[0]?.bytes.length, (before + 100) * WASM_PAGE_BYTES);
  });

  test('what was written there is gone when the next grows it again', async () => {
    const dirtyGrown = await bench.freeze(
      await handlerComponent({
        core: `(memory (export "memory") 1)
          (func (export "handle") (param i32 i32)
            (local $at i32)
            (local.set $at (i32.mul (memory.grow (i32.const 20)) (i32.const 65536)))
            ;; was it zero? then make it not so
            (i32.store (i32.const 0) (i32.load (local.get $at)))
            (i32.store (local.get $at) (i32.const 7)))`,
      }),
    );
    for (const tier of ['scan', 'pagemap', 'drop', 'copy'] as const) {
      const slot = await bench.newSlot(dirtyGrown, bench.environment(tier));
      for (let round = 0; round < 3; round++) {
        await serve(slot, '/');
        assert.equal(slot.observe().memories[0]?.readInt32LE(0), 0, `${tier}, round ${round}`);
        slot.turn(dirtyGrown);
      }
    }
  });

  test('cannot be grown beyond the declared maximum, however large the slot is', async () => {
    const capped = await bench.freeze(
      await handlerComponent({
        core: `(memory (export "memory") 1 3)
          (func (export "handle") (param i32 i32)
            (i32.store (i32.const 0) (memory.grow (i32.const 3)))
            (i32.store (i32.const 4) (memory.grow (i32.const 2)))
            (i32.store (i32.const 8) (memory.grow (i32.const 1))))`,
      }),
    );
    const own = bench.environment('copy');
    const large = own.memories.take([50]);
    own.memories.giveBack(large);
    const slot = await bench.newSlot(capped, own);
    assert.equal(own.memories.created, 1);
    await serve(slot, '/');
    const [memory] = slot.observe().memories;
    assert.deepEqual(
      [0, 4, 8].map((at) => memory?.readInt32LE(at)),
      [-1, 1, -1],
    );
  });
});

/** Its start function takes a global from the data: the code is the same, the state is not. */
const withGlobal = (value: string, pages: number, more = ''): Promise<Uint8Array> =>
  handlerComponent({
    core: `(memory (export "memory") ${pages}) (data (i32.const 0) "${value}")
      (global $value (mut i32) (i32.const 0))
      (start $init)
      (func $init (global.set $value (i32.load (i32.const 0))))
      ${more}
      (func (export "handle") (param i32 i32)
        (i32.store (i32.const 8) (global.get $value))
        (i32.store (i32.const 12) (memory.size))
        (global.set $value (i32.const -1)))`,
  });

const answers = async (slot: Slot): Promise<(number | undefined)[]> => {
  await serve(slot, '/');
  const [memory] = slot.observe().memories;
  return [memory?.readInt32LE(8), memory?.readInt32LE(12)];
};

describe('snapshots of one code', () => {
  test('that are restored differ in memory, globals and size of memory', async () => {
    const one = await bench.freeze(await withGlobal('\\01', 1));
    const two = await bench.freeze(await withGlobal('\\02', 5));
    assert.equal(one.manifest.codeDigest, two.manifest.codeDigest);
    const slot = await newSlot(one);
    for (const [snapshot, expected] of [
      [one, [1, 1]],
      [two, [2, 5]],
      [two, [2, 5]],
      [one, [1, 1]],
    ] as const) {
      slot.turn(snapshot);
      assert.deepEqual(await answers(slot), expected);
    }
  });

  test('that are made afresh differ in the size of memory, whichever was loaded first', async () => {
    const changesTable = '(table 1 funcref) (func (export "change") (table.set (i32.const 0) (ref.null func)))';
    const one = await bench.freeze(await withGlobal('\\07', 1, changesTable));
    const two = await bench.freeze(await withGlobal('\\07', 5, changesTable));
    assert.equal(one.state.kind, 'fresh');
    assert.equal(one.manifest.codeDigest, two.manifest.codeDigest);
    const slot = await newSlot(one);
    for (const [snapshot, expected] of [
      [one, [7, 1]],
      [two, [7, 5]],
      [two, [7, 5]],
      [one, [7, 1]],
    ] as const) {
      slot.turn(snapshot);
      assert.equal(slot.observe().memories[0]?.length, (expected[1] ?? 0) * WASM_PAGE_BYTES);
      assert.deepEqual(await answers(slot), expected);
    }
  });
});

describe('a request that ends badly leaves a slot that serves on', () => {
  test('a trap is GUEST_TRAP', async () => {
    const slot = await newSlot();
    await assert.rejects(serve(slot, '/trap'), thawError('GUEST_TRAP', 'unreachable'));
    await assertServesOn(slot, await newSlot());
  });

  test('recursion without end is GUEST_TRAP, and says so', async () => {
    const core = `(memory (export "memory") 1) (func $again (call $again) (call $again))
      (func (export "handle") (param i32 i32) (call $again))`;
    const slot = await newSlot(await bench.freeze(await handlerComponent({ core })));
    await assert.rejects(serve(slot, '/'), thawError('GUEST_TRAP', 'ran out of stack'));
    assert.equal(slot.state, 'dirty');
  });

  test('exit is GUEST_EXITED', async () => {
    const slot = await newSlot();
    await assert.rejects(serve(slot, '/exit'), thawError('GUEST_EXITED', 'code 0'));
    await assertServesOn(slot, await newSlot());
  });

  test('no response is no error of the slot', async () => {
    const slot = await newSlot();
    assert.equal(await serve(slot, '/no-response'), null);
    await assertServesOn(slot, await newSlot());
  });

  test('an error that the host throws into the guest comes out as it is', async () => {
    const slot = await newSlot();
    const thrown = new ThawError('GUEST_LIMIT', 'the host says so');
    const call = new RecordingCall({
      onRespond: () => {
        throw thrown;
      },
    });
    await assert.rejects(slot.serve(call, requestTo('/counter')), (error) => error === thrown);
    await assertServesOn(slot, await newSlot());
  });

  test('everything that the guest held is disposed of', async () => {
    const slot = await newSlot();
    assert.equal(bench.world.timers, 0);
    let held = 0;
    const call = new RecordingCall({
      onRespond: () => {
        held = bench.world.timers;
      },
    });
    await slot.serve(call, requestTo('/leak'));
    assert.equal(held, 1);
    assert.equal(call.sent?.body, 'leaked\n');
    assert.equal(bench.world.timers, 0);
    await assertServesOn(slot, await newSlot());
  });

  test('a body that was not finished is aborted', async () => {
    const slot = await newSlot();
    const failing = new RecordingCall({ onRespond: () => slot.abort(reason()) });
    await assert.rejects(slot.serve(failing, requestTo('/counter')), thawError('WALL_TIME_EXCEEDED'));
    assert.equal(failing.sent?.end, 'aborted');
    await assertServesOn(slot, await newSlot());
  });
});

describe('a guest that waits in its realloc', () => {
  const outcomes = [
    ['traps', '(call $wait)', thawError('ABI_VIOLATION', 'from its realloc')],
    [
      // What it had begun to wait for would be rejected by its exit, with nobody there to hear of it.
      'has begun nothing, when it goes on',
      '(block $caught (try_table (catch_all $caught) (call $wait)))',
      thawError('GUEST_EXITED', 'code 1'),
    ],
  ] as const;
  for (const [what, waiting, outcome] of outcomes) {
    test(what, async () => {
      const snapshot = await bench.freeze(await waitingRealloc(waiting));
      // Timers of the real clock: an hour is not skipped.
      const slot = await bench.newSlot(snapshot, { ...environment, host: createHost() });
      for (let round = 0; round < 2; round++) {
        await assert.rejects(serve(slot, '/'), outcome);
        slot.turn(snapshot);
        // A rejection that nobody hears of fails the test.
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  }
});
