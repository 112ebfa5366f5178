import { statfsSync } from 'node:fs';
import { messageOf } from '../../src/errors.ts';
import type { DensityStep, DensitySuite } from '../report/format.ts';
import { choosePinning, type Pinning } from '../support/cores.ts';
import { generate } from '../support/generator.ts';
import { Lottery, ManyRoutes, configured, type ManyRoute } from '../support/many-routes.ts';
import { withoutPaths } from '../support/shown.ts';
import { bytesBeside, type BenchStore } from '../support/snapshots.ts';
import { serveThaw, type ServedThaw } from '../support/thaw.ts';
import type { SuiteInput } from './input.ts';
import { micros } from './server-under-test.ts';

/** More and more routes on one node with few slots, each route with a snapshot of its own. */

type Plan = { readonly steps: readonly number[]; readonly rounds: number; readonly requests: number };

const FULL: Plan = { steps: [10, 100, 1000, 10_000], rounds: 5, requests: 1000 };
const QUICK: Plan = { steps: [10, 100, 1000], rounds: 3, requests: 200 };

export const DENSITY_SLOTS = 64;
export const DENSITY_APPS = 100;

const ABOUT = `Up to ${DENSITY_APPS} distinct apps; every route has a snapshot of its own, made from one build of a JavaScript app by varying constants in its memory image.`;

/** Connections while each route is requested once, and the longest that this may take. */
const SWEEP_CONNECTIONS = 8;
const SWEEP_SECONDS = 600;

/** @throws ThawError as building an app does; what a step throws is its outcome */
export async function runDensity({ quick, snapshots, progress, note }: SuiteInput): Promise<DensitySuite> {
  const { steps, ...effort } = quick ? QUICK : FULL;
  const pinning = choosePinning();
  const hello = await snapshots.buildApp('hello');
  const many = await ManyRoutes.of(snapshots, DENSITY_APPS);
  const results: DensityStep[] = [];
  for (const count of steps) {
    progress(`density: ${count} routes`);
    const room = roomFor(count, many, snapshots);
    if (room !== null) {
      results.push({ ...emptyStep(count), outcome: { kind: 'skipped', reason: room } });
      continue;
    }
    try {
      const routes = await many.upTo(count);
      const diskBytesPerApp = bytesBeside(hello.manifest, many.manifest);
      const input = { ...effort, store: snapshots.directory, routes, slots: DENSITY_SLOTS, pinning };
      results.push({ ...(await measureDensity({ ...input, progress, note })), diskBytesPerApp });
    } catch (error) {
      const message = withoutPaths(messageOf(error));
      results.push({ ...emptyStep(count), outcome: { kind: 'failed', message } });
    }
  }
  return { slots: DENSITY_SLOTS, about: ABOUT, steps: results };
}

/** Left free where the store is, for whatever else writes there. */
const SPARE_BYTES = 2 ** 30;

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

/** Why there is no room for so many routes, or null. */
function roomFor(count: number, many: ManyRoutes, { directory }: BenchStore): string | null {
  const { bavail, bsize } = statfsSync(directory);
  const needed = (count - many.made) * many.bytesPerRoute + SPARE_BYTES;
  if (bavail * bsize >= needed) return null;
  return `needs ${mebibytes(needed)} in the directory of temporary files, which has ${mebibytes(bavail * bsize)}`;
}

const emptyStep = (routes: number): Omit<DensityStep, 'outcome'> => ({
  routes,
  readyMs: 0,
  residentBytes: { ready: 0, allRequested: 0 },
  diskBytesPerApp: 0,
  failed: 0,
  random: [],
  hot: [],
});

type DensityInput = {
  readonly store: string;
  readonly routes: readonly ManyRoute[];
  readonly slots: number;
  readonly rounds: number;
  /** Of each kind in each round. */
  readonly requests: number;
  readonly pinning: Pinning;
} & Pick<SuiteInput, 'progress' | 'note'>;

/** One node with these routes, from its start. @throws when the node does not start, or the load generator fails */
export async function measureDensity(input: DensityInput): Promise<Omit<DensityStep, 'diskBytesPerApp'>> {
  const { store, routes, slots, pinning, progress } = input;
  await using node = await serveThaw({
    store,
    routes: configured(routes),
    threads: 1,
    pool: { slots, memory: '4GiB' },
    prefix: pinning.server,
  });
  const ready = node.child.memory('VmRSS');
  progress(`density: ${routes.length} routes, each once`);
  const sweepFailed = await requestEachOnce(input, node);
  const allRequested = node.child.memory('VmRSS');
  const { random, hot, failed } = await compareRandomToHot(input, node);
  return {
    routes: routes.length,
    outcome: { kind: 'ran' },
    readyMs: Math.round(node.readyMs * 10) / 10,
    residentBytes: { ready, allRequested },
    failed: sweepFailed + failed,
    random,
    hot,
  };
}

const asksOf = (routes: readonly ManyRoute[]): { path: string; answer: string }[] =>
  routes.map(({ route, answer }) => ({ path: route, answer }));

/** @returns how many requests failed */
async function requestEachOnce({ routes, pinning, note }: DensityInput, { url }: ServedThaw): Promise<number> {
  const swept = await generate(
    {
      kind: 'closed',
      url: url.href,
      asks: asksOf(routes),
      connections: Math.min(SWEEP_CONNECTIONS, routes.length),
      requests: routes.length,
      seconds: SWEEP_SECONDS,
    },
    pinning.client,
  );
  if (swept.complaint !== null) note(`density: ${routes.length} routes: ${swept.complaint}`);
  return routes.length - swept.requests + swept.wrong;
}

async function compareRandomToHot(
  { routes, rounds, requests, pinning, progress, note }: DensityInput,
  { url }: ServedThaw,
): Promise<Pick<DensityStep, 'random' | 'hot' | 'failed'>> {
  const lottery = new Lottery();
  const [hottest] = routes as readonly [ManyRoute];
  const latencies = { random: [] as number[][], hot: [] as number[][] };
  let failed = 0;
  // The first is not kept: V8 is still compiling.
  for (let round = -1; round < rounds; round++) {
    progress(`density: ${routes.length} routes, round ${round + 1} of ${rounds}`);
    const chosen = {
      random: Array.from({ length: requests }, () => routes[lottery.draw(routes.length)] as ManyRoute),
      hot: Array.from({ length: requests }, () => hottest),
    };
    // Which comes first changes, so that neither always has the other's caches.
    for (const kind of round % 2 === 0 ? (['random', 'hot'] as const) : (['hot', 'random'] as const)) {
      const job = { kind: 'each', url: url.href, asks: asksOf(chosen[kind]) } as const;
      const { latency, complaint } = await generate(job, pinning.client);
      if (round >= 0) latencies[kind].push(latency.map(micros));
      if (complaint === null) continue;
      failed++;
      note(`density: ${routes.length} routes: ${complaint}`);
    }
  }
  return { ...latencies, failed };
}
