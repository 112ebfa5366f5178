import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import { StartTimer } from '../../src/metrics/phases.ts';
import { CodeCache, compileFrom } from '../../src/runtime/code.ts';
import { SlotPool, type Acquired, type PoolLimits } from '../../src/runtime/pool.ts';
import type { Slot, SlotEnvironment } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { RecordingCall, requestTo } from '../support/call.ts';
import { Bench } from '../support/runtime.ts';
import { silentComponent } from '../support/wat.ts';
import { damage, flipBit, objectPath, thawError } from '../snapshot/support.ts';

const bench = new Bench();

/** Snapshots that share code: a1, a2, a3. One of other code: b. */
const apps: Record<'a1' | 'a2' | 'a3' | 'b', LoadedSnapshot> = Object.create(null) as never;

before(async () => {
  for (const name of ['a1', 'a2', 'a3'] as const) apps[name] = await bench.freeze(await silentComponent(name));
  apps.b = await bench.freeze(await silentComponent('b', { code: 1 }));
  assert.equal(apps.a1.manifest.codeDigest, apps.a2.manifest.codeDigest);
  assert.notEqual(apps.a1.manifest.codeDigest, apps.b.manifest.codeDigest);
});

const NEVER = new Promise<void>(() => {});
const MIB = 1_048_576;

type Pool = { readonly pool: SlotPool; readonly environment: SlotEnvironment };

function newPool(limits: Partial<PoolLimits> = {}, environment = bench.environment('copy')): Pool {
  const code = new CodeCache(compileFrom(bench.store));
  return {
    pool: new SlotPool({ slots: 2, memoryBytes: 64 * MIB, isShared: false, ...limits }, environment, code),
    environment,
  };
}

const acquire = async ({ pool }: Pool, snapshot: LoadedSnapshot, deadline = NEVER): Promise<Acquired> => {
  const timer = new StartTimer();
  timer.begin();
  return pool.acquire(snapshot, timer, () => deadline);
};

/** The first bytes of the slot's memory say which app it holds. */
const holds = (slot: Slot): string | undefined =>
  slot.observe().memories[0]?.toString('latin1', 0, 2).replace('\0', '');

async function use({ pool }: Pool, slot: Slot): Promise<void> {
  await slot.serve(new RecordingCall(), requestTo('/'));
  pool.release(slot);
}

/** Acquires, serves, releases. @returns the start kind */
async function start(pool: Pool, name: keyof typeof apps): Promise<string> {
  const { slot, kind } = await acquire(pool, apps[name]);
  assert.equal(slot.state, 'clean');
  assert.equal(holds(slot), name);
  await use(pool, slot);
  return kind;
}

describe('start kinds', () => {
  test('load at the first use of code, then hot; instantiate when all of its slots are busy', async () => {
    const pool = newPool({ slots: 3 });
    assert.equal(await start(pool, 'a1'), 'load');
    assert.equal(await start(pool, 'a1'), 'hot');
    const first = await acquire(pool, apps.a1);
    const second = await acquire(pool, apps.a1);
    assert.deepEqual([first.kind, second.kind], ['hot', 'instantiate']);
    assert.equal(await start(pool, 'b'), 'load');
    assert.deepEqual(pool.pool.slots, { total: 3, idle: 1, waiting: 0 });
  });

  test('switch turns an idle slot of the same code, and no other', async () => {
    const pool = newPool();
    await start(pool, 'a1');
    assert.equal(await start(pool, 'a2'), 'switch');
    assert.equal(pool.pool.cleanSlots(apps.a1.digest), 0);
    assert.equal(pool.pool.cleanSlots(apps.a2.digest), 1);
    assert.equal(await start(pool, 'b'), 'load');
    assert.equal(await start(pool, 'a1'), 'switch');
    assert.equal(pool.pool.slots.total, 2);
  });

  test('the phases of each kind are marked, and no others', async () => {
    const pool = newPool();
    const phases = async (name: keyof typeof apps): Promise<string[]> => {
      const timer = new StartTimer();
      timer.begin();
      const { slot } = await pool.pool.acquire(apps[name], timer, () => NEVER);
      await use(pool, slot);
      return Object.entries(timer.toJSON()).flatMap(([phase, micros]) => (Number.isFinite(micros) ? [phase] : []));
    };
    assert.deepEqual(await phases('a1'), ['acquire', 'compile', 'instantiate']);
    assert.deepEqual(await phases('a1'), ['acquire']);
    assert.deepEqual(await phases('a2'), ['acquire', 'restore']);
  });
});

/** Two apps of one code in turn, in a pool of their own. @returns the start kinds */
async function startInTurn(slots: number): Promise<string[]> {
  const pool = newPool({ slots });
  const kinds = [];
  for (const name of ['a1', 'a2', 'a1', 'a2', 'a1'] as const) kinds.push(await start(pool, name));
  return kinds;
}

describe('which slot has to go', () => {
  test('two apps of one code in turn get a slot each while there is room, and share one where there is none', async () => {
    assert.deepEqual(await startInTurn(2), ['load', 'switch', 'instantiate', 'hot', 'hot']);
    assert.deepEqual(await startInTurn(1), ['load', 'switch', 'switch', 'switch', 'switch']);
  });

  test('a switch takes the slot of the least recently used app', async () => {
    const pool = newPool({ slots: 3 });
    const two = [await acquire(pool, apps.a1), await acquire(pool, apps.a2)];
    for (const { slot } of two) await use(pool, slot);
    await start(pool, 'a1');
    assert.equal(await start(pool, 'a3'), 'switch');
    assert.deepEqual(
      [apps.a1, apps.a2].map(({ digest }) => pool.pool.cleanSlots(digest)),
      [1, 0],
    );
  });

  test('at the limit of slots the least recently used one gives way to other code', async () => {
    const pool = newPool({ slots: 2 });
    const two = [await acquire(pool, apps.a1), await acquire(pool, apps.a2)];
    for (const { slot } of two) await use(pool, slot);
    await start(pool, 'a1');
    assert.equal(await start(pool, 'b'), 'load');
    assert.deepEqual(
      [apps.a1, apps.a2, apps.b].map(({ digest }) => pool.pool.cleanSlots(digest)),
      [1, 0, 1],
    );
    assert.equal(pool.environment.memories.created, 2);
  });

  test('an app that was used long ago loses all its slots before one used since loses any', async () => {
    const pool = newPool({ slots: 4 });
    const old = [await acquire(pool, apps.a1), await acquire(pool, apps.a1)];
    for (const { slot } of old) await use(pool, slot);
    const recent = [await acquire(pool, apps.b), await acquire(pool, apps.b)];
    for (const { slot } of recent) await use(pool, slot);
    const other = await bench.freeze(await silentComponent('c', { code: 2 }));
    const newcomers = [await acquire(pool, other), await acquire(pool, other)];
    assert.deepEqual(
      [apps.a1, apps.b].map(({ digest }) => pool.pool.cleanSlots(digest)),
      [0, 2],
    );
    for (const { slot } of newcomers) await use(pool, slot);
  });

  test('idle slots over the memory budget are let go, the least recently used first', async () => {
    const probe = await acquire(newPool(), apps.a1);
    const pool = newPool({ slots: 4, memoryBytes: 2 * probe.slot.residentBytes });
    const three = [await acquire(pool, apps.a1), await acquire(pool, apps.a2), await acquire(pool, apps.b)];
    assert.equal(pool.pool.slots.total, 3);
    for (const { slot } of three) await use(pool, slot);
    assert.deepEqual(pool.pool.slots, { total: 2, idle: 2, waiting: 0 });
    assert.equal(pool.pool.cleanSlots(apps.a1.digest), 0);
  });

  test('a budget below one slot keeps none, and serves all the same', async () => {
    const pool = newPool({ memoryBytes: WASM_PAGE_BYTES });
    assert.equal(await start(pool, 'a1'), 'load');
    assert.deepEqual(pool.pool.slots, { total: 0, idle: 0, waiting: 0 });
    assert.equal(await start(pool, 'a1'), 'instantiate');
    assert.equal(pool.environment.memories.created, 1);
  });

  test('clear lets go of all idle slots and leaves busy ones', async () => {
    const pool = newPool();
    const { slot } = await acquire(pool, apps.a1);
    await start(pool, 'b');
    pool.pool.clear();
    assert.deepEqual(pool.pool.slots, { total: 1, idle: 0, waiting: 0 });
    await use(pool, slot);
    pool.pool.clear();
    assert.deepEqual(pool.pool.slots, { total: 0, idle: 0, waiting: 0 });
  });
});

const busy = thawError('NODE_BUSY', 'pool.slots');
const turns = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Notes what became of an acquire: `waiting`, a start kind, or an error's code. */
function watch(acquired: Promise<Acquired>): { state: string; slot: Slot | null } {
  const seen: { state: string; slot: Slot | null } = { state: 'waiting', slot: null };
  acquired.then(
    ({ slot, kind }) => Object.assign(seen, { state: kind, slot }),
    (error: unknown) => Object.assign(seen, { state: error instanceof ThawError ? error.code : String(error) }),
  );
  return seen;
}

describe('when all slots are busy', () => {
  test('a request waits, and gets the slot that is released, turned to its app', async () => {
    const pool = newPool({ slots: 1 });
    const { slot } = await acquire(pool, apps.a1);
    const waiting = watch(acquire(pool, apps.a2));
    await turns();
    assert.equal(waiting.state, 'waiting');
    assert.equal(pool.pool.slots.waiting, 1);
    await use(pool, slot);
    await turns();
    assert.equal(waiting.state, 'switch');
    assert.equal(waiting.slot, slot);
    assert.equal(holds(slot), 'a2');
  });

  test('requests are served in the order in which they came', async () => {
    const pool = newPool({ slots: 1 });
    await start(pool, 'b');
    let { slot } = await acquire(pool, apps.a1);
    const waiting = (['a2', 'b', 'a1', 'a1'] as const).map((name) => watch(acquire(pool, apps[name])));
    await turns();
    for (const [index, next] of waiting.entries()) {
      assert.deepEqual(
        waiting.slice(index).map(({ state }) => state),
        waiting.slice(index).map(() => 'waiting'),
      );
      await use(pool, slot);
      await turns();
      assert.ok(next.slot);
      ({ slot } = next);
    }
  });

  test('a request that comes first to a slot that another was woken for does not cost that one its place', async () => {
    const pool = newPool({ slots: 1 });
    const { slot } = await acquire(pool, apps.a1);
    const [first, second] = [watch(acquire(pool, apps.a1)), watch(acquire(pool, apps.a1))];
    await turns();
    await slot.serve(new RecordingCall(), requestTo('/'));
    pool.pool.release(slot);
    const newcomer = watch(acquire(pool, apps.a1));
    await turns();
    assert.deepEqual([first.state, second.state, newcomer.state], ['waiting', 'waiting', 'hot']);
    await use(pool, slot);
    await turns();
    assert.deepEqual([first.state, second.state], ['hot', 'waiting']);
  });

  test('at the deadline it is NODE_BUSY, and the slot goes to the next in the queue', async () => {
    const pool = newPool({ slots: 1 });
    const { slot } = await acquire(pool, apps.a1);
    const deadline = Promise.withResolvers<void>();
    const first = acquire(pool, apps.a1, deadline.promise);
    const second = watch(acquire(pool, apps.a1));
    deadline.resolve();
    await assert.rejects(first, busy);
    assert.equal(pool.pool.slots.waiting, 1);
    await use(pool, slot);
    await turns();
    assert.equal(second.state, 'hot');
  });

  test('a slot that comes at the very deadline is not lost to the next in the queue', async () => {
    const pool = newPool({ slots: 1 });
    const { slot } = await acquire(pool, apps.a1);
    await slot.serve(new RecordingCall(), requestTo('/'));
    const deadline = Promise.withResolvers<void>();
    const first = watch(acquire(pool, apps.a1, deadline.promise));
    const second = watch(acquire(pool, apps.a1));
    await turns();
    deadline.resolve();
    pool.pool.release(slot);
    await turns();
    const served = [first, second].filter(({ slot: got }) => got !== null);
    assert.equal(served.length, 1, `${first.state}, ${second.state}`);
    assert.equal(pool.pool.slots.idle, 0);
  });

  test('a waiter that fails when its turn comes leaves the slot to the next', async () => {
    const pool = newPool({ slots: 1 });
    await start(pool, 'a1');
    const { slot } = await acquire(pool, apps.b);
    const failing = watch(acquire(pool, brokenCopy(apps.a1)));
    const next = watch(acquire(pool, apps.b));
    await use(pool, slot);
    await turns();
    assert.equal(failing.state, 'INTERNAL');
    assert.notEqual(next.state, 'waiting');
  });
});

/** A snapshot whose slots cannot be linked. */
function brokenCopy(app: LoadedSnapshot): LoadedSnapshot {
  const core = { ...app.handler.core, name: 'not there' };
  return { ...app, digest: 'f'.repeat(64), handler: { ...app.handler, core } };
}

/** As many memories as the address space would hold. */
function narrow(memories: number): SlotEnvironment & { refusals: number } {
  const environment = { ...bench.environment('copy'), refusals: 0 };
  const { memories: pool } = environment;
  const take = pool.take.bind(pool);
  let taken = 0;
  pool.take = (minimums) => {
    if (taken + minimums.length > memories) {
      environment.refusals++;
      throw new ThawError('OUT_OF_ADDRESS_SPACE', 'the test says so');
    }
    taken += minimums.length;
    return take(minimums);
  };
  const giveBack = pool.giveBack.bind(pool);
  pool.giveBack = (given) => {
    taken -= given.length;
    giveBack(given);
  };
  return environment;
}

describe('a pool that several apps share', () => {
  test('one app takes three quarters of it, and the other is served at once', async () => {
    const pool = newPool({ slots: 8, isShared: true });
    const held = await Promise.all(Array.from({ length: 6 }, () => acquire(pool, apps.a1)));
    const late = acquire(pool, apps.a1);
    assert.equal((await acquire(pool, apps.b)).slot.snapshot, apps.b);
    assert.equal(pool.pool.slots.waiting, 1);
    const [first] = held;
    assert.ok(first);
    await use(pool, first.slot);
    assert.equal((await late).slot, first.slot);
  });

  test('a request beyond the share of its app is NODE_BUSY at the deadline, and says so', async () => {
    const pool = newPool({ slots: 4, isShared: true });
    for (let count = 0; count < 3; count++) await acquire(pool, apps.a1);
    await assert.rejects(acquire(pool, apps.a1, Promise.resolve()), (error: unknown) => {
      assert.ok(error instanceof ThawError && error.code === 'NODE_BUSY');
      assert.match(error.message, /of 4 its snapshot has 3, its share/);
      return true;
    });
  });
});

describe('failures', () => {
  test('code that is damaged in the store is STORE_OBJECT_CORRUPT, and serves once it is mended', async () => {
    const snapshot = await bench.freeze(await silentComponent('x', { code: 77 }));
    const [code] = snapshot.manifest.code;
    assert.ok(code);
    const whole = Buffer.from(bench.store.readObject(code));
    damage(objectPath(bench.directory, code), flipBit);
    const pool = newPool({ slots: 1 });
    await assert.rejects(acquire(pool, snapshot), thawError('STORE_OBJECT_CORRUPT', 'core module 0'));
    assert.deepEqual(pool.pool.slots, { total: 0, idle: 0, waiting: 0 });
    rmSync(objectPath(bench.directory, code));
    await assert.rejects(acquire(pool, snapshot), thawError('STORE_OBJECT_MISSING', 'core module 0'));
    await bench.store.putObject(whole);
    assert.equal((await acquire(pool, snapshot)).kind, 'load');
  });

  test('a slot that cannot be made is not counted', async () => {
    const pool = newPool({ slots: 1 });
    await assert.rejects(acquire(pool, brokenCopy(apps.a1)), thawError('INTERNAL', 'not there'));
    assert.deepEqual(pool.pool.slots, { total: 0, idle: 0, waiting: 0 });
    assert.equal((await acquire(pool, apps.a1)).kind, 'instantiate');
    assert.equal(pool.environment.memories.created, 1);
  });

  test('a slot that cannot be restored is let go, and the next in the queue gets a new one', async () => {
    const pool = newPool({ slots: 1 });
    const { slot } = await acquire(pool, apps.a1);
    const waiting = watch(acquire(pool, apps.a1));
    await slot.serve(new RecordingCall(), requestTo('/'));
    const turn = slot.turn.bind(slot);
    slot.turn = () => {
      throw new ThawError('INTERNAL', 'the test says so');
    };
    assert.throws(() => pool.pool.release(slot), thawError('INTERNAL', 'the test says so'));
    slot.turn = turn;
    await turns();
    assert.equal(slot.state, 'disposed');
    assert.equal(waiting.state, 'instantiate');
    assert.notEqual(waiting.slot, slot);
    assert.equal(pool.pool.slots.total, 1);
  });

  test('without address space for another slot, an idle one of other code gives way', async () => {
    const environment = narrow(1);
    const pool = newPool({ slots: 10 }, environment);
    await start(pool, 'a1');
    assert.equal(await start(pool, 'b'), 'load');
    assert.equal(pool.pool.cleanSlots(apps.a1.digest), 0);
    assert.equal(pool.pool.slots.total, 1);
    // V8 is asked once: it collects garbage before it says no.
    await start(pool, 'a1');
    assert.equal(environment.refusals, 1);
  });

  test('without address space and without idle slots a request waits for a busy one', async () => {
    const pool = newPool({ slots: 10 }, narrow(1));
    const { slot } = await acquire(pool, apps.a1);
    const waiting = watch(acquire(pool, apps.b));
    while (pool.pool.slots.waiting === 0) await turns();
    assert.equal(pool.pool.slots.total, 1);
    await use(pool, slot);
    await turns();
    assert.equal(waiting.state, 'load');
  });

  test('without address space for the first slot it is OUT_OF_ADDRESS_SPACE', async () => {
    const pool = newPool({ slots: 10 }, narrow(0));
    await assert.rejects(acquire(pool, apps.a1), thawError('OUT_OF_ADDRESS_SPACE'));
    assert.deepEqual(pool.pool.slots, { total: 0, idle: 0, waiting: 0 });
  });
});
