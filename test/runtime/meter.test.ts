import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { CONTROL_CLOCK, CONTROL_DEADLINE, CONTROL_SEGMENT } from '../../src/runtime/control.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { ASLEEP, AWAKE, DOZE_MS, DOZING } from '../../src/runtime/doorbell.ts';
import { Account, isRunning, Meter } from '../../src/runtime/meter.ts';
import { ThreadClock } from '../../src/runtime/thread-clock.ts';
import { Watch } from '../../src/runtime/watch.ts';
import { Watchdog } from '../../src/runtime/watchdog.ts';
import { thawError } from '../snapshot/support.ts';

const CLOCK_ID = 77;

/** A thread whose clocks stand still unless they are moved. */
class Thread {
  readonly words = new Int32Array(new SharedArrayBuffer(64));
  readonly doorbell = new Int32Array(new SharedArrayBuffer(4));
  readonly meter: Meter;
  /** How often the stop page was closed and not opened again. */
  closed = 0;
  readonly page = {
    close: () => {
      this.closed++;
    },
    open: () => {
      this.closed--;
    },
  };
  /** The machine's clock, and the thread's CPU time. */
  nowMs = 1000;
  cpuMs = 5;
  /** Looks at the CPU clock. */
  looks = 0;

  constructor() {
    const read = (id: number): number => {
      assert.equal(id, CLOCK_ID);
      this.looks++;
      return this.cpuMs * 1000;
    };
    this.meter = new Meter(this.words, this.doorbell, this.page, new ThreadClock(CLOCK_ID, read), () => this.nowMs);
  }

  /** The guest runs for so long, and the kernel has others run in between. */
  pass(cpuMs: number, othersMs = 0): void {
    this.cpuMs += cpuMs;
    this.nowMs += cpuMs + othersMs;
  }

  account(limitMs: number, graceMs = 0): Account {
    const account = new Account(this.meter);
    account.open(limitMs, graceMs);
    return account;
  }

  watch(onRead: () => void = () => {}): Watch {
    return new Watch([this], (id) => {
      assert.equal(id, CLOCK_ID);
      onRead();
      return this.cpuMs * 1000;
    });
  }

  get segment(): number {
    return this.words[CONTROL_SEGMENT >> 2] as number;
  }
}

describe('a meter', () => {
  test('adds up the segments of each account, and nothing between them', () => {
    const thread = new Thread();
    const [a, b] = [thread.account(50), thread.account(50)];
    for (let round = 0; round < 3; round++) {
      a.resume();
      thread.pass(1);
      a.pause();
      thread.pass(7);
      b.resume();
      thread.pass(0.5);
      b.pause();
    }
    assert.deepEqual([a.usedMs, b.usedMs, a.leftMs, a.wasStopped], [3, 1.5, 47, false]);
    a.pause();
    assert.equal(a.usedMs, 3, 'a pause of an account that does not run is nothing');
  });

  test('ends the segment of a guest that returned without saying so when the next begins', () => {
    const thread = new Thread();
    const [a, b] = [thread.account(50), thread.account(50)];
    a.resume();
    thread.pass(1);
    b.resume();
    thread.pass(2);
    a.pause();
    b.pause();
    assert.deepEqual([a.usedMs, b.usedMs], [1, 2]);
  });

  test('does not count the time in which the kernel ran others', () => {
    const thread = new Thread();
    const account = thread.account(50);
    account.resume();
    thread.pass(10, 500);
    account.pause();
    assert.equal(account.usedMs, 10);
  });

  test('looks at the CPU clock at most once a millisecond, while segments are short', () => {
    const thread = new Thread();
    const account = thread.account(1000);
    for (let segment = 0; segment < 1000; segment++) {
      account.resume();
      thread.pass(0.125);
      account.pause();
    }
    assert.equal(account.usedMs, 125);
    assert.ok(thread.looks <= 126, `${thread.looks} looks`);
  });

  test('opens an account anew', () => {
    const thread = new Thread();
    const account = thread.account(1);
    account.resume();
    thread.pass(5);
    thread.watch().look();
    account.pause();
    assert.deepEqual([account.wasStopped, account.usedMs, account.leftMs], [true, 5, 0]);
    account.open(2, 3);
    assert.deepEqual([account.wasStopped, account.usedMs, account.limitMs, account.leftMs], [false, 0, 2, 5]);
    assert.throws(() => account.open(1_800_001), thawError('INTERNAL', 'can be metered'));
  });

  test('stops an account that has nothing left at once, and one that was stopped again', () => {
    const thread = new Thread();
    const [spent, stopped] = [thread.account(1), thread.account(10)];
    for (const [account, ms] of [
      [spent, 1],
      [stopped, 11],
    ] as const) {
      account.resume();
      thread.pass(ms);
      if (account === stopped) thread.watch().look();
      account.pause();
      account.resume();
      assert.ok(account.isOver);
      account.pause();
      assert.ok(account.wasStopped);
    }
  });

  test('rings the doorbell when the watchdog sleeps', () => {
    const thread = new Thread();
    Atomics.store(thread.doorbell, 0, ASLEEP);
    thread.account(1000).resume();
    assert.equal(thread.doorbell[0], AWAKE);
  });

  test('rings the doorbell of a watchdog that dozes for a segment that may be over before it looks', () => {
    const thread = new Thread();
    Atomics.store(thread.doorbell, 0, DOZING);
    thread.account(DOZE_MS).resume();
    assert.equal(thread.doorbell[0], DOZING);
    thread.account(DOZE_MS - 1).resume();
    assert.equal(thread.doorbell[0], AWAKE);
  });
});

describe('a watch', () => {
  test('says how long there is to the next deadline, and stops what is past its own', () => {
    const thread = new Thread();
    const account = thread.account(20);
    const watch = thread.watch();
    assert.deepEqual(watch.look(), { nextMicros: null, isQuiet: true });
    account.resume();
    assert.deepEqual(watch.look(), { nextMicros: 20_000, isQuiet: false });
    thread.pass(15, 100);
    assert.deepEqual(watch.look(), { nextMicros: 5000, isQuiet: false });
    assert.ok(!account.isOver);
    thread.pass(5);
    assert.deepEqual(watch.look(), { nextMicros: null, isQuiet: true });
    assert.ok(account.isOver);
    account.pause();
    assert.deepEqual([account.wasStopped, account.isOver], [true, false]);
    assert.deepEqual(watch.look(), { nextMicros: null, isQuiet: false }, 'another segment than before');
    assert.deepEqual(watch.look(), { nextMicros: null, isQuiet: true });
  });

  test('works where the clocks pass 2³¹ and 2³² microseconds', () => {
    for (const edge of [2 ** 31, 2 ** 32, 2 ** 33]) {
      const thread = new Thread();
      thread.cpuMs = edge / 1000 - 5;
      const account = thread.account(10);
      account.resume();
      assert.equal(thread.watch().look().nextMicros, 10_000, `at ${edge}`);
      thread.pass(9);
      assert.equal(thread.watch().look().nextMicros, 1000);
      thread.pass(1);
      thread.watch().look();
      assert.ok(account.isOver);
      account.pause();
    }
  });

  test('leaves a thread alone whose clock cannot be read', () => {
    const thread = new Thread();
    thread.account(1).resume();
    thread.pass(1000);
    assert.deepEqual(new Watch([thread], () => null).look(), { nextMicros: null, isQuiet: false });
    assert.ok(!thread.meter.isStopped);
    assert.equal(thread.words[CONTROL_CLOCK >> 2], CLOCK_ID);
  });

  type Step =
    | { readonly kind: 'resume' | 'pause'; readonly account: number }
    | { readonly kind: 'pass'; readonly ms: number }
    | { readonly kind: 'look'; readonly meanwhile: readonly Step[] };

  const ACCOUNTS = 3;
  const simple = fc.oneof(
    fc.record({ kind: fc.constantFrom('resume' as const, 'pause' as const), account: fc.nat(ACCOUNTS - 1) }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(30) }),
  );
  /** A look, with what the thread does between the watchdog's read of the segment and its decision. */
  const look = fc.record({ kind: fc.constant('look' as const), meanwhile: fc.array(simple, { maxLength: 6 }) });
  const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(simple, look), { maxLength: 60 });

  test('never stops a segment before its time, whatever the thread does while it looks', () => {
    const seen = { stopped: 0, overtaken: 0 };
    fc.assert(
      fc.property(steps, (all) => {
        const thread = new Thread();
        const accounts = Array.from({ length: ACCOUNTS }, (_, index) => thread.account(10 + 20 * index));
        const used = accounts.map(() => 0);
        let running: number | null = null;
        const run = (step: Step): void => {
          switch (step.kind) {
            case 'resume':
              accounts[step.account]?.resume();
              running = step.account;
              break;
            case 'pause':
              accounts[step.account]?.pause();
              if (running === step.account) running = null;
              break;
            case 'pass':
              thread.pass(step.ms);
              if (running !== null) used[running] = (used[running] as number) + step.ms;
              break;
            case 'look': {
              const before = thread.segment;
              thread.watch(() => step.meanwhile.forEach(run)).look();
              if (thread.segment !== before && thread.segment >= 0) seen.overtaken++;
            }
          }
          const [account, ms] = running === null ? [null, 0] : [accounts[running] as Account, used[running] as number];
          assert.equal(isRunning(thread.segment) || thread.segment < 0, account !== null);
          assert.equal(
            thread.closed,
            thread.segment < 0 ? 1 : 0,
            'the page is closed while the running segment is to stop',
          );
          // A segment is stopped only if its account has used what it may.
          if (account?.isOver === true) {
            seen.stopped++;
            assert.ok(ms >= account.limitMs, `stopped after ${ms} of ${account.limitMs} ms`);
          }
        };
        all.forEach(run);
        for (const [index, account] of accounts.entries()) {
          if (running !== index) assert.equal(account.usedMs, used[index]);
          if (account.wasStopped) assert.ok((used[index] as number) >= account.limitMs);
        }
      }),
      { numRuns: 2000 },
    );
    assert.ok(seen.stopped > 100 && seen.overtaken > 100, JSON.stringify(seen));
  });
});

test('the watchdog on its own thread stops segments that are over, and no other, 100,000 times in a row', async () => {
  const watchdog = new Watchdog(1);
  after(() => watchdog.stop());
  const { meter } = new ControlMemory(watchdog.links[0]);
  const [short, long] = [new Account(meter), new Account(meter)];
  const untilStopped = (): boolean => {
    const begun = performance.now();
    while (!short.isOver) if (performance.now() - begun > 10_000) return false;
    return true;
  };
  let stops = 0;
  for (let round = 0; round < 100_000; round++) {
    long.open(60_000);
    short.open(round % 1000 === 0 ? 0.5 : 0.001);
    short.resume();
    // Every thousandth is waited for; the others end just when the watchdog may look at them.
    if (round % 1000 === 0) assert.ok(untilStopped(), 'stopped in 10 s');
    short.pause();
    if (short.wasStopped) stops++;
    long.resume();
    assert.ok(!long.isOver, `round ${round}`);
    long.pause();
    assert.ok(!long.wasStopped, `round ${round}`);
  }
  assert.ok(stops >= 100, `${stops} stops`);
});

test('a watchdog that sleeps is woken, again and again', async () => {
  const watchdog = new Watchdog(2);
  after(() => watchdog.stop());
  const [link, other] = watchdog.links;
  assert.ok(link && other);
  const { meter } = new ControlMemory(link);
  const doorbell = new Int32Array(link.doorbell);
  const account = new Account(meter);
  for (let round = 0; round < 3; round++) {
    const deadline = performance.now() + 10_000;
    while (Atomics.load(doorbell, 0) !== ASLEEP) {
      assert.ok(performance.now() < deadline, 'it sleeps when nothing runs');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    account.open(1);
    account.resume();
    while (!account.isOver) assert.ok(performance.now() < deadline, 'it stops a segment');
    account.pause();
  }
  assert.equal(watchdog.failure, null);
});

test('a watchdog dozes while segments have time, and is woken for one that has little', async () => {
  const watchdog = new Watchdog(1);
  after(() => watchdog.stop());
  const [link] = watchdog.links;
  assert.ok(link);
  const { meter } = new ControlMemory(link);
  const doorbell = new Int32Array(link.doorbell);
  const [long, short] = [new Account(meter), new Account(meter)];
  for (let round = 0; round < 3; round++) {
    const deadline = performance.now() + 10_000;
    long.open(60_000);
    while (Atomics.load(doorbell, 0) !== DOZING) {
      assert.ok(performance.now() < deadline, 'it dozes when segments have time');
      // Each is another segment: something runs.
      long.resume();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    short.open(1);
    short.resume();
    while (!short.isOver) assert.ok(performance.now() < deadline, 'it stops a segment');
    short.pause();
    long.pause();
    assert.ok(!long.wasStopped);
  }
  assert.equal(watchdog.failure, null);
});

test('the deadline is written before the segment that it is for', () => {
  const thread = new Thread();
  const order: string[] = [];
  const { store } = Atomics;
  const names = new Map([
    [CONTROL_DEADLINE >> 2, 'deadline'],
    [CONTROL_SEGMENT >> 2, 'segment'],
  ]);
  Atomics.store = ((words: Int32Array, index: number, value: number) => {
    order.push(names.get(index) ?? '?');
    return store(words, index, value);
  }) as typeof Atomics.store;
  try {
    thread.account(1).resume();
  } finally {
    Atomics.store = store;
  }
  assert.deepEqual(order, ['deadline', 'segment']);
});
