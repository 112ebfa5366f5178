import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ControlMemory } from '../src/runtime/control-memory.ts';
import { Account } from '../src/runtime/meter.ts';
import { Watchdog } from '../src/runtime/watchdog.ts';
import { codeDigest } from '../src/snapshot/code-digest.ts';
import type { Manifest } from '../src/snapshot/manifest.ts';
import { decodeComponent } from '../src/wasm/link.ts';
import { rewriteModule } from '../src/wasm/rewrite.ts';
import { APP_NAMES, LOOP_NAMES, type MeteringRun } from './metering-run.ts';
import { readOptions } from './support/options.ts';
import { Report, number, spreadText } from './support/report.ts';
import { appComponent, BenchStore } from './support/snapshots.ts';
import { ratios, spreadOf } from './support/statistics.ts';

/**
 * What it costs that guests can be stopped: CPU-bound JavaScript apps and tight native loops, with the checks in their
 * code and without, and what the meter takes for a segment. Each round runs in a fresh process.
 */

const options = readOptions('The cost of the checks in a guest, and of the meter.', {
  rounds: { default: 5, about: 'rounds, each in a fresh process' },
  ms: { default: 1000, about: 'milliseconds for each loop, and as long to warm up; for apps 2 and 10 times that' },
});

const RUN = join(import.meta.dirname, 'metering-run.ts');

/** A loop that does nothing but count is told, and not held against the target: no guest spends its time in it. */
const TARGETS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(APP_NAMES.map((name) => [name, 1.1])),
  ...Object.fromEntries(LOOP_NAMES.filter((name) => name !== 'count').map((name) => [name, 1.25])),
};

/** Freezes an app as it is served, and once more without checks. */
async function freezeBoth(snapshots: BenchStore, name: string): Promise<void> {
  const { store } = snapshots;
  const frozen = await snapshots.buildApp(name);
  await store.setRef(`${name}-on`, frozen.digest, 'a bench');
  const { modules } = decodeComponent(await readFile(await appComponent(name)));
  const code: Manifest['code'][number][] = [];
  for (const bytes of modules) {
    const whole = rewriteModule(bytes, { state: 'strip', names: false, checks: false });
    code.push({ ...(await store.putObject(whole.code)), shape: whole.shape });
  }
  const { plan } = frozen.manifest;
  const { digest } = await store.putManifest({ ...frozen.manifest, code, codeDigest: codeDigest(plan, code) });
  await store.setRef(`${name}-off`, digest, 'a bench');
}

async function run(store: string): Promise<MeteringRun> {
  const { stdout } = await promisify(execFile)(process.execPath, [RUN, store, String(options.ms)], {
    maxBuffer: 1 << 28,
  });
  return JSON.parse(stdout) as MeteringRun;
}

/** CPU time of this thread, in milliseconds. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Nanoseconds for a segment: its beginning and its end, while the watchdog is at work. */
async function segmentCost(): Promise<number[]> {
  const watchdog = new Watchdog(1);
  const account = new Account(new ControlMemory(watchdog.links[0]).meter);
  account.open(60_000);
  const rounds: number[] = [];
  const segments = 200_000;
  for (let round = 0; round < 2 * options.rounds; round++) {
    const begun = cpuMs();
    for (let segment = 0; segment < segments; segment++) {
      account.resume();
      account.pause();
    }
    if (round >= options.rounds) rounds.push(((cpuMs() - begun) * 1e6) / segments);
  }
  await watchdog.stop();
  return rounds;
}

/** By round. */
type Medians = Readonly<Record<'off' | 'on' | 'quotient', number[]>>;
const noRounds = (): Medians => ({ off: [], on: [], quotient: [] });

const report = new Report('metering', options);
using snapshots = new BenchStore();
for (const name of APP_NAMES) await freezeBoth(snapshots, name);
const results = new Map([...APP_NAMES, ...LOOP_NAMES].map((name) => [name as string, noRounds()] as const));
for (let round = 0; round < options.rounds; round++) {
  for (const [name, { off, on }] of Object.entries(await run(snapshots.directory))) {
    const medians = {
      off: spreadOf(off).median,
      on: spreadOf(on).median,
      quotient: spreadOf(ratios(on, off)).median,
    };
    report.round({ round, name, ...medians });
    const result = results.get(name);
    for (const key of ['off', 'on', 'quotient'] as const) result?.[key].push(medians[key]);
  }
}
report.table(
  ['case', 'without checks µs', 'with checks µs', 'quotient'],
  Array.from(results, ([name, { off, on, quotient }]) => [name, spreadText(off), spreadText(on), spreadText(quotient)]),
);
for (const [name, limit] of Object.entries(TARGETS)) {
  const value = spreadOf(results.get(name)?.quotient ?? []).median;
  report.target({ what: `${name} with checks, times without`, value, bound: 'at most', limit, unit: '' });
}
const segments = await segmentCost();
report.round({ segmentNanoseconds: segments });
report.target({ what: 'a segment', value: spreadOf(segments).median, bound: 'at most', limit: 1000, unit: ' ns' });
report.note(`a segment takes ${number(spreadOf(segments).median)} ns; a request has some ten`);
report.finish();
