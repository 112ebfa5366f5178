import { closedLoop, getOnce, type LoadResult } from './support/load.ts';
import { readOptions } from './support/options.ts';
import { serveJco } from './support/peers/jco.ts';
import { Report, number, spreadText } from './support/report.ts';
import { BenchStore, appComponent } from './support/snapshots.ts';
import { inOrder, ratios, spreadOf } from './support/statistics.ts';
import { serveThaw } from './support/thaw.ts';

/**
 * One JavaScript app, one component file, a fresh instance's state for every request: `thaw serve` on one thread against
 * `jco serve --isolate-requests instance`. Both run for the whole bench; each round loads one after the other, in an order
 * that is reversed every other round.
 */

const options = readOptions('thaw serve against jco serve --isolate-requests instance, for one component.', {
  rounds: { default: 7, about: 'measured rounds' },
  seconds: { default: 4, about: 'of each server at each concurrency in each round' },
  requests: { default: 20_000, about: 'most requests in that time' },
  'warm-up': { default: 12, about: 'seconds for each server' },
});

const CONCURRENCIES = [1, 32];

type Side = { readonly name: string; readonly url: URL };

const load = (side: Side, connections: number, seconds: number): Promise<LoadResult> =>
  closedLoop({
    url: side.url,
    connections,
    seconds,
    requests: options.requests,
    path: (index) => `/${index}`,
    isRight: ({ status, body }, index) => status === 200 && body === `Hello /${index}`,
  });

/** Raw rounds by side and concurrency. */
type Results = ReadonlyMap<Side, ReadonlyMap<number, LoadResult[]>>;

async function measure(report: Report, sides: readonly Side[]): Promise<Results> {
  const results: Results = new Map(
    sides.map((side) => [side, new Map(CONCURRENCIES.map((connections) => [connections, []]))]),
  );
  for (const side of sides) await load(side, CONCURRENCIES.at(-1) ?? 1, options['warm-up']);
  for (let round = 0; round < options.rounds; round++) {
    for (const connections of CONCURRENCIES) {
      for (const side of inOrder(sides, round)) {
        const result = await load(side, connections, options.seconds);
        results.get(side)?.get(connections)?.push(result);
        report.round({ round, side: side.name, connections, ...result });
      }
    }
  }
  return results;
}

function tell(report: Report, results: Results, [thaw, jco]: readonly [Side, Side]): void {
  const rows: string[][] = [];
  for (const connections of CONCURRENCIES) {
    const of = (side: Side): LoadResult[] => results.get(side)?.get(connections) ?? [];
    const rates = (side: Side): number[] => of(side).map(({ perSecond }) => perSecond);
    const latencies = (side: Side): number[] => of(side).map(({ p50 }) => p50);
    const [faster, sooner] = [ratios(rates(thaw), rates(jco)), ratios(latencies(jco), latencies(thaw))];
    for (const side of [thaw, jco]) {
      const failed = of(side).reduce((sum, result) => sum + result.failed + result.wrong, 0);
      const name = `${side.name}, ${connections} at a time`;
      rows.push([name, spreadText(rates(side)), spreadText(latencies(side)), String(failed)]);
    }
    rows.push([`  times better, ${connections} at a time`, spreadText(faster), spreadText(sooner), '']);
    const what = `requests per second of thaw over jco's, ${connections} at a time`;
    report.target({ what, value: spreadOf(faster).median, bound: 'at least', limit: 15, unit: ' times' });
  }
  report.table(['server', 'requests/s', 'p50 ms', 'failed or wrong'], rows);
}

/** What jco does without isolation: a StarlingMonkey instance is made for one request. */
async function tryWithoutIsolation(report: Report, component: string): Promise<void> {
  await using jco = await serveJco(component, 'none');
  const answers: string[] = [];
  for (let request = 1; request <= 2; request++) {
    const answer = await getOnce(jco.url, `/${request}`).then(
      ({ status, body }) => `${status} ${JSON.stringify(body.slice(0, 80))}`,
      (error: unknown) => String(error),
    );
    answers.push(`request ${request}: ${answer}`);
  }
  report.note(`jco serve without isolation: ${answers.join('; ')}`);
}

const report = new Report('jco-serve', options);
using snapshots = new BenchStore();
await snapshots.buildApp('hello');
const component = await appComponent('hello');
{
  await using thaw = await serveThaw({
    store: snapshots.directory,
    routes: [{ route: '/...', snapshot: 'hello' }],
  });
  await using jco = await serveJco(component, 'instance');
  const sides = [
    { name: 'thaw serve', url: thaw.url },
    { name: 'jco serve', url: jco.url },
  ] as const;
  tell(report, await measure(report, sides), sides);
  report.note(`resident memory: thaw ${number(thaw.child.memory('VmRSS') / 2 ** 20)} MiB`);
}
await tryWithoutIsolation(report, component);
report.finish();
