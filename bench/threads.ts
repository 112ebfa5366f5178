import type { Child } from './support/child.ts';
import { closedLoop, type LoadResult } from './support/load.ts';
import { readOptions } from './support/options.ts';
import { Report, number, spreadText } from './support/report.ts';
import { BenchStore } from './support/snapshots.ts';
import { inOrder, ratios, spreadOf } from './support/statistics.ts';
import { serveThaw } from './support/thaw.ts';

/** What a second thread is worth on a second core: a handler that does nothing but compute, with one thread and with two. */

const options = readOptions('Two serving threads on two cores against one, CPU-bound handler.', {
  rounds: { default: 7, about: 'measured rounds' },
  seconds: { default: 4, about: 'of each in each round' },
  connections: { default: 32, about: 'at a time: enough that both threads get some' },
  'warm-up': { default: 12, about: 'seconds for each' },
});

/** Of the handler in bench/apps/primes.js. */
const PRIMES_BELOW_20000 = '2262';

type Side = { readonly threads: number; readonly url: URL; readonly child: Child };

/**
 * `cores` is how many the node had, `cpuMs` what a request took of them. When two threads did not get two cores, somebody
 * else had them, and only `cpuMs` says anything.
 */
type Run = LoadResult & { readonly cores: number; readonly cpuMs: number };

async function load({ url, child }: Side, seconds: number): Promise<Run> {
  const before = child.cpuSeconds;
  const result = await closedLoop({
    url,
    connections: options.connections,
    requests: Number.MAX_SAFE_INTEGER,
    seconds,
    path: () => '/',
    isRight: ({ status, body }) => status === 200 && body === PRIMES_BELOW_20000,
  });
  const cpuSeconds = child.cpuSeconds - before;
  return { ...result, cores: cpuSeconds / result.seconds, cpuMs: (cpuSeconds / result.requests) * 1000 };
}

const report = new Report('threads', options);
using snapshots = new BenchStore();
await snapshots.buildApp('primes');
await using servers = new AsyncDisposableStack();
const sides: Side[] = [];
for (const threads of [1, 2]) {
  const routes = [{ route: '/...', snapshot: 'primes' }];
  const node = servers.use(await serveThaw({ name: `thaw ${threads}`, store: snapshots.directory, routes, threads }));
  sides.push({ threads, url: node.url, child: node.child });
}
for (const side of sides) await load(side, options['warm-up']);
const results = new Map<number, Run[]>(sides.map(({ threads }) => [threads, []]));
for (let round = 0; round < options.rounds; round++) {
  for (const side of inOrder(sides, round)) {
    const result = await load(side, options.seconds);
    results.get(side.threads)?.push(result);
    report.round({ round, threads: side.threads, ...result });
  }
}
const rates = (threads: number): number[] => (results.get(threads) ?? []).map(({ perSecond }) => perSecond);
const rows = Array.from(results, ([threads, rounds]) => [
  String(threads),
  spreadText(rounds.map(({ perSecond }) => perSecond)),
  number(spreadOf(rounds.map(({ p50 }) => p50)).median),
  number(spreadOf(rounds.map(({ cores }) => cores)).median),
  number(spreadOf(rounds.map(({ cpuMs }) => cpuMs)).median),
  String(rounds.reduce((sum, { failed, wrong }) => sum + failed + wrong, 0)),
]);
report.table(['threads', 'requests/s', 'p50 ms', 'cores', 'CPU ms a request', 'failed or wrong'], rows);
const gain = spreadOf(ratios(rates(2), rates(1))).median;
report.target({ what: 'two threads over one', value: gain, bound: 'at least', limit: 1.7, unit: ' times' });
report.finish();
