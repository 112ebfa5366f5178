import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PHASE_NAMES, PHASES, START_KIND_NAMES, START_KINDS, StartTimer } from '../../src/metrics/phases.ts';

/** A clock that shows what it is told, in milliseconds. */
function fakeClock(): { now: () => number; set: (milliseconds: number) => void } {
  let time = 0;
  return { now: () => time, set: (milliseconds) => void (time = milliseconds) };
}

test('every phase and start kind has a description', () => {
  assert.deepEqual(Object.keys(PHASES), [...PHASE_NAMES]);
  assert.deepEqual(Object.keys(START_KINDS), [...START_KIND_NAMES]);
});

test('StartTimer gives each phase the time since the mark before', () => {
  const clock = fakeClock();
  const timer = new StartTimer(clock.now);
  clock.set(1000);
  timer.begin();
  clock.set(1000.25);
  timer.mark('route');
  clock.set(1001);
  timer.mark('acquire');
  clock.set(1003);
  timer.mark('guest');
  timer.finish();
  assert.deepEqual(timer.toJSON(), { route: 250, acquire: 750, guest: 2000, total: 3000 });
  assert.equal(timer.micros('acquire'), 750);
});

test('StartTimer has no value for a phase that did not happen, and 0 for one that took no time', () => {
  const timer = new StartTimer(fakeClock().now);
  timer.begin();
  timer.mark('route');
  assert.equal(timer.micros('route'), 0);
  assert.equal(timer.micros('compile'), undefined);
  assert.equal(timer.micros('total'), undefined);
});

test('StartTimer adds up the marks of one phase and leaves skipped time to the total', () => {
  const clock = fakeClock();
  const timer = new StartTimer(clock.now);
  timer.begin();
  clock.set(1);
  timer.mark('acquire');
  clock.set(3);
  timer.skip();
  clock.set(3.5);
  timer.mark('acquire');
  timer.finish();
  assert.deepEqual(timer.toJSON(), { acquire: 1500, total: 3500 });
});

test('StartTimer forgets the last start when it begins another', () => {
  const timer = new StartTimer(fakeClock().now);
  timer.begin();
  timer.mark('compile');
  timer.finish();
  timer.begin();
  timer.mark('restore');
  assert.deepEqual(Object.keys(timer.toJSON()), ['restore']);
});

test('StartTimer measures with a real clock by default', async () => {
  const timer = new StartTimer();
  timer.begin();
  await new Promise((resolve) => setTimeout(resolve, 20));
  timer.mark('guest');
  timer.finish();
  const guest = timer.micros('guest') ?? 0;
  assert.ok(guest >= 15_000 && guest < 5_000_000, `20 ms measured as ${guest} µs`);
  assert.ok((timer.micros('total') ?? 0) >= guest);
});
