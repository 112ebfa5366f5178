import { LRUCache } from 'lru-cache';
import { invariant } from '../errors.ts';
import type { ObjectRef } from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import type { Digest } from '../wasm/plan.ts';

/** Deltas kept in memory, in bytes: some 150 apps of 400 KiB. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * The bytes of the deltas that were used last, within a budget; the others are read again when they are wanted.
 *
 * What goes is given back at once. Left to V8's collector, which runs when its own heap has grown, as much again as is kept
 * waited to be collected where there were more apps than fit.
 *
 * Invariant: the bytes that `bytesOf` gave last are whole. Those of earlier calls may have length 0.
 */
export class DeltaCache {
  readonly #store: Pick<SnapshotStore, 'readObjectAgain'>;
  readonly #kept: LRUCache<Digest, Buffer<ArrayBuffer>>;

  constructor(store: Pick<SnapshotStore, 'readObjectAgain'>, maxBytes = MAX_BYTES) {
    this.#store = store;
    this.#kept = new LRUCache({
      maxSize: maxBytes,
      // One that is larger than the budget is kept, alone.
      sizeCalculation: ({ length }) => Math.min(length, maxBytes),
      dispose: giveBack,
    });
  }

  /**
   * A delta object, whole: the same buffer as long as it is kept.
   * @throws ThawError STORE_OBJECT_MISSING, STORE_OBJECT_CORRUPT
   */
  bytesOf(ref: ObjectRef, role: string): Buffer {
    let bytes = this.#kept.get(ref.digest);
    if (bytes === undefined) {
      const { buffer, byteOffset, length } = this.#store.readObjectAgain(ref, role);
      invariant(buffer.byteLength === length && length > 0, 'an object that was read has its memory to itself');
      bytes = Buffer.from(buffer, byteOffset, length);
      this.#kept.set(ref.digest, bytes);
    }
    return bytes;
  }
}

/** Ends the buffer: its views have length 0 from here on. */
function giveBack({ buffer }: Buffer<ArrayBuffer>): void {
  buffer.transfer(0);
}
