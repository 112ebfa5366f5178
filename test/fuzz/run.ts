import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Finding, Order, Outcomes } from './worker.ts';

export type FuzzOptions = {
  readonly seed: number;
  /** Items from `first` up to `end`, which is excluded. Each follows from the seed and its number alone. */
  readonly first?: number;
  readonly end: number;
};

export type FuzzReport = { readonly outcomes: Outcomes; readonly worstMs: number };

/** MiB of heap for all that an item may need, and what the run itself holds: 60 with an engine of 14 MB. */
const HEAP_MIB = 256;

/** An item that is not done by then is taken for endless: the limit of one, and what a busy machine may add. */
const HANG_MS = 20_000;
const LOOK_MS = 250;

/** Preparing the corpus may build guests. */
const PREPARING = -1;

/**
 * Uses mutated files as `thaw build`, `thaw inspect` and `thaw serve` would.
 *
 * @throws Error naming the item, and the command that makes it again, when one ends otherwise than with success or an
 * error of the table, takes longer than its limit, or more memory
 */
export async function fuzz({ seed, first = 0, end }: FuzzOptions): Promise<FuzzReport> {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-fuzz-'));
  const progress = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const at = new Int32Array(progress).fill(PREPARING);
  const order: Order = { seed, first, end, directory, progress };
  const worker = new Worker(new URL('worker.ts', import.meta.url), {
    workerData: order,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  });
  const stopWatching = watch(at, () => void worker.terminate());
  try {
    const finding = await findingOf(worker, at);
    if (finding.kind === 'done') return finding;
    throw failure(seed, finding.item, `${finding.target}: ${finding.what}`);
  } catch (error) {
    if (error instanceof ItemFailure || at[0] === PREPARING) throw error;
    throw failure(seed, at[0] ?? PREPARING, String(error));
  } finally {
    stopWatching();
    await worker.terminate();
    rmSync(directory, { recursive: true, force: true });
  }
}

class ItemFailure extends Error {}

const failure = (seed: number, item: number, what: string): ItemFailure =>
  new ItemFailure(
    `item ${item} of seed ${seed} failed; npm run fuzz -- --seed ${seed} --first ${item} --count 1 makes it again\n${what}`,
  );

function findingOf(worker: Worker, at: Int32Array): Promise<Finding> {
  const { promise, resolve, reject } = Promise.withResolvers<Finding>();
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', () => reject(new Error(`it did not end within ${HANG_MS} ms (item ${at[0]})`)));
  return promise;
}

/** Calls `onHang` when the same item has been at work for too long. */
function watch(at: Int32Array, onHang: () => void): () => void {
  let item = at[0];
  let since = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    if (at[0] === PREPARING || at[0] !== item) [item, since] = [at[0], now];
    else if (now - since > HANG_MS) onHang();
  }, LOOK_MS);
  return () => clearInterval(timer);
}
