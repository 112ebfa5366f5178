import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from '../../bench/support/child.ts';

const run = (code: string): Child =>
  new Child({ name: 'a test', command: [process.execPath, '--eval', `console.log('begun'); ${code}`] });

test('Child tells what runs from what waits, and takes no time while it is paused', async () => {
  await using busy = run('for (;;);');
  await using idle = run('setInterval(() => {}, 1000);');
  await Promise.all([busy.line(/^begun$/), idle.line(/^begun$/)]);
  // What Node does after the first line.
  for (let looks = 0; idle.isRunnable && looks < 50; looks++) await sleep(20);
  assert.deepEqual([busy.isRunnable, idle.isRunnable], [true, false]);
  busy.pause();
  await sleep(50);
  assert.equal(busy.isRunnable, false);
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
