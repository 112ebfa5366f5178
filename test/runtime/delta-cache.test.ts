import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DeltaCache } from '../../src/runtime/delta-cache.ts';
import type { ObjectRef } from '../../src/snapshot/manifest.ts';

/** Objects of 100 bytes and more, each filled with its number, and how often each was read. */
class Objects {
  readonly reads = new Map<string, number>();

  readObjectAgain({ digest, bytes }: ObjectRef): Uint8Array<ArrayBuffer> {
    this.reads.set(digest, (this.reads.get(digest) ?? 0) + 1);
    return new Uint8Array(bytes).fill(Number(digest));
  }
}

const ref = (number: number, bytes = 100): ObjectRef => ({ digest: String(number), bytes });

const assertWhole = (bytes: Buffer, { digest, bytes: length }: ObjectRef): void =>
  assert.deepEqual(bytes, Buffer.alloc(length, Number(digest)));

test('a delta is read once while there is room, and is the same buffer each time', () => {
  const objects = new Objects();
  const cache = new DeltaCache(objects, 300);
  const first = cache.bytesOf(ref(1), 'a delta');
  for (const number of [2, 3, 1, 2, 3]) assertWhole(cache.bytesOf(ref(number), 'a delta'), ref(number));
  assert.equal(cache.bytesOf(ref(1), 'a delta'), first);
  assert.deepEqual([...objects.reads.values()], [1, 1, 1]);
});

test('the delta that was not used for longest goes, its memory at once', () => {
  const objects = new Objects();
  const cache = new DeltaCache(objects, 300);
  const [first, second] = [cache.bytesOf(ref(1), 'a delta'), cache.bytesOf(ref(2), 'a delta')];
  cache.bytesOf(ref(3), 'a delta');
  cache.bytesOf(ref(1), 'a delta');
  cache.bytesOf(ref(4), 'a delta');
  assert.equal(second.buffer.byteLength, 0);
  assertWhole(first, ref(1));
  assertWhole(cache.bytesOf(ref(2), 'a delta'), ref(2));
  assert.equal(objects.reads.get('2'), 2);
});

test('a delta over the budget is kept, alone, until another is wanted', () => {
  const objects = new Objects();
  const cache = new DeltaCache(objects, 300);
  const small = cache.bytesOf(ref(1), 'a delta');
  const large = cache.bytesOf(ref(2, 1000), 'a delta');
  assert.equal(small.length, 0);
  assert.equal(cache.bytesOf(ref(2, 1000), 'a delta'), large);
  assertWhole(large, ref(2, 1000));
  cache.bytesOf(ref(1), 'a delta');
  assert.equal(large.length, 0);
});

test('a delta that cannot be read leaves the others as they were', () => {
  const objects = new Objects();
  const failing = new Error('gone');
  const readObjectAgain = (wanted: ObjectRef): Uint8Array<ArrayBuffer> => {
    if (wanted.digest === '9') throw failing;
    return objects.readObjectAgain(wanted);
  };
  const cache = new DeltaCache({ readObjectAgain }, 100);
  const kept = cache.bytesOf(ref(1), 'a delta');
  assert.throws(() => cache.bytesOf(ref(9), 'a delta'), failing);
  assert.equal(cache.bytesOf(ref(1), 'a delta'), kept);
});

test('property: what is given is whole, and what lives fits into the budget, or is alone', () => {
  const wanted = fc.array(fc.record({ number: fc.integer({ min: 1, max: 12 }), size: fc.constantFrom(50, 100, 170) }));
  fc.assert(
    fc.property(wanted, fc.integer({ min: 100, max: 600 }), (sequence, budget) => {
      const cache = new DeltaCache(new Objects(), budget);
      const given = new Set<Buffer>();
      for (const { number, size } of sequence) {
        const object = ref(number * 1000 + size, size);
        const bytes = cache.bytesOf(object, 'a delta');
        assert.equal(bytes.length, size);
        assert.ok(bytes.every((byte) => byte === Number(object.digest) % 256));
        given.add(bytes);
        const alive = [...given].reduce((sum, { length }) => sum + length, 0);
        assert.ok(alive <= Math.max(budget, size), `${alive} bytes are kept of ${budget}`);
      }
    }),
  );
});
