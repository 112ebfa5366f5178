import { readPackageJson } from '../src/package.ts';
import { kernelPageBytes } from '../src/runtime/libc.ts';
import { chooseTier } from '../src/runtime/restore-tier.ts';
import { REPORT_FORMAT, type BenchReport } from './report/format.ts';
import { writeReport } from './report/write.ts';
import { runStartup } from './suites/startup.ts';
import type { PeerChoice, SuiteInput } from './suites/input.ts';
import { describeMachine, loadAverage } from './support/machine.ts';
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
  startup: { quick: 1.2, full: 8 },
  throughput: { quick: 1, full: 12 },
  density: { quick: 0.5, full: 5 },
};

/** How long it will take, in minutes. */
export const expectedMinutes = ({ suites, quick, app }: BenchOptions): number =>
  suites.reduce((sum, name) => {
    const minutes = MINUTES[name][quick ? 'quick' : 'full'];
    // Of four apps, one.
    return sum + (name === 'startup' && app !== null ? minutes / 3 : minutes);
  }, 0);

/**
 * Runs the suites and writes the report.
 *
 * @returns the report, and the files that it was written to
 * @throws ThawError BUILD_* when the app or the engine cannot be built, BENCH_REPORT_UNWRITABLE, GUEST_TRAP
 */
export async function runBench(
  options: BenchOptions,
): Promise<{ readonly report: BenchReport; readonly files: readonly string[] }> {
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
  const wants = (name: SuiteName): boolean => options.suites.includes(name);
  const startup = wants('startup') ? await runStartup({ ...input, app: options.app }) : null;
  const report: BenchReport = {
    format: REPORT_FORMAT,
    begun: begun.toISOString(),
    seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    command: options.command,
    isQuick: options.quick,
    thaw: readPackageJson().version,
    machine: { ...describeMachine(), restoreTier: chooseTier(undefined), pageBytes: kernelPageBytes() },
    load: { before, after: loadAverage() },
    startup,
    throughput: null,
    density: null,
    notes,
  };
  options.progress('writing the report');
  return { report, files: await writeReport(report, options.out) };
}
