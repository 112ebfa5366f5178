import type { ServerRun } from './report/format.ts';
import { readOptions } from './support/options.ts';
import { Report, number, spreadText } from './support/report.ts';
import { BenchStore } from './support/snapshots.ts';
import { ratios, spreadOf } from './support/statistics.ts';
import { runThroughput } from './suites/throughput.ts';

/**
 * The throughput suite of `thaw bench`, held against what thaw is meant to reach: requests per second of one thread on one
 * core, with fresh state for every request, against workerd, which shares an isolate between requests.
 */

const options = readOptions('Throughput on one core: thaw and its peers, those that are found.', {
  quick: { default: 0, about: '1: fewer rounds and shorter ones' },
});

const ratesOf = (server: ServerRun | undefined): number[] => (server?.closed ?? []).map(({ perSecond }) => perSecond);

const rowOf = (server: ServerRun, thaw: ServerRun | undefined): string[] => [
  server.name,
  spreadText(ratesOf(server)),
  number(spreadOf(server.closed.map(({ p50 }) => p50)).median),
  number(spreadOf(server.closed.map(({ p99 }) => p99)).median),
  spreadText(server.closed.map(({ cpu }) => cpu)),
  String(server.closed.reduce((sum, { failed }) => sum + failed, 0)),
  spreadText(ratios(ratesOf(thaw), ratesOf(server))),
];

const report = new Report('throughput', options);
using snapshots = new BenchStore();
const { servers, pinning } = await runThroughput({
  quick: options.quick !== 0,
  peers: 'auto',
  snapshots,
  progress: (text) => process.stderr.write(`${text}\n`),
  note: (text) => report.note(text),
});
report.note(pinning);
const named = (name: string): ServerRun | undefined => servers.find((server) => server.name === name);
const [thaw, workerd] = [named('thaw'), named('workerd')];
for (const server of servers) {
  report.round(server);
  if (server.outcome.kind === 'skipped') report.note(`${server.name} is left out: ${server.outcome.reason}`);
  if (server.outcome.kind === 'failed') report.note(`${server.name} failed: ${server.outcome.message}`);
}
const ran = servers.filter(({ outcome }) => outcome.kind === 'ran');
report.table(
  ['server', 'requests/s', 'p50 µs', 'p99 µs', 'CPU µs a request', 'failed', 'thaw / server'],
  ran.map((server) => rowOf(server, thaw)),
);
if (workerd?.outcome.kind === 'ran') {
  const share = spreadOf(ratios(ratesOf(thaw), ratesOf(workerd))).median * 100;
  report.target({ what: 'thaw against workerd', value: share, bound: 'at least', limit: 60, unit: ' %' });
}
report.finish();
