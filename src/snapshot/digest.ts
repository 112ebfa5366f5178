import { createHash, hash } from 'node:crypto';
import { readSync } from 'node:fs';
import type { Digest } from '../wasm/plan.ts';

const DIGEST = /^[0-9a-f]{64}$/;

/** Large enough that the calls do not show beside the hashing, small enough for a board with little memory. */
const CHUNK_BYTES = 256 * 1024;

export const isDigest = (text: string): boolean => DIGEST.test(text);

export const sha256 = (bytes: Uint8Array | string): Digest => hash('sha256', bytes);

/** The digest of the first `bytes` bytes of an open file, or of fewer when it ends sooner. Holes read as zeros. */
export function sha256OfFile(fd: number, bytes: number): Digest {
  const sum = createHash('sha256');
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, bytes));
  for (let position = 0; position < bytes;) {
    const got = readSync(fd, chunk, 0, Math.min(chunk.length, bytes - position), position);
    if (got === 0) break;
    sum.update(chunk.subarray(0, got));
    position += got;
  }
  return sum.digest('hex');
}
