import type { Outcome, ServerRun, ThroughputSuite } from '../format.ts';
import {
  byRound,
  distributionOf,
  figureOf,
  medianOf,
  ratioOf,
  tailOf,
  type ByRound,
  type Distribution,
  type Figure,
  type Formula,
} from './figure.ts';

export type ServerFigures = {
  readonly name: string;
  readonly version: string | null;
  readonly command: string;
  readonly outcome: Outcome;
  readonly shares: string;
  readonly isFresh: boolean;
  /** Milliseconds. */
  readonly firstAnswer: Figure | null;
  /** Null when there was no open-loop round. Latencies in microseconds. */
  readonly open: {
    readonly p50: Figure;
    readonly p99: Figure;
    /** This server : thaw, of the medians of rounds. */
    readonly overThaw: Figure | null;
    readonly distribution: Distribution;
    readonly sent: number;
    readonly dropped: number;
    readonly failed: number;
  } | null;
  readonly closed: {
    readonly tools: readonly string[];
    readonly perSecond: Figure;
    /** This server : thaw. */
    readonly overThaw: Figure | null;
    readonly p50: Figure;
    readonly p99: Figure;
    /** Microseconds of CPU time a request. */
    readonly cpu: Figure;
    readonly failed: number;
  } | null;
  readonly resident: Figure | null;
};

export type ThroughputFigures = Pick<ThroughputSuite, 'app' | 'pinning' | 'rate' | 'connections'> & {
  readonly servers: readonly ServerFigures[];
};

/** The server that the others are held against. */
const OURS = 'thaw';

export function throughputFigures(suite: ThroughputSuite): ThroughputFigures {
  const { app, pinning, rate, connections, servers } = suite;
  const ours = servers.find(({ name }) => name === OURS);
  return { app, pinning, rate, connections, servers: servers.map((server) => serverFigures(server, ours)) };
}

/** What a server that did not end well left behind is in the raw data, and in no figure. */
const settled = (server: ServerRun): ServerRun =>
  server.outcome.kind === 'ran' ? server : { ...server, firstAnswerMs: [], open: [], closed: [], residentBytes: [] };

function serverFigures(run: ServerRun, ours: ServerRun | undefined): ServerFigures {
  const server = settled(run);
  const thaw = ours === undefined ? undefined : settled(ours);
  return {
    name: run.name,
    version: run.version,
    command: run.command,
    outcome: run.outcome,
    shares: run.shares,
    isFresh: run.isFresh,
    firstAnswer: figureOf('processes', server.firstAnswerMs),
    open: openFigures(server, thaw),
    closed: closedFigures(server, thaw),
    resident: figureOf('processes', server.residentBytes),
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const openMedians = (server: ServerRun): ByRound => byRound(server.open, ({ latency }) => medianOf(latency));

const rates = (server: ServerRun): ByRound => byRound(server.closed, ({ perSecond }) => perSecond);

/** The thaw row has no quotient with itself. */
const overThaw = (
  values: (server: ServerRun) => ByRound,
  server: ServerRun,
  thaw: ServerRun | undefined,
): Figure | null =>
  thaw === undefined || thaw.name === server.name ? null : ratioOf('serverRatio', values(server), values(thaw));

function openFigures(server: ServerRun, thaw: ServerRun | undefined): ServerFigures['open'] {
  const distribution = distributionOf(server.open.flatMap(({ latency }) => latency));
  const p50 = figureOf('openMedian', [...openMedians(server).values()]);
  const p99 = figureOf('openTail', [...byRound(server.open, ({ latency }) => tailOf(latency)).values()]);
  if (distribution === null || p50 === null || p99 === null) return null;
  return {
    p50,
    p99,
    overThaw: overThaw(openMedians, server, thaw),
    distribution,
    sent: sum(server.open.map(({ sent }) => sent)),
    dropped: sum(server.open.map(({ dropped }) => dropped)),
    failed: sum(server.open.map(({ failed }) => failed)),
  };
}

function closedFigures(server: ServerRun, thaw: ServerRun | undefined): ServerFigures['closed'] {
  const of = (formula: Formula, value: (round: ServerRun['closed'][number]) => number): Figure | null =>
    figureOf(formula, server.closed.map(value));
  const perSecond = of('closed', (round) => round.perSecond);
  const p50 = of('closed', (round) => round.p50);
  const p99 = of('closed', (round) => round.p99);
  const cpu = of('closed', (round) => round.cpu);
  if (perSecond === null || p50 === null || p99 === null || cpu === null) return null;
  return {
    tools: [...new Set(server.closed.map(({ tool }) => tool))],
    perSecond,
    overThaw: overThaw(rates, server, thaw),
    p50,
    p99,
    cpu,
    failed: sum(server.closed.map(({ failed }) => failed)),
  };
}
