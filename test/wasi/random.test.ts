import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createHost } from '../../src/wasi/index.ts';
import { MAX_RANDOM_BYTES } from '../../src/wasi/random.ts';
import { TestGuest } from './support.ts';

const host = createHost();
const U64 = ['wasi:random/random#get-random-u64', 'wasi:random/insecure#get-insecure-random-u64'] as const;
const BYTES = ['wasi:random/random#get-random-bytes', 'wasi:random/insecure#get-insecure-random-bytes'] as const;

suite('wasi:random', () => {
  test('numbers never repeat, across guests, functions and batches', () => {
    const guests = [new TestGuest(host), new TestGuest(host)];
    const seen = new Set<unknown>();
    for (let round = 0; round < 500; round++) {
      for (const guest of guests) for (const name of U64) seen.add(guest.call(name));
    }
    assert.equal(seen.size, 2000);
    for (const value of seen) assert.ok(typeof value === 'bigint' && value >= 0n && value < 2n ** 64n);
  });

  test('every bit of a number is now one, now zero', () => {
    const guest = new TestGuest(host);
    let ones = 0n;
    let zeroes = 0n;
    for (let round = 0; round < 200; round++) {
      const value = guest.call(U64[0]);
      assert.ok(typeof value === 'bigint');
      ones |= value;
      zeroes |= ~value;
    }
    assert.equal(BigInt.asUintN(64, ones), 2n ** 64n - 1n);
    assert.equal(BigInt.asUintN(64, zeroes), 2n ** 64n - 1n);
  });

  for (const name of BYTES) {
    test(`${name} gives as many bytes as asked for, others every time`, () => {
      const guest = new TestGuest(host);
      for (const length of [0, 1, 16, 4096, 100_000]) {
        const bytes = guest.call(name, BigInt(length));
        assert.ok(bytes instanceof Uint8Array);
        assert.equal(bytes.length, length);
      }
      const draws = Array.from({ length: 100 }, () => {
        const bytes = guest.call(name, 16n);
        assert.ok(bytes instanceof Uint8Array);
        return Buffer.from(bytes).toString('hex');
      });
      assert.equal(new Set(draws).size, 100);
    });

    test(`${name} refuses more than the limit`, () => {
      const guest = new TestGuest(host);
      const full = guest.call(name, BigInt(MAX_RANDOM_BYTES));
      assert.ok(full instanceof Uint8Array && full.length === MAX_RANDOM_BYTES);
      for (const length of [BigInt(MAX_RANDOM_BYTES) + 1n, 2n ** 32n, -1n]) {
        assert.throws(() => guest.call(name, length), { code: 'GUEST_LIMIT' });
      }
    });
  }

  test('seeds differ', () => {
    const guest = new TestGuest(host);
    const seeds = Array.from({ length: 100 }, () => guest.call('wasi:random/insecure-seed#insecure-seed'));
    for (const seed of seeds) assert.ok(Array.isArray(seed) && seed.length === 2);
    assert.equal(new Set(seeds.flat()).size, 200);
  });
});
