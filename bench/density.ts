import { DENSITY_APPS, DENSITY_SLOTS, measureDensity } from './suites/density.ts';
import { choosePinning } from './support/cores.ts';
import { ManyRoutes } from './support/many-routes.ts';
import { readOptions } from './support/options.ts';
import { Report, spreadText } from './support/report.ts';
import { BenchStore, bytesBeside } from './support/snapshots.ts';
import { quantile, ratios, spreadOf } from './support/statistics.ts';

/**
 * One step of the density suite of `thaw bench`, held against what thaw is meant to reach: ten thousand routes on one node
 * with 64 slots.
 */

const options = readOptions('Many routes, few slots.', {
  routes: { default: 10_000, about: 'routes, each with a snapshot of its own' },
  apps: { default: DENSITY_APPS, about: 'distinct apps among them' },
  slots: { default: DENSITY_SLOTS, about: 'slots of the node' },
  rounds: { default: 5, about: 'rounds of random and hot requests' },
  requests: { default: 2000, about: 'requests of each kind in each round' },
});

const report = new Report('density', options);
using snapshots = new BenchStore();
const many = await ManyRoutes.of(snapshots, options.apps);
const hello = await snapshots.buildApp('hello');
const extra = bytesBeside(hello.manifest, many.manifest) / 1024;
report.target({ what: 'disk for an extra hello app', value: extra, bound: 'at most', limit: 400, unit: ' KiB' });

const step = await measureDensity({
  store: snapshots.directory,
  routes: await many.upTo(options.routes),
  slots: options.slots,
  rounds: options.rounds,
  requests: options.requests,
  pinning: choosePinning(),
  progress: (text) => process.stderr.write(`${text}\n`),
  note: (text) => report.note(text),
});
report.round(step);

const at = (rounds: readonly (readonly number[])[], quantileAt: number): number[] =>
  rounds.map((latencies) =>
    quantile(
      latencies.toSorted((a, b) => a - b),
      quantileAt,
    ),
  );
const row = (kind: 'random' | 'hot'): string[] => [
  kind,
  spreadText(at(step[kind], 0.5)),
  spreadText(at(step[kind], 0.99)),
];
report.table(['route', 'p50 µs', 'p99 µs'], [row('random'), row('hot')]);

const megabytes = step.residentBytes.allRequested / 2 ** 20;
const times = spreadOf(ratios(at(step.random, 0.5), at(step.hot, 0.5))).median;
report.target({ what: 'ready', value: step.readyMs / 1000, bound: 'at most', limit: 3, unit: ' s' });
report.target({ what: 'RSS after each route once', value: megabytes, bound: 'at most', limit: 512, unit: ' MiB' });
report.target({
  what: 'p50 of a random route over a hot one',
  value: times,
  bound: 'at most',
  limit: 3,
  unit: ' times',
});
report.target({ what: 'requests that failed', value: step.failed, bound: 'at most', limit: 0, unit: '' });
report.finish();
