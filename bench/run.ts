import { accessSync, constants, mkdirSync } from 'node:fs';
import { ThawError, messageOf } from '../src/errors.ts';
import { readPackageJson } from '../src/package.ts';
import { kernelPageBytes } from '../src/runtime/libc.ts';
import { chooseTier } from '../src/runtime/restore-tier.ts';
import { REPORT_FORMAT, type BenchReport } from './report/format.ts';
import { writeReport } from './report/write.ts';
import { runDensity } from './suites/density.ts';
import type { PeerChoice, SuiteInput } from './suites/input.ts';
import { checkGivenApp } from './suites/startup-apps.ts';
import { runStartup } from './suites/startup.ts';
import { runThroughput } from './suites/throughput.ts';
import { describeMachine, loadAverage } from './support/machine.ts';
import { entrantsFor } from './support/peers/index.ts';
import { BenchStore } from './support/snapshots.ts';

/** `thaw bench`: runs suites, and writes their report. */

export const SUITE_NAMES = ['startup', 'throughput', 'density'] as const;
export type SuiteName = (typeof SUITE_NAMES)[number];

export type BenchOptions = {
  readonly suites: readonly SuiteName[];
  /** The app for the startup suite; null for the bench's own. */
  readonly app: { readonly source: string; readonly path: string } | null;
  readonly peers: PeerChoice;
  readonly quick: boolean;
  /** Where the report goes. */
  readonly out: string;
  /** As it was typed, for the report. */
  readonly command: string;
  readonly progress: (text: string) => void;
  /** Something that a reader of the numbers must know, while the bench runs; it is in the report, too. */
  readonly note: (text: string) => void;
};

/** Minutes that suites take on two cores, the first build of their apps apart. */
const MINUTES: Readonly<Record<SuiteName, { readonly quick: number; readonly full: number }>> = {
  startup: { quick: 1, full: 8 },
  throughput: { quick: 1.2, full: 12 },
  density: { quick: 0.5, full: 5 },
};

/** How long it will take, in minutes. */
export const expectedMinutes = ({ suites, quick, app }: BenchOptions): number =>
  suites.reduce((sum, name) => {
    const minutes = MINUTES[name][quick ? 'quick' : 'full'];
    // Of four apps, one.
    return sum + (name === 'startup' && app !== null ? minutes / 3 : minutes);
  }, 0);

export type BenchRun = {
  readonly report: BenchReport;
  /** What it was written to. */
  readonly files: readonly string[];
  /** Of suites that failed, when not all did: the report has a note in their place. */
  readonly failed: number;
};

/**
 * Runs the suites and writes the report.
 *
 * @throws ThawError USAGE when a peer was named that cannot be run, BUILD_* and NOT_A_COMPONENT when the app or the engine
 *   cannot be built, BENCH_REPORT_UNWRITABLE, GUEST_TRAP
 */
export async function runBench(options: BenchOptions): Promise<BenchRun> {
  const { app, peers } = options;
  // What cannot succeed is told now, and not when the other suites have run.
  if (options.suites.includes('throughput')) entrantsFor(peers);
  if (app !== null) await checkGivenApp(app.source);
  checkWritable(options.out);
  const begun = new Date();
  const startedAt = performance.now();
  const before = loadAverage();
  const notes: string[] = [];
  using snapshots = new BenchStore(options.progress);
  const input: SuiteInput = {
    quick: options.quick,
    snapshots,
    progress: options.progress,
    note: (text) => {
      notes.push(text);
      options.note(text);
    },
  };
  const failures: unknown[] = [];
  const suite = async <Suite>(name: SuiteName, run: () => Promise<Suite>): Promise<Suite | null> => {
    if (!options.suites.includes(name)) return null;
    try {
      return await run();
    } catch (error) {
      failures.push(error);
      if (failures.length === options.suites.length) throw failures[0];
      // The others' numbers took minutes, and are as good as before.
      input.note(`The suite ${name} failed: ${messageOf(error)}`);
      return null;
    }
  };
  const startup = await suite('startup', () => runStartup({ ...input, app }));
  const throughput = await suite('throughput', () => runThroughput({ ...input, peers }));
  const density = await suite('density', () => runDensity(input));
  const report: BenchReport = {
    format: REPORT_FORMAT,
    begun: begun.toISOString(),
    seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    command: options.command,
    isQuick: options.quick,
    thaw: readPackageJson().version,
    machine: { ...describeMachine(), restoreTier: chooseTier(undefined), pageBytes: pageBytes() },
    load: { before, after: loadAverage() },
    startup,
    throughput,
    density,
    notes,
  };
  options.progress('writing the report');
  return { report, files: await writeReport(report, options.out), failed: failures.length };
}

/** @throws ThawError BENCH_REPORT_UNWRITABLE */
function checkWritable(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
  } catch (cause) {
    throw new ThawError('BENCH_REPORT_UNWRITABLE', `preparing ${directory}: ${messageOf(cause)}`, { cause });
  }
}

/** Of the kernel; 0 where it cannot be asked. */
function pageBytes(): number {
  try {
    return kernelPageBytes();
  } catch {
    return 0;
  }
}
