import { Connection, closedLoop } from './support/load.ts';
import { Lottery, configured, makeRoutes, type ManyRoute } from './support/many-routes.ts';
import { readOptions } from './support/options.ts';
import { Report, number, spreadText } from './support/report.ts';
import { BenchStore, bytesBeside } from './support/snapshots.ts';
import { quantile, spreadOf } from './support/statistics.ts';
import { serveThaw, type ServedThaw } from './support/thaw.ts';

/**
 * Ten thousand routes on one node with 64 slots: how long until it is ready, what it takes in memory once each route was
 * used, and how much longer a random route takes than a hot one. Every route has an image of its own.
 */

const options = readOptions('Many routes, few slots.', {
  routes: { default: 10_000, about: 'routes, each with a snapshot of its own' },
  apps: { default: 100, about: 'distinct apps among them' },
  slots: { default: 64, about: 'slots of the node' },
  rounds: { default: 5, about: 'rounds of random and hot requests' },
  requests: { default: 2000, about: 'requests of each kind in each round' },
});

/** Requests at a time while each route is used once. */
const SWEEP_CONNECTIONS = 8;
const SWEEP_SECONDS = 600;

/** Milliseconds. */
type Tail = { readonly p50: number; readonly p99: number };

/** Latencies of one connection, in milliseconds, ascending. */
async function latencies(node: ServedThaw, pick: () => ManyRoute, count: number): Promise<Float64Array> {
  const connection = await Connection.open(node.url);
  const taken = new Float64Array(count);
  for (let index = 0; index < count; index++) {
    const { route, answer } = pick();
    const begun = performance.now();
    const { body } = await connection.get(route);
    taken[index] = performance.now() - begun;
    if (body !== answer) throw new Error(`${route} answered ${JSON.stringify(body)}, not ${JSON.stringify(answer)}`);
  }
  connection.close();
  return taken.toSorted();
}

async function useEachOnce(report: Report, node: ServedThaw, routes: readonly ManyRoute[]): Promise<void> {
  const before = node.child.memory('VmRSS');
  const swept = await closedLoop({
    url: node.url,
    connections: SWEEP_CONNECTIONS,
    requests: routes.length,
    seconds: SWEEP_SECONDS,
    path: (index) => routes[index]?.route ?? '/',
    isRight: ({ body }, index) => body === routes[index]?.answer,
  });
  const after = node.child.memory('VmRSS');
  report.round({ phase: 'each route once', rssBefore: before, rssAfter: after, ...swept });
  if (swept.failed + swept.wrong > 0) report.note(`${swept.failed} failed, ${swept.wrong} wrong: ${swept.complaint}`);
  const mebibytes = after / 2 ** 20;
  report.note(`each route once: ${number(swept.seconds)} s, p50 ${number(swept.p50)} ms, p99 ${number(swept.p99)} ms`);
  report.target({ what: 'RSS after each route once', value: mebibytes, bound: 'at most', limit: 512, unit: ' MiB' });
}

async function compareRandomToHot(report: Report, node: ServedThaw, routes: readonly ManyRoute[]): Promise<void> {
  const lottery = new Lottery();
  const random = (): ManyRoute => routes[lottery.draw(routes.length)] as ManyRoute;
  const hot = routes[0] as ManyRoute;
  const rounds: { readonly random: Tail; readonly hot: Tail }[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const [ofRandom, ofHot] = [
      await latencies(node, random, options.requests),
      await latencies(node, () => hot, options.requests),
    ];
    const raw = {
      random: { p50: quantile(ofRandom, 0.5), p99: quantile(ofRandom, 0.99) },
      hot: { p50: quantile(ofHot, 0.5), p99: quantile(ofHot, 0.99) },
    };
    rounds.push(raw);
    report.round({ phase: 'latency', round, ...raw });
  }
  const row = (kind: 'random' | 'hot'): string[] => [
    kind,
    spreadText(rounds.map((round) => round[kind].p50)),
    spreadText(rounds.map((round) => round[kind].p99)),
  ];
  report.table(['route', 'p50 ms', 'p99 ms'], [row('random'), row('hot')]);
  const times = spreadOf(rounds.map(({ random, hot }) => random.p50 / hot.p50)).median;
  report.target({
    what: 'p50 of a random route over a hot one',
    value: times,
    bound: 'at most',
    limit: 3,
    unit: ' times',
  });
}

const report = new Report('density', options);
using snapshots = new BenchStore();
const routes = await makeRoutes(snapshots, options.routes, options.apps);
const hello = await snapshots.buildApp('hello');
const extra = bytesBeside(hello.manifest, snapshots.store.loadManifest(routes[0]?.snapshot ?? '')) / 1024;
report.target({ what: 'disk for an extra hello app', value: extra, bound: 'at most', limit: 400, unit: ' KiB' });
{
  await using node = await serveThaw({
    store: snapshots.directory,
    routes: configured(routes),
    pool: { slots: options.slots, memory: '4GiB' },
  });
  const { cpuSeconds } = node.child;
  report.round({ phase: 'ready', ms: node.readyMs, cpuSeconds, rss: node.child.memory('VmRSS') });
  report.note(`ready after ${number(cpuSeconds)} s of CPU time`);
  report.target({ what: 'ready', value: node.readyMs / 1000, bound: 'at most', limit: 3, unit: ' s' });
  await useEachOnce(report, node, routes);
  await compareRandomToHot(report, node, routes);
}
report.finish();
