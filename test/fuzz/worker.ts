/** The thread in which items are used: when one hangs, or takes up memory without end, it is this thread that ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { getHeapStatistics } from 'node:v8';
import { messageOf } from '../../src/errors.ts';
import { loadCorpus } from './corpus.ts';
import { Random } from './random.ts';
import { SnapshotTarget } from './snapshots.ts';
import { ENGINE_ITEMS, type Target, targetsOf } from './targets.ts';

/** What the thread is given. `progress` has one word: the index of the item that is being used. */
export type Order = {
  readonly seed: number;
  readonly first: number;
  readonly end: number;
  readonly directory: string;
  readonly progress: SharedArrayBuffer;
};

/** How many items of each kind ended how. */
export type Outcomes = Record<string, Record<string, number>>;

export type Finding =
  | { readonly kind: 'done'; readonly outcomes: Outcomes; readonly worstMs: number }
  | { readonly kind: 'failed'; readonly item: number; readonly target: string; readonly what: string };

/** Slow once may be the machine's doing. The least of so many times is the item's. */
const TRIES = 3;

const { seed, first, end, directory, progress } = workerData as Order;
const at = new Int32Array(progress);
const { shared, engine } = targetsOf(await loadCorpus(), await SnapshotTarget.create(directory));

function targetOf(item: number, random: Random): Target {
  if (item < ENGINE_ITEMS) return engine;
  let left = random.below(1000);
  const found = shared.find(({ share }) => (left -= share) < 0);
  if (found === undefined) throw new Error('the shares of the targets are 1,000 together');
  return found;
}

/** CPU time of this thread, so that others on the machine do not count. */
function cpuMs(use: () => void): number {
  const before = process.threadCpuUsage();
  use();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

/** How long an item that seemed slow takes at least. */
function leastMs(item: number): number {
  const again = (): void => {
    const random = new Random(seed, item);
    targetOf(item, random).run(random);
  };
  return Math.min(...Array.from({ length: TRIES }, () => cpuMs(again)));
}

/** Uses one item. @returns the milliseconds it took @throws when it ended as none may */
function use(item: number, outcomes: Outcomes): number {
  const random = new Random(seed, item);
  const { name, limits, run } = targetOf(item, random);
  const bytes = getHeapStatistics().external_memory;
  const begun = performance.now();
  const outcome = run(random);
  const ms = performance.now() - begun;
  const taken = getHeapStatistics().external_memory - bytes;
  if (outcome === 'INTERNAL') throw new Error('it was told as a bug of thaw (INTERNAL)');
  if (taken > limits.bytes) throw new Error(`it took ${taken} bytes, where ${limits.bytes} are the limit`);
  if (ms > limits.ms) {
    const least = leastMs(item);
    if (least > limits.ms) throw new Error(`it took ${least} ms, where ${limits.ms} are the limit`);
  }
  const counts = (outcomes[name] ??= {});
  counts[outcome] = (counts[outcome] ?? 0) + 1;
  return ms;
}

function useAll(): Finding {
  const outcomes: Outcomes = {};
  let worstMs = 0;
  // Nine in ten items are refused: the stacks of those errors would take a third of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  for (let item = first; item < end; item++) {
    at[0] = item;
    try {
      worstMs = Math.max(worstMs, use(item, outcomes));
    } catch (error) {
      Error.stackTraceLimit = stackTraceLimit;
      return { kind: 'failed', item, target: targetOf(item, new Random(seed, item)).name, what: stackOf(item, error) };
    }
  }
  return { kind: 'done', outcomes, worstMs };
}

/** Once more, for the stack. */
function stackOf(item: number, error: unknown): string {
  try {
    use(item, {});
  } catch (again) {
    return again instanceof Error ? (again.stack ?? again.message) : String(again);
  }
  return `${messageOf(error)} (not again)`;
}

parentPort?.postMessage(useAll());
