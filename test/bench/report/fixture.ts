/** A report as `thaw bench` would make it, from a seed: the same seed gives the same report. */

import type {
  BenchReport,
  ClosedRound,
  DensityStep,
  OpenRound,
  Outcome,
  ServerRun,
  StartupApp,
  StartupWay,
  Way,
} from '../../../bench/report/format.ts';
import { REPORT_FORMAT, WAYS } from '../../../bench/report/format.ts';

/** Text that breaks out of HTML, of Markdown and of a script when it is not escaped. */
export const HOSTILE = '</script><img src=x onerror="throw 1">&amp; | `a` *b* [c](https://example.test) $& \u2028 \'"';

type Options = { readonly seed?: number; readonly rounds?: number; readonly hostile?: boolean };

/** mulberry32: uniform numbers from 0, below 1. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Measured times around `typical`: log-normal, with now and then one that the machine disturbed. */
class Times {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomNumbers(seed);
  }

  one(typical: number, spread = 0.08): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.#random())) * Math.cos(2 * Math.PI * this.#random());
    const disturbed = this.#random() < 0.01 ? 1 + 4 * this.#random() : 1;
    return Math.round(typical * Math.exp(spread * normal) * disturbed * 10) / 10;
  }

  many(typical: number, count: number, spread?: number): number[] {
    return Array.from({ length: count }, () => this.one(typical, spread));
  }
}

/** Microseconds by phase; what stands after `guest` comes after the response. */
type Costs = Readonly<Record<Way, Readonly<Record<string, number>>>>;

const HELLO: Costs = {
  initialise: { memory: 60, instantiate: 5340, initialise: 6100, 'top level': 800, guest: 610 },
  wizer: { memory: 70, instantiate: 3530, guest: 560 },
  mapped: { memory: 160, instantiate: 1100, guest: 420 },
  instantiate: { instantiate: 880, guest: 190, restore: 52 },
  switch: { switch: 88, guest: 66, restore: 47 },
  hot: { guest: 86, restore: 47 },
};

const scaled = (costs: Costs, factors: Readonly<Partial<Record<string, number>>>): Costs =>
  Object.fromEntries(
    Object.entries(costs).map(([way, phases]) => [
      way,
      Object.fromEntries(Object.entries(phases).map(([name, micros]) => [name, micros * (factors[name] ?? 1)])),
    ]),
  ) as Costs;

const APPS: readonly (Pick<StartupApp, 'name' | 'about' | 'snapshot' | 'advice'> & { readonly costs: Costs })[] = [
  {
    name: 'hello',
    about: 'JavaScript on StarlingMonkey, one line of handler; its top level sets a counter.',
    snapshot: { codeBytes: 8_912_345, imageBytes: 10_551_296, deltaPages: 63, deltaBytes: 258_048 },
    advice: [],
    costs: HELLO,
  },
  {
    name: 'table',
    about: 'JavaScript; its top level fills a Map with 20,000 entries.',
    snapshot: { codeBytes: 8_912_345, imageBytes: 17_301_504, deltaPages: 1702, deltaBytes: 6_971_392 },
    advice: [
      'A request writes 1,320 pages (5.2 MiB), because the collector marks the whole table: keep the entries in one typed array, or in a string that is searched.',
      'The top level takes 58 ms without a snapshot; with one it costs nothing at a start.',
    ],
    costs: scaled(HELLO, { 'top level': 70, restore: 6, switch: 6, memory: 1.7, guest: 1.4 }),
  },
  {
    name: 'hono',
    about: 'JavaScript with Hono from npm: router with 12 routes, two middlewares.',
    snapshot: { codeBytes: 8_912_345, imageBytes: 10_944_512, deltaPages: 141, deltaBytes: 577_536 },
    advice: [
      'A request writes 122 pages: the router builds its matcher at the first request; call app.fetch once at the top level.',
    ],
    costs: scaled(HELLO, { 'top level': 5, restore: 1.4, switch: 1.3, guest: 1.9 }),
  },
  {
    name: 'roman (core module)',
    about: 'A core module of 41 KB, without an engine: Roman numerals.',
    snapshot: { codeBytes: 41_204, imageBytes: 131_072, deltaPages: 4, deltaBytes: 16_384 },
    advice: [],
    costs: scaled(HELLO, {
      initialise: 0.002,
      instantiate: 0.03,
      memory: 0.02,
      restore: 0.1,
      switch: 0.1,
      'top level': 0.002,
      guest: 0.2,
    }),
  },
];

const STARTS: Readonly<Record<Way, number>> = {
  initialise: 12,
  wizer: 20,
  mapped: 20,
  instantiate: 60,
  switch: 200,
  hot: 400,
};
const PAGES: Readonly<Record<Way, number | null>> = {
  initialise: null,
  wizer: null,
  mapped: 412,
  instantiate: 97,
  switch: 121,
  hot: 58,
};

function startupWay(times: Times, way: Way, costs: Readonly<Record<string, number>>, rounds: number): StartupWay {
  const phases = Object.keys(costs);
  const last = phases.indexOf('guest');
  return {
    way,
    outcome: { kind: 'ran' },
    freshness: way === 'initialise' ? 'start' : 'process',
    warmUp: way === 'initialise' ? 0 : 50,
    phases,
    rounds: Array.from({ length: rounds }, (_, round) => {
      const drift = times.one(1, 0.04) || 1;
      const phase = Object.fromEntries(
        phases.map((name) => [name, times.many((costs[name] ?? 0) * drift, STARTS[way], 0.12)]),
      );
      const total = Array.from({ length: STARTS[way] }, (_, start) => {
        const awaited = phases.slice(0, last + 1).reduce((sum, name) => sum + (phase[name]?.[start] ?? 0), 0);
        return Math.round((awaited + 1.5) * 10) / 10;
      });
      return { round, total, phase };
    }),
    pagesWritten: PAGES[way],
    pageFaults: PAGES[way] === null ? null : PAGES[way] + 9,
  };
}

type ServerShape = Pick<ServerRun, 'name' | 'version' | 'command' | 'shares' | 'isFresh'> & {
  readonly firstMs: number;
  readonly micros: number;
  readonly perSecond: number;
  readonly mib: number;
  readonly outcome?: Outcome;
};

const FRESH = 'nothing: fresh state for every request';
const SERVERS: readonly ServerShape[] = [
  {
    name: 'thaw',
    version: '0.1.0',
    command: 'thaw serve --config edge.yaml',
    shares: FRESH,
    isFresh: true,
    firstMs: 214,
    micros: 265,
    perSecond: 5120,
    mib: 148,
  },
  {
    name: 'jco serve --isolate-requests instance',
    version: '1.35.0',
    command: 'jco serve hello.wasm --isolate-requests instance',
    shares: FRESH,
    isFresh: true,
    firstMs: 1480,
    micros: 17_400,
    perSecond: 58,
    mib: 402,
  },
  {
    name: 'jco serve',
    version: '1.35.0',
    command: 'jco serve hello.wasm',
    shares: 'all: one instance serves them all',
    isFresh: false,
    firstMs: 1320,
    micros: 0,
    perSecond: 0,
    mib: 0,
    outcome: {
      kind: 'failed',
      message:
        'request 2 of 50: 500 Internal Server Error: unreachable executed; a StarlingMonkey instance is made for one request',
    },
  },
  {
    name: 'wasmtime serve',
    version: '49.0.1',
    command: 'wasmtime serve -O pooling-allocator=y,pooling-total-memories=100 -S cli hello.wasm',
    shares: FRESH,
    isFresh: true,
    firstMs: 96,
    micros: 410,
    perSecond: 2710,
    mib: 61,
  },
  {
    name: 'wasmtime serve, 100 requests an instance',
    version: '49.0.1',
    command: 'wasmtime serve -O pooling-allocator=y --max-instance-reuse-count 100 hello.wasm',
    shares: 'some: an instance serves up to 100 requests',
    isFresh: false,
    firstMs: 97,
    micros: 0,
    perSecond: 0,
    mib: 0,
    outcome: { kind: 'skipped', reason: 'this version of wasmtime has no --max-instance-reuse-count' },
  },
  {
    name: 'workerd',
    version: '1.20261118.0',
    command: 'workerd serve config.capnp',
    shares: 'all: one isolate serves them all',
    isFresh: false,
    firstMs: 41,
    micros: 190,
    perSecond: 9900,
    mib: 92,
  },
  {
    name: 'node:http',
    version: 'v26.10.0',
    command: 'node server.js',
    shares: 'all: one process serves them all',
    isFresh: false,
    firstMs: 38,
    micros: 172,
    perSecond: 15_800,
    mib: 71,
  },
];

function server(times: Times, shape: ServerShape, rounds: number, rate: number): ServerRun {
  const { name, version, command, shares, isFresh, firstMs, micros, perSecond, mib, outcome = { kind: 'ran' } } = shape;
  const about = { name, version, command, shares, isFresh, outcome };
  if (outcome.kind !== 'ran') return { ...about, firstAnswerMs: [], open: [], closed: [], residentBytes: [] };
  const dropped = micros > 1e6 / rate ? Math.round(rate * 1.5) : 0;
  const open = (round: number): OpenRound => ({
    round,
    sent: rate * 2 - dropped,
    dropped,
    failed: 0,
    latency: times.many(micros, rate * 2 - dropped, 0.2),
  });
  const closed = (round: number): ClosedRound => ({
    round,
    tool: 'wrk',
    perSecond: times.one(perSecond),
    p50: times.one(32e6 / perSecond),
    p99: times.one(51e6 / perSecond),
    failed: 0,
    cpu: times.one(9.8e5 / perSecond),
  });
  const each = Array.from({ length: rounds }, (_, round) => round);
  return {
    ...about,
    firstAnswerMs: times.many(firstMs, rounds),
    open: each.map(open),
    closed: each.map(closed),
    residentBytes: each.map(() => Math.round(times.one(mib, 0.02) * 2 ** 20)),
  };
}

const densityStep = (times: Times, routes: number, rounds: number): DensityStep => ({
  routes,
  outcome: { kind: 'ran' },
  readyMs: times.one(180 + routes * 0.21),
  residentBytes: {
    ready: Math.round((96 + routes * 0.004) * 2 ** 20),
    allRequested: Math.round((138 + routes * 0.006) * 2 ** 20),
  },
  diskBytesPerApp: 301_000,
  failed: 0,
  random: Array.from({ length: rounds }, () => times.many(routes < 64 ? 270 : 340 + routes / 250, 300, 0.2)),
  hot: Array.from({ length: rounds }, () => times.many(262, 300, 0.18)),
});

/** @param options `hostile` puts `HOSTILE` wherever a report has text */
export function fixtureReport({ seed = 1, rounds = 7, hostile = false }: Options = {}): BenchReport {
  const times = new Times(seed);
  const report: BenchReport = {
    format: REPORT_FORMAT,
    begun: '2026-11-22T10:59:30.000Z',
    seconds: 1124.6,
    command: 'thaw bench --suite all',
    isQuick: false,
    thaw: '0.1.0',
    machine: {
      cpu: 'AMD EPYC 9R14',
      cores: 2,
      memoryBytes: 25_270_000_000,
      kernel: '6.18.44',
      architecture: 'x64',
      node: 'v26.10.0',
      v8: '14.6.202.34-node.34',
      commit: '2fd682a0c1d2',
      packages: { '@bytecodealliance/jco': '1.35.0', '@bytecodealliance/wizer': '11.0.3', koffi: '3.3.4' },
      restoreTier: 'scan',
      pageBytes: 4096,
    },
    load: { before: [0.31, 0.42, 0.6], after: [1.12, 0.98, 0.8] },
    startup: {
      apps: APPS.map(({ costs, ...app }) => ({
        ...app,
        ways: WAYS.map((way) => startupWay(times, way, costs[way], rounds)),
      })),
    },
    throughput: {
      app: 'hello',
      pinning: 'server on core 0, load generator on core 1',
      rate: 200,
      connections: 32,
      servers: SERVERS.map((shape) => server(times, shape, rounds, 200)),
    },
    density: {
      slots: 64,
      about: '250 distinct apps, made from one build by changing a constant; the routes share them in turn.',
      steps: [10, 100, 1000, 10_000].map((routes) => densityStep(times, routes, rounds)),
    },
    notes: ['wrk was found; the closed loop is its.', 'The load average was above 1 at the end: the bench itself.'],
  };
  return hostile ? withHostileText(report) : report;
}

/** A phase may be called anything, too. */
const withHostilePhase = (way: StartupWay): StartupWay => ({
  ...way,
  phases: way.phases.map((name) => (name === 'top level' ? HOSTILE : name)),
  rounds: way.rounds.map((round) => ({
    ...round,
    phase: Object.fromEntries(
      Object.entries(round.phase).map(([name, times]) => [name === 'top level' ? HOSTILE : name, times]),
    ),
  })),
});

/** Every text of a report that is not one of a few fixed words, replaced. Names stay different from each other. */
function withHostileText(report: BenchReport): BenchReport {
  const fixed = new Set(['kind', 'way', 'freshness', 'tool', 'begun']);
  let count = 0;
  const text = JSON.stringify({ ...report, startup: null }, (key, value: unknown) =>
    typeof value !== 'string' || fixed.has(key) ? value : `${HOSTILE}${(count += 1)}`,
  );
  const apps = (report.startup?.apps ?? []).map((app) => ({
    ...app,
    name: `${HOSTILE} ${app.name}`,
    about: HOSTILE,
    advice: app.advice.map(() => HOSTILE),
    ways: app.ways.map(withHostilePhase),
  }));
  return { ...(JSON.parse(text) as BenchReport), startup: { apps } };
}
