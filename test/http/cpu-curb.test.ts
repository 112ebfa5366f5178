import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CURBED_MS, CpuCurb, MIN_STOPS } from '../../src/http/cpu-curb.ts';

const LIMIT_MS = 50;
const MINUTE_MS = 60_000;
const NEVER = new Promise<void>(() => {});

/** A curb on a clock of its own. */
class Curbed {
  now = 0;
  readonly curb = new CpuCurb(() => this.now);

  /** @returns how many stops it took until the route was curbed, or null */
  stop(route: number, times: number, everyMs = LIMIT_MS): number | null {
    let since: number | null = null;
    for (let stop = 1; stop <= times; stop++) {
      this.now += everyMs;
      if (this.curb.stopped(route)) since ??= stop;
    }
    return since;
  }

  limit(route: number): number {
    return this.curb.isCurbed(route) ? this.curb.limitOf(route, LIMIT_MS) : LIMIT_MS;
  }
}

suite('a route', () => {
  test('that is stopped again and again gets less, and others as much as before', () => {
    const curbed = new Curbed();
    assert.equal(curbed.limit(1), LIMIT_MS);
    assert.equal(curbed.stop(1, MIN_STOPS - 1), null);
    assert.equal(curbed.limit(1), LIMIT_MS);
    // A little has faded by then.
    assert.equal(curbed.stop(1, 2), 2);
    assert.equal(curbed.limit(1), CURBED_MS);
    assert.equal(curbed.limit(2), LIMIT_MS);
    assert.equal(curbed.stop(1, 100), null, 'once is enough');
  });

  test('that is stopped now and then is left alone', () => {
    const curbed = new Curbed();
    assert.equal(curbed.stop(1, 1000, 2000), null);
    assert.equal(curbed.limit(1), LIMIT_MS);
  });

  test('is forgiven half a minute after it was mended, and not while it goes on', () => {
    const curbed = new Curbed();
    curbed.stop(1, 2 * MIN_STOPS);
    curbed.stop(1, 100, 2000);
    assert.equal(curbed.limit(1), CURBED_MS);
    curbed.now += MINUTE_MS / 2;
    assert.equal(curbed.limit(1), LIMIT_MS);
    curbed.now += 5 * MINUTE_MS;
    assert.equal(curbed.stop(1, MIN_STOPS - 1), null);
  });

  test('whose requests take long when they succeed gets a few times that, but not more than its limit', () => {
    const curbed = new Curbed();
    curbed.stop(1, 2 * MIN_STOPS);
    for (const [ms, limit] of [
      [0.1, CURBED_MS],
      [5.9, 12],
      [90, LIMIT_MS],
    ] as const) {
      curbed.curb.ended(1, ms);
      assert.equal(curbed.limit(1), limit);
    }
    curbed.curb.ended(2, 1);
    assert.equal(curbed.limit(2), LIMIT_MS);
  });
});

const state = async (promise: Promise<unknown>): Promise<string> =>
  Promise.race([promise.then(() => 'in'), sleep(0).then(() => 'waits')]);

suite('guests of curbed routes', () => {
  test('start one after the other, with a pause after one that ran long', async () => {
    const curb = new CpuCurb();
    const leave = await curb.enter(NEVER);
    const second = curb.enter(NEVER);
    const third = curb.enter(NEVER);
    assert.equal(await state(second), 'waits');
    const begun = performance.now();
    leave(5);
    leave(1000);
    const leaveSecond = await second;
    const pauseMs = performance.now() - begun;
    // Four times 5 ms; it would be 4 s if the second call counted, too.
    assert.ok(pauseMs >= 19 && pauseMs < 3000, `${pauseMs} ms`);
    assert.equal(await state(third), 'waits');
    leaveSecond(0.1);
    assert.equal(await state(third), 'in');
  });

  test('pause once for many short runs', async () => {
    const curb = new CpuCurb();
    let pauses = 0;
    for (let run = 0; run < 20; run++) {
      const leave = await curb.enter(NEVER);
      leave(0.45);
      const next = curb.enter(NEVER);
      if ((await state(next)) === 'waits') pauses++;
      (await next)(0);
    }
    assert.equal(pauses, 10);
  });

  test('that need not start any more let go, and hold up nobody', async () => {
    const curb = new CpuCurb();
    const leave = await curb.enter(NEVER);
    const passed = Promise.withResolvers<void>();
    const gone = curb.enter(passed.promise);
    const last = curb.enter(NEVER);
    passed.resolve();
    (await gone)(1000);
    assert.equal(await state(last), 'waits', 'the first has not left');
    leave(0);
    assert.equal(await state(last), 'in');
  });
});
