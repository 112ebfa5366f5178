import { closedLoop } from './support/load.ts';
import { hasCommand } from './support/child.ts';
import { makeRoutes } from './support/many-routes.ts';
import { readOptions } from './support/options.ts';
import { Report, number } from './support/report.ts';
import { BenchStore, Variants } from './support/snapshots.ts';
import { serveThaw } from './support/thaw.ts';

/**
 * A node with as little address space as the 39-bit kernel of a Raspberry Pi gives: 512 GiB, of which V8 reserves 8 to 10
 * for each memory. Four engines and a hundred routes take turns in what slots there can be. Ends with 1 when the node
 * dies or a request fails.
 */

const options = readOptions('Four code digests and a hundred routes in 512 GiB of address space.', {
  gib: { default: 512, about: 'address space of the node' },
  routes: { default: 100, about: 'routes, shared among the four engines' },
  slots: { default: 64, about: 'slots that the config allows: more than there is address space for' },
  connections: { default: 48, about: 'at a time' },
  seconds: { default: 30, about: 'of load' },
  threads: { default: 1, about: 'serving threads' },
});

/** `host` is null for those that are found by their path. */
type Served = {
  readonly host: string | null;
  readonly path: string;
  readonly snapshot: string;
  readonly answer: string;
};

/** Guests that are not JavaScript: the part of their answer that is varied in their image, and the answer. */
const GUESTS = [
  {
    guest: 'sieve',
    options: { initFunc: 'initialise' },
    varied: 'prime 20000',
    of: (own: string) => `${own} is 224737\n`,
  },
  { guest: 'two', options: {}, varied: 'two modules', of: (own: string) => `${own}, one memory\n` },
  { guest: 'troubles', options: {}, varied: 'asked', of: (own: string) => `1 ${own}\n` },
] as const;

async function makeServed(snapshots: BenchStore): Promise<Served[]> {
  const share = Math.floor(options.routes / (GUESTS.length + 1));
  const scripts = await makeRoutes(snapshots, options.routes - share * GUESTS.length, options.routes);
  const served: Served[] = scripts.map(({ route, snapshot, answer }) => ({
    host: null,
    path: route,
    snapshot,
    answer,
  }));
  for (const { guest, options, varied, of } of GUESTS) {
    const { digest } = await snapshots.freezeWat(guest, options);
    const variants = new Variants(snapshots.store, digest, [varied]);
    for (let index = 0; index < share; index++) {
      const own = String(index).padStart(varied.length, '0');
      const snapshot = await variants.add([[varied, own]]);
      served.push({ host: `${guest}-${index}.test`, path: '/hello', snapshot, answer: of(own) });
    }
  }
  return served;
}

/** A route as the config has it. */
const configured = ({ host, path, snapshot }: Served): { route: string; snapshot: string; host?: string } =>
  host === null ? { route: path, snapshot } : { route: path, snapshot, host };

const report = new Report('address-space', options);
if (!hasCommand('prlimit')) {
  report.note('skipped: prlimit is missing (Debian: apt-get install util-linux)');
} else {
  using snapshots = new BenchStore();
  const served = await makeServed(snapshots);
  await using node = await serveThaw({
    store: snapshots.directory,
    routes: served.map(configured),
    threads: options.threads,
    pool: { slots: options.slots, memory: '2GiB' },
    prefix: ['prlimit', `--as=${options.gib * 2 ** 30}`],
  });
  const servedAt = (index: number): Served => served[index % served.length] as Served;
  const result = await closedLoop({
    url: node.url,
    connections: options.connections,
    requests: Number.MAX_SAFE_INTEGER,
    seconds: options.seconds,
    path: (index) => servedAt(index).path,
    host: (index) => servedAt(index).host ?? node.url.host,
    isRight: ({ status, body }, index) => status === 200 && body === servedAt(index).answer,
  });
  const reserved = node.child.isRunning ? node.child.memory('VmSize') / 2 ** 30 : Number.NaN;
  report.round({ ...result, reservedGiB: reserved });
  report.note(
    `${result.requests} requests, ${number(result.perSecond)} a second, p99 ${number(result.p99)} ms, ` +
      `${number(reserved)} GiB reserved; first complaint: ${String(result.complaint)}`,
  );
  if (!node.child.isRunning) report.note(`the node ended:\n${node.child.output}`);
  const good = [
    report.target({
      what: 'crashes',
      value: node.child.isRunning ? 0 : 1,
      bound: 'at most',
      limit: 0,
      unit: '',
    }),
    report.target({ what: 'failed requests', value: result.failed, bound: 'at most', limit: 0, unit: '' }),
    report.target({ what: 'wrong answers', value: result.wrong, bound: 'at most', limit: 0, unit: '' }),
  ].every(Boolean);
  if (!good) process.exitCode = 1;
}
report.finish();
