import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PagemapDirtyPages } from '../../src/runtime/dirty-pages.ts';
import { addressOf } from '../../src/runtime/libc.ts';
import { MemoryPool } from '../../src/runtime/memory-pool.ts';
import { createRestorer } from '../../src/runtime/restore-tier.ts';
import { TestImage } from '../support/images.ts';
import { TIERS } from '../support/runtime.ts';
import { thawError } from '../snapshot/support.ts';

const TOO_MANY_PAGES = 65_537;

for (const { tier, failure } of TIERS) {
  describe(`memories of tier ${tier}`, { skip: failure ?? false }, () => {
    const newPool = (): MemoryPool => new MemoryPool(createRestorer(failure === null ? tier : 'copy'));

    test('are used again rather than made anew, whatever size is wanted', () => {
      const pool = newPool();
      const first = pool.take([1, 2]);
      assert.deepEqual(
        first.map(({ bytes }) => bytes.length),
        [65_536, 131_072],
      );
      pool.giveBack(first);
      const again = pool.take([4, 1]);
      assert.deepEqual(new Set(again), new Set(first));
      assert.equal(pool.created, 2);
      assert.equal(pool.take([1]).length, 1);
      assert.equal(pool.created, 3);
    });

    test('hold the next image and nothing of the one before', () => {
      const pool = newPool();
      const [memory] = pool.take([12]);
      assert.ok(memory);
      memory.restore(new TestImage({ pages: 12, base: { seed: 1, pages: 100 } }).image);
      memory.bytes.fill(0xee);
      pool.giveBack([memory]);
      const [again] = pool.take([1]);
      assert.equal(again, memory);
      const next = new TestImage({ pages: 9, delta: { seed: 2, pages: [5] } });
      memory.restore(next.image);
      assert.ok(memory.bytes.equals(next.expected(memory.bytes.length)));
    });

    test('that nobody holds take up no pages of the machine', { skip: tier === 'copy' }, () => {
      const pool = newPool();
      const memories = pool.take([12, 3]);
      for (const memory of memories) memory.bytes.fill(0xee);
      pool.giveBack(memories);
      const dirty = new PagemapDirtyPages();
      for (const { memory } of memories) {
        const runs: number[] = [];
        dirty.scan(addressOf(memory.buffer), memory.buffer.byteLength, (from) => runs.push(from));
        assert.deepEqual(runs, []);
      }
      dirty.close();
    });

    test('are zero when a fresh instance clears them', () => {
      const pool = newPool();
      const [memory] = pool.take([12]);
      assert.ok(memory);
      memory.bytes.fill(0xee);
      pool.giveBack([memory]);
      memory.clear(3);
      assert.ok(memory.bytes.equals(Buffer.alloc(12 * 65_536)));
    });

    test('are all given back when one of several cannot be made', () => {
      const pool = newPool();
      pool.giveBack(pool.take([1, 1]));
      assert.throws(() => pool.take([1, 1, TOO_MANY_PAGES]), thawError('OUT_OF_ADDRESS_SPACE'));
      assert.equal(pool.created, 2);
      assert.equal(new Set(pool.take([1, 1])).size, 2);
      assert.equal(pool.created, 2);
    });
  });
}
