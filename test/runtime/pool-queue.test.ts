import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as fc from 'fast-check';
import { ThawError } from '../../src/errors.ts';
import { StartTimer } from '../../src/metrics/phases.ts';
import { SlotPool, type Acquired, type PoolLimits } from '../../src/runtime/pool.ts';
import type { Slot } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { RecordingCall, requestTo } from '../support/call.ts';
import { Bench } from '../support/runtime.ts';
import { silentComponent } from '../support/wat.ts';

/**
 * The pool against an account of its requests, under any order of acquire, release, failure and deadline, several of
 * them in one turn of the event loop: no slot too many, none forgotten, and nobody waits for what is there.
 */

const bench = new Bench();
const environment = bench.environment('copy');
const snapshots: LoadedSnapshot[] = [];

before(async () => {
  for (const [data, code] of [
    ['a', 0],
    ['b', 0],
    ['c', 1],
    ['d', 2],
  ] as const) {
    snapshots.push(await bench.freeze(await silentComponent(data, { code })));
  }
  // Its slots can be turned from others of its code, but not made.
  const [first] = snapshots;
  assert.ok(first);
  const core = { ...first.handler.core, name: 'not there' };
  snapshots.push({ ...first, digest: 'f'.repeat(64), handler: { ...first.handler, core } });
  for (const snapshot of snapshots) await bench.code.load(snapshot.manifest);
});

type Request = {
  readonly snapshot: LoadedSnapshot;
  state: 'waiting' | 'held' | 'released' | 'failed';
  slot: Slot | null;
  readonly expire: () => void;
};

class Account {
  readonly pool: SlotPool;
  readonly #limits: PoolLimits;
  readonly #requests: Request[] = [];

  constructor(limits: PoolLimits) {
    this.#limits = limits;
    this.pool = new SlotPool(limits, environment, bench.code);
  }

  of(state: Request['state']): Request[] {
    return this.#requests.filter((request) => request.state === state);
  }

  acquire(index: number): void {
    const deadline = Promise.withResolvers<void>();
    const snapshot = snapshots[index] as LoadedSnapshot;
    const request: Request = { snapshot, state: 'waiting', slot: null, expire: () => deadline.resolve() };
    this.#requests.push(request);
    const timer = new StartTimer();
    timer.begin();
    const acquiring = async (): Promise<Acquired> => this.pool.acquire(snapshot, timer, () => deadline.promise);
    acquiring().then(
      async ({ slot }) => {
        assert.equal(slot.snapshot, snapshot);
        await slot.serve(new RecordingCall(), requestTo('/'));
        Object.assign(request, { state: 'held', slot });
      },
      (error: unknown) => {
        assert.ok(error instanceof ThawError && ['NODE_BUSY', 'INTERNAL'].includes(error.code), String(error));
        request.state = 'failed';
      },
    );
  }

  /** Releases one of the slots that are held; `fails`: it cannot be restored. */
  release(pick: number, fails: boolean): void {
    const held = this.of('held');
    const request = held[pick % Math.max(1, held.length)];
    if (request?.slot === undefined || request.slot === null) return;
    request.state = 'released';
    if (!fails) return this.pool.release(request.slot);
    const { slot } = request;
    slot.turn = () => {
      throw new ThawError('INTERNAL', 'the test says so');
    };
    assert.throws(() => this.pool.release(slot), ThawError);
  }

  expire(pick: number): void {
    const waiting = this.of('waiting');
    waiting[pick % Math.max(1, waiting.length)]?.expire();
  }

  async check(): Promise<void> {
    // A guest that answers nothing needs a few turns to be called and to return.
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
    const { total, idle, waiting } = this.pool.slots;
    const { slots, isShared } = this.#limits;
    const held = this.of('held');
    assert.ok(total <= slots, `${total} slots, ${slots} allowed`);
    assert.equal(idle + held.length, total, 'every slot is idle or held');
    assert.equal(waiting, this.of('waiting').length, 'who is not settled is in the queue');
    const free = slots - held.length;
    for (const { snapshot } of this.of('waiting')) {
      const own = held.filter((request) => request.snapshot === snapshot).length;
      assert.ok(isShared ? own >= 3 * free : free === 0, `with ${own} slots held and ${free} free nobody waits`);
    }
  }
}

const pick = fc.nat({ max: 20 });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('acquire' as const), pick: fc.nat({ max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), pick, fails: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), pick, fails: fc.constant(true) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('expire' as const), pick }) },
);
/** Steps of one turn of the event loop. */
const turn = fc.array(step, { minLength: 1, maxLength: 5 });

test('no slot is lost, none is too many, and every request is served or refused', async () => {
  const input = [
    fc.record({
      slots: fc.integer({ min: 1, max: 6 }),
      memoryBytes: fc.constantFrom(0, 2 ** 30),
      isShared: fc.boolean(),
    }),
    fc.array(turn, { maxLength: 16 }),
  ] as const;
  const property = fc.asyncProperty(...input, async (limits, turns) => {
    const account = new Account(limits);
    for (const steps of turns) {
      for (const one of steps) {
        if (one.kind === 'acquire') account.acquire(one.pick);
        else if (one.kind === 'release') account.release(one.pick, one.fails);
        else account.expire(one.pick);
      }
      await account.check();
    }
    while (account.of('held').length > 0) {
      account.release(0, false);
      await account.check();
    }
    assert.equal(account.of('waiting').length, 0);
    account.pool.clear();
    assert.equal(account.pool.slots.total, 0);
  });
  await fc.assert(property, { numRuns: 150 });
});
