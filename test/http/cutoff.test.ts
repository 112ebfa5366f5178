import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cutoff } from '../../src/http/cutoff.ts';

test('the wall time is a reason when it is over, and not before', async () => {
  const cutoff = new Cutoff();
  const reasons: string[] = [];
  cutoff.onPassed(({ code }) => reasons.push(code));
  cutoff.setWall(30);
  assert.equal(cutoff.reason, null);
  await cutoff.passed;
  assert.deepEqual(reasons, ['WALL_TIME_EXCEEDED']);
  assert.equal(cutoff.isClientGone, false);
});

test('the first reason stands', async () => {
  const cutoff = new Cutoff();
  const reasons: string[] = [];
  cutoff.onPassed(({ code }) => reasons.push(code));
  cutoff.setWall(10);
  cutoff.clientGone();
  cutoff.clientGone();
  await sleep(30);
  assert.deepEqual(reasons, ['CLIENT_GONE']);
  assert.equal(cutoff.isClientGone, true);
});

test('who asks late is told at once', () => {
  const cutoff = new Cutoff();
  cutoff.clientGone();
  const reasons: string[] = [];
  cutoff.onPassed(({ code }) => reasons.push(code));
  assert.deepEqual(reasons, ['CLIENT_GONE']);
});

test('after the request nothing is called any more', async () => {
  const cutoff = new Cutoff();
  cutoff.onPassed(() => assert.fail('the request is over'));
  cutoff.setWall(10);
  cutoff.clear();
  cutoff.clientGone();
  await sleep(30);
});
