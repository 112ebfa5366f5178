import { randomFillSync } from 'node:crypto';
import { ThawError } from '../errors.ts';
import type { HostInterface } from './host.ts';

/** wasi:random@0.2. Source: WASI proposals, wasi-random. */

/**
 * Random bytes in one call: 16 times what Web Crypto's getRandomValues allows, and some 0.15 ms of the thread on which
 * other requests wait.
 */
export const MAX_RANDOM_BYTES = 1_048_576;

/** Bytes made at a time for numbers. A call into the generator costs as much as these 4 KiB do: 2 µs. */
const BATCH_BYTES = 4096;

/**
 * Numbers that are made ahead. They belong to no guest: they are outside of every snapshot, and each is given out once,
 * to whoever asks next.
 */
const batch = new DataView(new ArrayBuffer(BATCH_BYTES));
let next = BATCH_BYTES;

function randomU64(): bigint {
  if (next === BATCH_BYTES) {
    randomFillSync(batch);
    next = 0;
  }
  const value = batch.getBigUint64(next);
  next += 8;
  return value;
}

/**
 * Where bytes are made, to be copied to the guest at once. A new buffer for each call would be garbage in a guest's power:
 * V8 lets a hundred MiB of it lie.
 */
let scratch: Uint8Array | null = null;

function randomBytes(length: bigint): Uint8Array {
  if (length > MAX_RANDOM_BYTES) {
    throw new ThawError('GUEST_LIMIT', `${length} random bytes in one call, where ${MAX_RANDOM_BYTES} are the limit`);
  }
  scratch ??= new Uint8Array(MAX_RANDOM_BYTES);
  return randomFillSync(scratch.subarray(0, Number(length)));
}

const random: HostInterface = {
  name: 'wasi:random/random',
  wit: `
    get-random-bytes: func(len: u64) -> list<u8>;
    get-random-u64: func() -> u64;`,
  funcs: {
    'get-random-bytes': (_, length: bigint) => randomBytes(length),
    'get-random-u64': randomU64,
  },
};

/** Insecure is a permission, not a demand: it is the secure generator again, which costs no more. */
const insecure: HostInterface = {
  name: 'wasi:random/insecure',
  wit: `
    get-insecure-random-bytes: func(len: u64) -> list<u8>;
    get-insecure-random-u64: func() -> u64;`,
  funcs: {
    'get-insecure-random-bytes': (_, length: bigint) => randomBytes(length),
    'get-insecure-random-u64': randomU64,
  },
};

const insecureSeed: HostInterface = {
  name: 'wasi:random/insecure-seed',
  wit: `insecure-seed: func() -> tuple<u64, u64>;`,
  funcs: { 'insecure-seed': () => [randomU64(), randomU64()] },
};

export const randomInterfaces: readonly HostInterface[] = [random, insecure, insecureSeed];
