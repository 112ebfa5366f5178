import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createHost } from '../../src/wasi/index.ts';
import { TestGuest } from './support.ts';

const host = createHost();

suite('wasi:clocks', () => {
  const clock = 'wasi:clocks/monotonic-clock';

  test('fire when their time has come, not before', async () => {
    const guest = new TestGuest(host);
    const start = guest.call(`${clock}#now`);
    assert.ok(typeof start === 'bigint');
    const timer = guest.handle(`${clock}#subscribe-duration`, 20_000_000n);
    const same = guest.handle(`${clock}#subscribe-instant`, start + 20_000_000n);
    const never = guest.handle(`${clock}#subscribe-duration`, -1n);
    assert.equal(guest.call('wasi:io/poll#[method]pollable.ready', timer), 0);
    await guest.call('wasi:io/poll#[method]pollable.block', timer);
    const end = guest.call(`${clock}#now`);
    assert.ok(typeof end === 'bigint' && end - start >= 20_000_000n);
    assert.equal(guest.call('wasi:io/poll#[method]pollable.ready', same), 1);
    assert.equal(guest.call('wasi:io/poll#[method]pollable.ready', never), 0);
  });

  test('of no time are ready at once', () => {
    const guest = new TestGuest(host);
    const timer = guest.handle(`${clock}#subscribe-duration`, 0n);
    assert.equal(guest.call('wasi:io/poll#[method]pollable.block', timer), undefined);
  });

  test('the wall clock is the time of day', () => {
    const before = Date.now();
    const now = new TestGuest(host).call('wasi:clocks/wall-clock#now');
    assert.ok(typeof now === 'object' && now !== null && 'seconds' in now && 'nanoseconds' in now);
    const ms = Number(now.seconds) * 1000 + Number(now.nanoseconds) / 1e6;
    assert.ok(ms >= before && ms <= Date.now());
  });
});
