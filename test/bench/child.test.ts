import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from '../../bench/support/child.ts';

/** For as long as a busy machine may take. */
async function eventually(what: string, check: () => boolean): Promise<void> {
  for (let looks = 0; !check(); looks++) {
    assert.ok(looks < 500, what);
    await sleep(20);
  }
}

const run = (code: string): Child =>
  new Child({ name: 'a test', command: [process.execPath, '--eval', `console.log('begun'); ${code}`] });

test('Child tells what runs from what waits, and takes no time while it is paused', async () => {
  await using busy = run('for (;;);');
  await using idle = run('setInterval(() => {}, 1000);');
  await Promise.all([busy.line(/^begun$/), idle.line(/^begun$/)]);
  await eventually('Node is done with what it does after the first line', () => !idle.isRunnable);
  assert.equal(busy.isRunnable, true);
  busy.pause();
  await eventually('it stands still', () => !busy.isRunnable);
  const before = busy.cpuSeconds;
  await sleep(100);
  assert.equal(busy.cpuSeconds, before);
  busy.resume();
  assert.equal(busy.isRunnable, true);
});

test('Child counts the memory of all processes of its group', async () => {
  await using parent = run(
    `require('node:child_process').spawn(process.execPath, ['--eval', "console.log('second'); setInterval(() => {}, 1000)"], { stdio: 'inherit' });`,
  );
  await parent.line(/^second$/);
  const own = parent.memory('VmRSS');
  // Another Node, 30 MB and more.
  assert.ok(parent.groupResidentBytes > own + 10 * 2 ** 20, `${parent.groupResidentBytes} of ${own}`);
});

test('Child ends although it is paused', async () => {
  const child = run('setInterval(() => {}, 1000);');
  await child.line(/^begun$/);
  child.pause();
  await child.stop();
  assert.equal(child.isRunning, false);
});
