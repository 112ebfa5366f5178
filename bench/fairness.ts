import { setTimeout as sleep } from 'node:timers/promises';
import { generate } from './support/generator.ts';
import type { LoadResult } from './support/load.ts';
import { openLoop, type OpenLoopResult } from './support/open-loop.ts';
import { readOptions } from './support/options.ts';
import { Report, number, spreadText } from './support/report.ts';
import { BenchStore } from './support/snapshots.ts';
import { inOrder, quantile, ratios, spreadOf } from './support/statistics.ts';
import { serveThaw } from './support/thaw.ts';

/**
 * What a route hears of a noisy neighbour: its latency at a low fixed rate, alone, and while all requests of another route
 * run until their CPU limit stops them, as many at a time as that route may have.
 */

const options = readOptions('The latency of a quiet route beside one whose requests never end.', {
  rounds: { default: 7, about: 'of each side' },
  seconds: { default: 10, about: 'of each side in each round' },
  rate: { default: 50, about: 'requests a second of the quiet route' },
  noisy: { default: 100, about: 'requests of the noisy route at a time; its limits.concurrency is that, too' },
  threads: { default: 2, about: 'serving threads' },
  settle: { default: 3, about: 'seconds of noise before each measurement beside it: the node curbs the noisy route' },
  'warm-up': { default: 5, about: 'seconds of the quiet route' },
});

/** Of the quiet route: two seconds of it. Beyond, requests are not sent, and counted as failed. */
const MOST_UNDER_WAY = 100;

const SIDES = ['alone', 'beside a noisy one'] as const;
type Side = (typeof SIDES)[number];

type Run = {
  readonly p50: number;
  readonly p99: number;
  readonly quiet: Omit<OpenLoopResult, 'latency'>;
  readonly noisy: LoadResult | null;
};

const QUIET = '/quiet';
const NOISY = '/noisy';

const askQuietly = (url: URL, seconds: number): Promise<OpenLoopResult> =>
  openLoop({
    url,
    perSecond: options.rate,
    seconds,
    most: MOST_UNDER_WAY,
    path: () => QUIET,
    isRight: ({ status, body }) => status === 200 && body === `Hello ${QUIET}`,
  });

/** In a process of its own, for as long as the quiet route is asked. Stopped requests count as wrong: all of them are. */
const makeNoise = (url: URL): Promise<LoadResult> =>
  generate(
    {
      kind: 'closed',
      url: url.href,
      connections: options.noisy,
      requests: Number.MAX_SAFE_INTEGER,
      // It ends later, too.
      seconds: options.settle + options.seconds + 1,
      asks: [{ path: NOISY, answer: '' }],
    },
    [],
  );

async function measure(url: URL, side: Side): Promise<Run> {
  const noise = side === 'alone' ? null : makeNoise(url);
  if (noise !== null) await sleep(options.settle * 1000);
  const { latency, ...quiet } = await askQuietly(url, options.seconds);
  const sorted = Float64Array.from(latency).toSorted();
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), quiet, noisy: await noise };
}

const report = new Report('fairness', options);

async function measureRounds(snapshots: BenchStore): Promise<Record<Side, readonly Run[]>> {
  await using node = await serveThaw({
    store: snapshots.directory,
    threads: options.threads,
    routes: [
      { route: QUIET, snapshot: 'hello' },
      { route: NOISY, snapshot: 'endless', limits: { concurrency: options.noisy } },
    ],
  });
  const runs: Record<Side, Run[]> = { alone: [], 'beside a noisy one': [] };
  await askQuietly(node.url, options['warm-up']);
  for (let round = 0; round < options.rounds; round++) {
    for (const side of inOrder(SIDES, round)) {
      const run = await measure(node.url, side);
      runs[side].push(run);
      report.round({ round, side, ...run });
    }
  }
  return runs;
}

function judge(runs: Record<Side, readonly Run[]>): void {
  const rows = SIDES.map((side) => [
    side,
    spreadText(runs[side].map(({ p50 }) => p50)),
    spreadText(runs[side].map(({ p99 }) => p99)),
    number(spreadOf(runs[side].map(({ noisy }) => noisy?.perSecond ?? 0)).median),
    String(runs[side].reduce((sum, { quiet }) => sum + quiet.failed + quiet.dropped, 0)),
  ]);
  report.table(['quiet route', 'p50 ms', 'p99 ms', 'noisy requests/s', 'failed'], rows);
  for (const { quiet } of SIDES.flatMap((side) => runs[side])) {
    if (quiet.complaint !== null) report.note(`the quiet route: ${quiet.complaint}`);
  }
  const p99 = (side: Side): number[] => runs[side].map((run) => run.p99);
  const ratio = spreadOf(ratios(p99('beside a noisy one'), p99('alone')));
  report.note(`p99 beside a noisy one over p99 alone: ${spreadText(ratio)}`);
  report.target({
    what: 'p99 beside a noisy neighbour',
    value: ratio.median,
    bound: 'at most',
    limit: 3,
    unit: ' times',
  });
}

using snapshots = new BenchStore();
await snapshots.buildApp('hello');
await snapshots.buildApp('endless');
judge(await measureRounds(snapshots));
report.finish();
