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

test('who waits is told, whether the promise was asked for before the end or after', async () => {
  const before = new Cutoff();
  const { passed } = before;
  assert.equal(before.passed, passed, 'one promise for all that wait');
  let hasPassed = false;
  void passed.then(() => {
    hasPassed = true;
  });
  await sleep(5);
  assert.equal(hasPassed, false);
  before.clientGone();
  await passed;
  assert.equal(hasPassed, true);
  assert.equal(before.passed, passed);

  const after = new Cutoff();
  after.clientGone();
  await after.passed;
  assert.equal(after.reason?.code, 'CLIENT_GONE');
});

test('nobody is told of the end of a request that goes on', async () => {
  const cutoff = new Cutoff();
  cutoff.setWall(60_000);
  const ends = await Promise.race([cutoff.passed.then(() => 'passed'), sleep(10).then(() => 'not yet')]);
  assert.equal(ends, 'not yet');
  cutoff.clear();
});
