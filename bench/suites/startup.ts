import { readFileSync } from 'node:fs';
import { ThawError, messageOf } from '../../src/errors.ts';
import { chooseTier } from '../../src/runtime/restore-tier.ts';
import type { RestoreTier } from '../../src/runtime/slot-memory.ts';
import { factsOf } from '../../src/cli/snapshot-facts.ts';
import {
  START_PHASES,
  WAYS,
  type Outcome,
  type StartupApp,
  type StartupSuite,
  type StartupWay,
  type Way,
} from '../report/format.ts';
import { inOrder, spreadOf } from '../support/statistics.ts';
import { adviceFor, type Reference } from './advice.ts';
import type { EngineInputs } from './engine-start.ts';
import type { SuiteInput } from './input.ts';
import { givenApp, ownApps, type PreparedApp } from './startup-apps.ts';
import { runChild } from './startup-process.ts';
import type { ChildResult, ChildSpec } from './startup-spec.ts';

/**
 * How long apps take to start, by every way there is. A round starts every app by every way, each in a fresh process of
 * its own, one after the other; every other round goes backwards. Nothing waits in a queue, so no start hides behind
 * another: the clock of each begins when it does.
 */

/** How often a process starts an app before it counts, and how often then. */
type Effort = { readonly warmUp: number; readonly starts: number };

type Plan = { readonly rounds: number; readonly effort: Readonly<Record<Way, Effort>> };

/**
 * V8 compiles an engine's interpreter bit by bit: starts that take milliseconds no longer get faster after some 40, those
 * of a warm slot after some 1,000.
 */
const FULL: Plan = {
  rounds: 10,
  effort: {
    initialise: { warmUp: 40, starts: 20 },
    wizer: { warmUp: 40, starts: 40 },
    mapped: { warmUp: 60, starts: 40 },
    instantiate: { warmUp: 60, starts: 40 },
    switch: { warmUp: 1000, starts: 500 },
    hot: { warmUp: 1500, starts: 1000 },
  },
};

const QUICK: Plan = {
  rounds: 3,
  effort: {
    initialise: { warmUp: 12, starts: 5 },
    wizer: { warmUp: 15, starts: 10 },
    mapped: { warmUp: 15, starts: 10 },
    instantiate: { warmUp: 15, starts: 10 },
    switch: { warmUp: 400, starts: 200 },
    hot: { warmUp: 700, starts: 300 },
  },
};

export type StartupInput = SuiteInput & {
  /** The one app to start, a path, and what to ask it for; null for the bench's own apps. */
  readonly app: { readonly source: string; readonly path: string } | null;
};

/** One way of one app, and what its processes have told. */
type Case = {
  readonly app: PreparedApp;
  readonly way: Way;
  outcome: Outcome;
  readonly results: { readonly round: number; readonly result: ChildResult }[];
};

/** @throws ThawError as building the apps does; GUEST_TRAP when the one app cannot be started by any way */
export async function runStartup(input: StartupInput): Promise<StartupSuite> {
  const plan = input.quick ? QUICK : FULL;
  const tier = chooseTier(undefined);
  const { app } = input;
  const apps = app === null ? await ownApps(input) : [await givenApp(app.source, app.path, input)];
  const cases = apps.flatMap((prepared) => WAYS.map((way) => newCase(prepared, way)));
  for (let round = 0; round < plan.rounds; round++) {
    for (const each of inOrder(cases, round)) {
      if (each.outcome.kind !== 'ran') continue;
      input.progress(`startup: round ${round + 1} of ${plan.rounds}, ${each.app.name} ${each.way}`);
      await take(each, round, specOf(each, tier, plan.effort[each.way], input));
    }
  }
  if (app !== null) throwIfNothingRan(cases);
  noteMethod(apps, input);
  const told = apps.map((prepared) => ({
    prepared,
    ways: cases.filter((each) => each.app === prepared).map((each) => wayOf(each, plan)),
  }));
  const reference = await referenceOf(told, (way) => measureHello(way, tier, plan, input));
  return { apps: told.map(({ prepared, ways }) => appOf(prepared, ways, reference)) };
}

/** A way that failed once is not tried again. */
async function take(each: Case, round: number, spec: ChildSpec): Promise<void> {
  try {
    each.results.push({ round, result: await runChild(spec) });
  } catch (error) {
    each.outcome = { kind: 'failed', message: messageOf(error) };
  }
}

const newCase = (app: PreparedApp, way: Way): Case => ({ app, way, outcome: outlook(app, way), results: [] });

/** Whether a way can be tried at all. */
function outlook({ init, other, frozen }: PreparedApp, way: Way): Outcome {
  const { state } = frozen.manifest;
  if (way === 'initialise' && 'missing' in init) return { kind: 'skipped', reason: init.missing };
  if (way === 'mapped' && state.kind === 'fresh')
    return { kind: 'skipped', reason: 'its snapshot has no image to map' };
  if (way === 'switch' && state.kind === 'fresh') return { kind: 'skipped', reason: 'it cannot be restored in place' };
  if (way === 'switch' && other === null) {
    return { kind: 'skipped', reason: 'there is no other app of the same code here to switch from' };
  }
  return { kind: 'ran' };
}

function specOf({ app, way }: Case, tier: RestoreTier, effort: Effort, { snapshots }: SuiteInput): ChildSpec {
  const { snapshot, other, component, init, path } = app;
  const store = snapshots.directory;
  return { way, store, snapshot, other, component, init: 'missing' in init ? null : init, path, tier, ...effort };
}

/** A report of ways that all failed says less than the failure does. */
function throwIfNothingRan(cases: readonly Case[]): void {
  const failure = cases.find(({ outcome }) => outcome.kind === 'failed')?.outcome;
  if (cases.some(({ outcome }) => outcome.kind === 'ran') || failure?.kind !== 'failed') return;
  throw new ThawError('GUEST_TRAP', `the app cannot be measured: ${failure.message}`);
}

type Told = { readonly prepared: PreparedApp; readonly ways: readonly StartupWay[] };

function wayOf({ way, outcome, results }: Case, { effort }: Plan): StartupWay {
  const names = Object.keys(START_PHASES).filter((name) => results.some(({ result }) => name in result.phase));
  const pages = results.map(({ result }) => result.pagesWritten).filter((count) => count !== null);
  return {
    way,
    outcome,
    freshness: 'process',
    warmUp: effort[way].warmUp,
    phases: names,
    rounds: results.map(({ round, result: { total, phase } }) => ({ round, total, phase })),
    pagesWritten: mean(pages),
    pageFaults: mean(results.map(({ result }) => result.pageFaults)),
  };
}

/** To a tenth; null without values. */
const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : Math.round((values.reduce((sum, value) => sum + value, 0) / values.length) * 10) / 10;

function appOf(
  { name, about, frozen, sourceBytes, snapshot: snapshotName }: PreparedApp,
  ways: Told['ways'],
  reference: Reference | null,
): StartupApp {
  const { codeBytes, imageBytes, deltaBytes, memory, reasons } = factsOf(frozen.manifest);
  const snapshot = { codeBytes, imageBytes, deltaPages: memory?.deltaPages ?? 0, deltaBytes };
  const isReference = snapshotName === 'hello' || sourceBytes === null;
  const advice = adviceFor({ ways, snapshot, reasons, sourceBytes, reference: isReference ? null : reference });
  return { name, about, snapshot, ways, advice };
}

/** What the smallest app of the same engine does; null where no app has its engine. */
async function referenceOf(
  told: readonly Told[],
  measure: (way: Way) => Promise<ChildResult>,
): Promise<Reference | null> {
  const hello = told.find(({ prepared }) => prepared.snapshot === 'hello');
  if (hello === undefined && !told.some(({ prepared }) => prepared.other === 'hello')) return null;
  const [fresh, hot] = (['instantiate', 'hot'] as const).map((name) => hello?.ways.find(({ way }) => way === name));
  const { pagesWritten } = fresh ?? (await measure('instantiate'));
  const totals = hot?.rounds.flatMap(({ total }) => total) ?? (await measure('hot')).total;
  return { pagesWritten, hotMicros: spreadOf(totals).median };
}

/** For an app of the user's, hello is measured beside it, once. */
function measureHello(way: Way, tier: RestoreTier, plan: Plan, input: SuiteInput): Promise<ChildResult> {
  input.progress(`startup: the smallest app, ${way}, to compare`);
  const none = { other: null, component: '', init: null };
  const store = input.snapshots.directory;
  return runChild({ way, store, snapshot: 'hello', path: '/x', tier, ...none, ...plan.effort[way] });
}

const kilobytes = (bytes: number): string => `${Math.round(bytes / 1000)} KB`;

/** What is the same for all rounds, and a reader would ask. */
function noteMethod(apps: readonly PreparedApp[], { quick, note }: SuiteInput): void {
  const engine = apps.map(({ init }) => ('missing' in init ? null : init.engine)).find((found) => found !== null);
  if (engine !== undefined) {
    const { bindings } = JSON.parse(readFileSync(engine.inputs, 'utf8')) as EngineInputs;
    note(
      `Without a snapshot, the engine runs what Wizer has it run at build time: its start-up, the bindings that componentize-js generates (${kilobytes(bindings.length)} of script) and the app. It reads them from memory, and the same instance then answers.`,
    );
  }
  note(
    'Without a snapshot and with Wizer alone, the code is as the build made it. With a mapped image and in thaw it has checks by which a guest that runs too long is stopped.',
  );
  if (quick) {
    note('A quick run warms up for a shorter time: starts that take milliseconds may get some tens of percent faster.');
  }
}
