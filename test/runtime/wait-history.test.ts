import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIRST_QUIET, MOST_QUIET, WaitHistory } from '../../src/runtime/wait-history.ts';

function quiet(history: WaitHistory, requests: number): void {
  for (let request = 0; request < requests; request++) history.ended(false);
}

/** How many more requests must go without waiting until the history says so. */
function neededOf(history: WaitHistory): number {
  let needed = 0;
  for (; !history.isQuiet; needed++) history.ended(false);
  return needed;
}

suite('WaitHistory', () => {
  test('so many in a row without waiting are quiet, and no fewer', () => {
    const history = new WaitHistory();
    assert.equal(history.isQuiet, false);
    quiet(history, FIRST_QUIET - 1);
    assert.equal(history.isQuiet, false);
    history.ended(false);
    assert.equal(history.isQuiet, true);
    quiet(history, 1000);
    assert.equal(history.isQuiet, true);
  });

  test('one that waits before that makes the row begin anew, and costs no more', () => {
    const history = new WaitHistory();
    for (let round = 0; round < 20; round++) {
      quiet(history, FIRST_QUIET - 1);
      history.ended(true);
      assert.equal(history.isQuiet, false);
    }
    assert.equal(neededOf(history), FIRST_QUIET);
  });

  test('one that waits though it was not expected to: twice as many are asked for, up to the most', () => {
    const history = new WaitHistory();
    const asked: number[] = [];
    for (let round = 0; round < 14; round++) {
      asked.push(neededOf(history));
      history.ended(true);
    }
    const expected = Array.from({ length: 14 }, (_, round) => Math.min(FIRST_QUIET * 2 ** round, MOST_QUIET));
    assert.deepEqual(asked, expected);
    assert.deepEqual(asked.slice(-3), [MOST_QUIET, MOST_QUIET, MOST_QUIET]);
  });

  test('one that runs twice counts once: what it does the second time is not a surprise again', () => {
    const history = new WaitHistory();
    quiet(history, FIRST_QUIET);
    // At once, where it would have had to wait; then on a stack of its own, where it does.
    history.ended(true);
    history.ended(true);
    assert.equal(neededOf(history), FIRST_QUIET * 2);
  });

  test('of an app that waits once in a while few requests run twice', () => {
    const history = new WaitHistory();
    let twice = 0;
    for (let request = 0; request < 100_000; request++) {
      const waits = request % 100 === 0;
      if (waits && history.isQuiet) twice++;
      history.ended(waits);
    }
    // After 8, 16, 32 and 64 quiet ones; 128 in a row there are none.
    assert.equal(twice, 4);
  });
});
