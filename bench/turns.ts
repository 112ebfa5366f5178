import { Bench, type TaskResult } from 'tinybench';
import { GuestRuns, parseCase } from './support/guests.ts';

/**
 * One guest in one slot of this process, without HTTP: request, restore, request, restore. `bench/restore.ts` runs it in a
 * fresh process for each case; by hand it is what to point strace and perf at.
 *
 *     node bench/turns.ts <store> <guest> <tier> loop <turns>      just does it
 *     node bench/turns.ts <store> <guest> <tier> measure <ms>      JSON on stdout; so many milliseconds for each task
 */

/** Microseconds of each measured call, and what was counted beside. */
export type TurnMeasurements = {
  readonly samples: Readonly<Record<TaskName, readonly number[]>>;
  readonly pagesPerRestore: number;
  readonly pagesPerSwitch: number;
  /** Minor page faults for a request and its restore. */
  readonly faultsPerRequest: number;
};

export const TASK_NAMES = ['serve', 'restore', 'switch', 'instantiate'] as const;
export type TaskName = (typeof TASK_NAMES)[number];

/** Requests over which pages and faults are counted. */
const COUNTED = 200;

async function loop(runs: GuestRuns, turns: number): Promise<void> {
  const slot = runs.newSlot();
  for (let turn = 0; turn < turns; turn++) {
    await runs.serve(slot);
    slot.turn(runs.snapshot);
  }
}

/** What a task that measures itself tells tinybench. */
const took = (begun: number): { overriddenDuration: number } => ({ overriddenDuration: performance.now() - begun });

async function measure(runs: GuestRuns, ms: number): Promise<TurnMeasurements> {
  const bench = new Bench({ time: ms, warmupTime: ms, retainSamples: true, throws: true });
  const slot = runs.newSlot();
  let atHome = true;
  const home = (): void => {
    if (!atHome) slot.turn(runs.snapshot);
    atHome = true;
  };
  bench.add('serve', async () => {
    home();
    const begun = performance.now();
    await runs.serve(slot);
    const result = took(begun);
    slot.turn(runs.snapshot);
    return result;
  });
  bench.add('restore', async () => {
    home();
    await runs.serve(slot);
    const begun = performance.now();
    slot.turn(runs.snapshot);
    return took(begun);
  });
  bench.add('switch', async () => {
    await runs.serve(slot);
    // The slot was cleaned after its request; now a request of the other app wants it.
    slot.turn(atHome ? runs.snapshot : runs.other);
    atHome = !atHome;
    const begun = performance.now();
    slot.turn(atHome ? runs.snapshot : runs.other);
    return took(begun);
  });
  bench.add('instantiate', () => {
    const begun = performance.now();
    const made = runs.newSlot();
    const result = took(begun);
    made.dispose();
    return result;
  });
  await bench.run();
  home();
  const samplesOf = (name: TaskName): number[] => samplesIn(bench.getTask(name)?.result);
  const samples = {
    serve: samplesOf('serve'),
    restore: samplesOf('restore'),
    switch: samplesOf('switch'),
    instantiate: samplesOf('instantiate'),
  };
  return { samples, ...(await count(runs)) };
}

function samplesIn(result: TaskResult | undefined): number[] {
  if (result?.state !== 'completed') throw new Error(`a task ended as ${String(result?.state)}`);
  // To tenths of a microsecond: what the clock can tell.
  return (result.latency.samples ?? []).map((ms) => Math.round(ms * 10_000) / 10);
}

async function count(runs: GuestRuns): Promise<Omit<TurnMeasurements, 'samples'>> {
  const slot = runs.newSlot();
  let pages = 0;
  let switched = 0;
  const before = process.resourceUsage().minorPageFault;
  for (let turn = 0; turn < COUNTED; turn++) {
    await runs.serve(slot);
    pages += slot.turn(runs.snapshot);
  }
  const faults = process.resourceUsage().minorPageFault - before;
  for (let turn = 0; turn < COUNTED; turn++) {
    const snapshot = turn % 2 === 0 ? runs.other : runs.snapshot;
    switched += slot.turn(snapshot);
    await runs.serve(slot);
    slot.turn(snapshot);
  }
  return { pagesPerRestore: pages / COUNTED, pagesPerSwitch: switched / COUNTED, faultsPerRequest: faults / COUNTED };
}

if (import.meta.main) {
  const [directory, guest, tier, mode, amount] = process.argv.slice(2);
  if (directory === undefined || amount === undefined || (mode !== 'loop' && mode !== 'measure')) {
    process.stderr.write('usage: node bench/turns.ts <store> <guest> <tier> loop <turns> | measure <ms>\n');
    process.exit(2);
  }
  const wanted = parseCase(guest, tier);
  const runs = await GuestRuns.open(directory, wanted.guest, wanted.tier);
  if (mode === 'loop') await loop(runs, Number(amount));
  else process.stdout.write(`${JSON.stringify(await measure(runs, Number(amount)))}\n`);
}
