import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './support/load.ts';
import { Lottery, configured, makeRoutes } from './support/many-routes.ts';
import { readOptions } from './support/options.ts';
import { Report, number } from './support/report.ts';
import type { Response } from './support/response-parser.ts';
import { BenchStore } from './support/snapshots.ts';
import { slopeOf } from './support/statistics.ts';
import { serveThaw, type ServedThaw } from './support/thaw.ts';

/**
 * Load that goes on: random routes, clients that hang up in the middle, guests that trap and throw. Whether memory, file
 * descriptors and mappings stay where they are, and every answer is right. Ends with 1 when one of them is not so.
 */

const options = readOptions('A long load with aborts and traps: leaks, and wrong answers.', {
  minutes: { default: 10, about: 'of load' },
  settle: { default: 2, about: 'minutes that do not count for the slopes' },
  routes: { default: 200, about: 'routes with snapshots of their own, beside those that fail' },
  slots: { default: 32, about: 'slots of the node: fewer than routes, so that they move' },
  connections: { default: 16, about: 'clients' },
  threads: { default: 2, about: 'serving threads' },
});

const SAMPLE_MS = 2000;

/** One in this many clients hangs up before its answer. */
const HANG_UP_EVERY = 20;

type Step = { readonly path: string; readonly isRight: (response: Response) => boolean };

const says = (status: number, body?: string): Step['isRight'] => {
  return (response) => response.status === status && (body === undefined || response.body === body);
};

/** What guests do beside answering: count in frozen state, grow their memory, throw, trap, end the instance. */
const OTHERS: readonly (Step & { readonly snapshot: 'troubles-js' | 'troubles-wat' })[] = [
  { snapshot: 'troubles-js', path: '/grow', isRight: says(200, '1') },
  { snapshot: 'troubles-js', path: '/throw', isRight: says(500) },
  { snapshot: 'troubles-wat', path: '/counter', isRight: says(200, '1 asked\n') },
  { snapshot: 'troubles-wat', path: '/trap', isRight: says(500) },
  { snapshot: 'troubles-wat', path: '/exit', isRight: says(500) },
];

type Counts = { answered: number; abandoned: number; failed: number; wrong: number; complaint: string | null };

/** What the clients have in common. */
type Drive = {
  readonly node: ServedThaw;
  readonly steps: readonly Step[];
  readonly lottery: Lottery;
  readonly counts: Counts;
};

/** One client, until a time. A connection that is lost is replaced. */
async function client(drive: Drive, until: number): Promise<void> {
  let connection: Connection | null = null;
  while (performance.now() < until) {
    const { steps, lottery, counts } = drive;
    const step = steps[lottery.draw(steps.length)] as Step;
    try {
      connection ??= await Connection.open(drive.node.url);
      if (await request(drive, connection, step)) continue;
    } catch (error) {
      counts.failed++;
      counts.complaint ??= `${step.path}: ${String(error)}`;
    }
    connection = null;
  }
  connection?.close();
}

/** @returns whether the connection can be used again */
async function request({ lottery, counts }: Drive, connection: Connection, step: Step): Promise<boolean> {
  if (lottery.draw(HANG_UP_EVERY) === 0) {
    connection.abandon(step.path);
    counts.abandoned++;
    return false;
  }
  const response = await connection.get(step.path);
  counts.answered++;
  if (!step.isRight(response)) {
    counts.wrong++;
    counts.complaint ??= `${step.path}: ${response.status} ${JSON.stringify(response.body.slice(0, 80))}`;
  }
  if (!response.keepAlive) connection.close();
  return response.keepAlive;
}

type Sample = {
  readonly minutes: number;
  readonly rss: number;
  readonly descriptors: number;
  readonly mappings: number;
};

async function sampleUntil(node: ServedThaw, begun: number, until: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  while (performance.now() < until && node.child.isRunning) {
    const { descriptors, mappings } = node.child;
    const minutes = (performance.now() - begun) / 60_000;
    samples.push({ minutes, rss: node.child.memory('VmRSS') / 2 ** 20, descriptors, mappings });
    await sleep(SAMPLE_MS);
  }
  return samples;
}

function judge(report: Report, samples: readonly Sample[], counts: Readonly<Counts>): boolean {
  const settled = samples.filter(({ minutes }) => minutes >= options.settle);
  const slope = (of: (sample: Sample) => number): number =>
    slopeOf(settled.map((sample) => [sample.minutes, of(sample)] as const));
  report.table(
    ['', 'first', 'last', 'most', 'a minute'],
    (['rss', 'descriptors', 'mappings'] as const).map((field) => [
      field === 'rss' ? 'RSS MiB' : field,
      number(settled[0]?.[field] ?? Number.NaN),
      number(settled.at(-1)?.[field] ?? Number.NaN),
      number(Math.max(...settled.map((sample) => sample[field]))),
      number(slope((sample) => sample[field])),
    ]),
  );
  report.note(`${counts.answered} answered, ${counts.abandoned} hung up, first complaint: ${String(counts.complaint)}`);
  const flat = { bound: 'at most', limit: 1 } as const;
  return [
    report.target({ what: 'RSS', value: slope(({ rss }) => rss), ...flat, unit: ' MiB a minute' }),
    report.target({ what: 'descriptors', value: slope(({ descriptors }) => descriptors), ...flat, unit: ' a minute' }),
    report.target({ what: 'mappings', value: slope(({ mappings }) => mappings), ...flat, unit: ' a minute' }),
    report.target({ what: 'wrong answers', value: counts.wrong, bound: 'at most', limit: 0, unit: '' }),
    report.target({ what: 'failed requests', value: counts.failed, bound: 'at most', limit: 0, unit: '' }),
  ].every(Boolean);
}

const report = new Report('soak', options);
using snapshots = new BenchStore();
const routes = await makeRoutes(snapshots, options.routes, options.routes);
const troubles = [await snapshots.buildApp('troubles'), await snapshots.freezeWat('troubles')] as const;
await snapshots.store.setRef('troubles-js', troubles[0].digest, 'a bench');
await snapshots.store.setRef('troubles-wat', troubles[1].digest, 'a bench');
const steps: Step[] = [...routes.map(({ route, answer }) => ({ path: route, isRight: says(200, answer) })), ...OTHERS];
{
  await using node = await serveThaw({
    store: snapshots.directory,
    routes: [...configured(routes), ...OTHERS.map(({ path, snapshot }) => ({ route: path, snapshot }))],
    threads: options.threads,
    pool: { slots: options.slots, memory: '1GiB' },
  });
  const begun = performance.now();
  const until = begun + options.minutes * 60_000;
  const counts: Counts = { answered: 0, abandoned: 0, failed: 0, wrong: 0, complaint: null };
  const drive = { node, steps, lottery: new Lottery(), counts };
  const clients = Array.from({ length: options.connections }, () => client(drive, until));
  const samples = await sampleUntil(node, begun, until);
  await Promise.all(clients);
  report.round({ samples, counts });
  if (!node.child.isRunning) report.note(`the node ended:\n${node.child.output}`);
  if (!judge(report, samples, counts) || !node.child.isRunning) process.exitCode = 1;
}
report.finish();
