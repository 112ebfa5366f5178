import { serveBareNode, serveWorkerd, hasWorkerd } from './support/peers.ts';
import { hasCommand, type Child } from './support/child.ts';
import { readOptions } from './support/options.ts';
import { Report, number, spreadText } from './support/report.ts';
import { BenchStore } from './support/snapshots.ts';
import { hasSettled, inOrder, ratios, spreadOf } from './support/statistics.ts';
import { serveThaw } from './support/thaw.ts';
import { runWrk, type WrkResult } from './support/wrk.ts';

/**
 * Requests per second of one serving thread pinned to one core, wrk on another: thaw, with fresh state for every request,
 * against workerd, which shares an isolate between requests, and against node:http with nothing behind it.
 */

const options = readOptions('Throughput of one thread on one core: thaw, workerd, node:http.', {
  rounds: { default: 7, about: 'measured rounds' },
  seconds: { default: 5, about: 'of each server in each round' },
  connections: { default: 32, about: 'of wrk' },
  'warm-up': { default: 30, about: 'most seconds until throughput must have stopped rising' },
  core: { default: 0, about: 'the core of the server' },
  client: { default: 1, about: 'the core of wrk' },
});

/** V8 needs some ten seconds of load until a program of this size runs as fast as it will. */
const WARM_UP_AT_LEAST_S = 10;
const WARM_UP_STEP_S = 2;

type Side = { readonly name: string; readonly url: string; readonly child: Child };

/** One run of wrk, and the CPU time of the server for each request, in microseconds. */
type Run = WrkResult & { readonly cpuMicros: number };

const on = (core: number): string[] => ['taskset', '--cpu-list', String(core)];

async function wrk({ url, child }: Side, seconds: number): Promise<Run> {
  const before = child.cpuSeconds;
  const result = await runWrk({ url, connections: options.connections, seconds, prefix: on(options.client) });
  const requests = result.perSecond * seconds;
  return { ...result, cpuMicros: ((child.cpuSeconds - before) / requests) * 1e6 };
}

/** @returns the rates of the steps */
async function warmUp(side: Side): Promise<number[]> {
  const rates: number[] = [];
  const steps = Math.ceil(options['warm-up'] / WARM_UP_STEP_S);
  while (rates.length < steps) {
    rates.push((await wrk(side, WARM_UP_STEP_S)).perSecond);
    if (rates.length * WARM_UP_STEP_S >= WARM_UP_AT_LEAST_S && hasSettled(rates)) break;
  }
  return rates;
}

async function measure(report: Report, sides: readonly Side[]): Promise<Map<string, Run[]>> {
  const results = new Map<string, Run[]>(sides.map(({ name }) => [name, []]));
  for (const side of sides) report.round({ phase: 'warm-up', side: side.name, perSecond: await warmUp(side) });
  for (let round = 0; round < options.rounds; round++) {
    for (const side of inOrder(sides, round)) {
      const result = await wrk(side, options.seconds);
      results.get(side.name)?.push(result);
      report.round({ phase: 'measured', round, side: side.name, ...result });
    }
  }
  return results;
}

function tell(report: Report, results: ReadonlyMap<string, readonly Run[]>): void {
  const ratesOf = (name: string): number[] => (results.get(name) ?? []).map(({ perSecond }) => perSecond);
  const rows = Array.from(results, ([name, rounds]) => [
    name,
    spreadText(rounds.map(({ perSecond }) => perSecond)),
    number(spreadOf(rounds.map(({ p50 }) => p50)).median),
    number(spreadOf(rounds.map(({ p99 }) => p99)).median),
    spreadText(rounds.map(({ cpuMicros }) => cpuMicros)),
    String(rounds.reduce((sum, { failed }) => sum + failed, 0)),
    spreadText(ratios(ratesOf('thaw'), ratesOf(name))),
  ]);
  report.table(['server', 'requests/s', 'p50 ms', 'p99 ms', 'CPU µs a request', 'failed', 'thaw / server'], rows);
  if (!results.has('workerd')) return;
  const share = spreadOf(ratios(ratesOf('thaw'), ratesOf('workerd'))).median * 100;
  report.target({ what: 'thaw against workerd', value: share, bound: 'at least', limit: 60, unit: ' %' });
}

const report = new Report('throughput', options);
if (!hasCommand('wrk') || !hasCommand('taskset')) {
  report.note('skipped: wrk or taskset is missing (Debian: apt-get install wrk util-linux)');
} else {
  using snapshots = new BenchStore();
  await snapshots.buildApp('hello');
  await using servers = new AsyncDisposableStack();
  const routes = [{ route: '/...', snapshot: 'hello' }];
  const thaw = servers.use(await serveThaw({ store: snapshots.directory, routes, prefix: on(options.core) }));
  const bare = servers.use(await serveBareNode(on(options.core)));
  const sides: Side[] = [
    { name: 'thaw', url: `${thaw.url.origin}/x`, child: thaw.child },
    { name: 'node:http', url: `${bare.url.origin}/x`, child: bare.child },
  ];
  if (hasWorkerd()) {
    const workerd = servers.use(await serveWorkerd(on(options.core)));
    sides.push({ name: 'workerd', url: `${workerd.url.origin}/x`, child: workerd.child });
  } else {
    report.note('workerd is left out: it is not installed (scripts/fetch-peers.sh)');
  }
  tell(report, await measure(report, sides));
}
report.finish();
