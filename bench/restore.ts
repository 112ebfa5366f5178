import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { probeTiers } from '../src/runtime/restore-tier.ts';
import type { RestoreTier } from '../src/runtime/slot-memory.ts';
import { hasCommand } from './support/child.ts';
import { GUEST_KINDS, freezeKinds, type GuestKind } from './support/guests.ts';
import { readOptions } from './support/options.ts';
import { Report, number, spreadText } from './support/report.ts';
import { BenchStore } from './support/snapshots.ts';
import { inOrder, spreadOf } from './support/statistics.ts';
import { countSyscalls, perUnit } from './support/strace.ts';
import { TASK_NAMES, type TaskName, type TurnMeasurements } from './turns.ts';

/**
 * What a slot costs, by restore tier and kind of guest, without HTTP: serving a request, restoring after it, switching to
 * another app of the same code, and a new instance. Each case runs in a fresh process; the order of the cases is reversed
 * every other round.
 */

const options = readOptions('Restore, switch and instantiate by restore tier and kind of guest.', {
  rounds: { default: 3, about: 'rounds, each in fresh processes' },
  ms: { default: 2000, about: 'milliseconds for each task, and as long to warm up' },
});

const TURNS = join(import.meta.dirname, 'turns.ts');

/** Turns with and without which system calls are counted. */
const FEW_TURNS = 100;
const MANY_TURNS = 600;

type Case = { readonly guest: GuestKind; readonly tier: RestoreTier };
const nameOf = ({ guest, tier }: Case): string => `${guest} ${tier}`;

const command = (store: string, { guest, tier }: Case, mode: string, amount: number): string[] => [
  process.execPath,
  TURNS,
  store,
  guest,
  tier,
  mode,
  String(amount),
];

async function measure(store: string, wanted: Case): Promise<TurnMeasurements> {
  const [file, ...args] = command(store, wanted, 'measure', options.ms);
  const { stdout } = await promisify(execFile)(file as string, args, { maxBuffer: 1 << 28 });
  return JSON.parse(stdout) as TurnMeasurements;
}

/** By round, the median of a task in microseconds. */
const medians = (rounds: readonly TurnMeasurements[], task: TaskName): number[] =>
  rounds.map(({ samples }) => spreadOf(samples[task]).median);

function tell(report: Report, results: ReadonlyMap<Case, readonly TurnMeasurements[]>): void {
  const rows = Array.from(results, ([wanted, rounds]) => [
    nameOf(wanted),
    ...TASK_NAMES.map((task) => spreadText(medians(rounds, task))),
    number(spreadOf(rounds.map(({ pagesPerRestore }) => pagesPerRestore)).median),
    number(spreadOf(rounds.map(({ pagesPerSwitch }) => pagesPerSwitch)).median),
    number(spreadOf(rounds.map(({ faultsPerRequest }) => faultsPerRequest)).median),
  ]);
  const counted = ['pages restored', 'pages switched', 'faults'];
  report.table(['guest and tier', ...TASK_NAMES.map((task) => `${task} µs`), ...counted], rows);
}

function holdAgainstTargets(report: Report, results: ReadonlyMap<Case, readonly TurnMeasurements[]>): void {
  for (const [wanted, rounds] of results) {
    if (!wanted.guest.startsWith('js-') || wanted.tier !== 'scan') continue;
    const restore = spreadOf(medians(rounds, 'restore')).median;
    const what = `${wanted.guest}: restore after a request, p50`;
    report.target({ what, value: restore, bound: 'at most', limit: 60, unit: ' µs' });
    // Of the form of app that the limit was found with. What stands before an app that exports its handler costs some more.
    if (wanted.guest !== 'js-listener') continue;
    const pages = spreadOf(rounds.map(({ pagesPerRestore }) => pagesPerRestore)).median;
    report.target({ what: `${wanted.guest}: pages copied back`, value: pages, bound: 'at most', limit: 68, unit: '' });
  }
}

async function countCalls(report: Report, store: string, cases: readonly Case[]): Promise<void> {
  if (!hasCommand('strace', '-V')) {
    report.note('system calls are not counted: strace is missing (Debian: apt-get install strace)');
    return;
  }
  const rows: string[][] = [];
  for (const wanted of cases) {
    const [few, many] = [FEW_TURNS, MANY_TURNS].map((turns) => command(store, wanted, 'loop', turns));
    const counts = perUnit(await countSyscalls(few ?? []), await countSyscalls(many ?? []), MANY_TURNS - FEW_TURNS);
    report.round({ phase: 'syscalls', ...wanted, perRequest: Object.fromEntries(counts) });
    const total = counts.values().reduce((sum, count) => sum + count, 0);
    const names = Array.from(counts, ([name, count]) => `${name} ${number(count)}`).slice(0, 4);
    rows.push([nameOf(wanted), number(total), names.join(', ')]);
  }
  report.table(['guest and tier', 'system calls a request', 'most of them'], rows);
}

const report = new Report('restore', options);
const cases: Case[] = [];
for (const { tier, failure } of probeTiers()) {
  if (failure === null) cases.push(...GUEST_KINDS.map((guest) => ({ guest, tier })));
  else report.note(`tier ${tier} is skipped: ${failure}`);
}
using snapshots = new BenchStore();
await freezeKinds(snapshots);
const results = new Map<Case, TurnMeasurements[]>(cases.map((wanted) => [wanted, []]));
for (let round = 0; round < options.rounds; round++) {
  for (const wanted of inOrder(cases, round)) {
    const measured = await measure(snapshots.directory, wanted);
    results.get(wanted)?.push(measured);
    report.round({ phase: 'measured', round, ...wanted, ...measured });
  }
}
tell(report, results);
holdAgainstTargets(report, results);
await countCalls(report, snapshots.directory, cases);
report.finish();
