import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LapTimer } from '../../bench/suites/startup-laps.ts';

describe('LapTimer', () => {
  test('ends the total at the response head; what comes after is a phase, and in no total', (t) => {
    let now = 1000;
    t.mock.method(performance, 'now', () => now);
    const timer = new LapTimer();
    now += 0.5;
    timer.mark('memory');
    now += 0.25;
    timer.mark('instantiate');
    now += 0.12345;
    timer.head();
    now += 7;
    timer.skip();
    now += 0.04;
    timer.mark('restore');
    assert.deepEqual(timer.finish(), {
      total: 873.5,
      phase: { memory: 500, instantiate: 250, guest: 123.5, restore: 40 },
    });
  });

  test('has no total without a response head', () => {
    const timer = new LapTimer();
    timer.mark('memory');
    assert.throws(() => timer.finish(), /without an answer/);
  });
});
