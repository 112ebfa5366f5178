/** The tables of a report, from its figures. What stands in them is decided here; how they look, by who renders them. */

import { headlineOf, HEADLINE_WAYS, type Headline, type ReportFigures } from './figures.ts';
import type { DensityFigures } from './figures/density.ts';
import type { ServerFigures, ThroughputFigures } from './figures/servers.ts';
import type { AppFigures, WayFigures } from './figures/startup.ts';
import type { BenchReport, Outcome } from './format.ts';
import { bytes, counted, significant, toMillis } from './numbers.ts';
import {
  codeCell,
  figureCell,
  numberCell,
  numbers,
  textCell,
  words,
  type Cell,
  type Column,
  type Row,
  type Table,
} from './table.ts';
import { AFTER, FRESHNESS_WORDS, phaseRank, WAY_WORDS } from './words.ts';

const MILLI = 1e-3;

/** The cells, or why there are none. */
function rowOf(header: Cell, outcome: Outcome, cells: () => readonly Cell[]): Row {
  switch (outcome.kind) {
    case 'ran':
      return { header, body: cells() };
    case 'skipped':
      return { header, body: { kind: 'skipped', message: outcome.reason } };
    case 'failed':
      return { header, body: { kind: 'failed', message: outcome.message } };
  }
}

const wayRow = (figures: WayFigures, cells: () => readonly Cell[]): Row =>
  rowOf(textCell(WAY_WORDS[figures.way].name), figures.outcome, cells);

/** The answer to the report's question, in milliseconds. */
export function headlineTable({ app, ways }: Headline): Table {
  return {
    caption: `How long ${app.name} takes to start`,
    columns: [
      words('start'),
      numbers('time', 'ms'),
      numbers('no snapshot ÷ this'),
      numbers('Wizer ÷ this'),
      numbers('rounds'),
    ],
    rows: ways.map((way) =>
      wayRow(way, () => [
        figureCell(way.time, significant, MILLI),
        way.way === 'initialise' ? { kind: 'none' } : figureCell(way.gain),
        way.way === 'initialise' || way.way === 'wizer' ? { kind: 'none' } : figureCell(app.overWizer[way.way] ?? null),
        numberCell(way.rounds, counted),
      ]),
    ),
  };
}

/** Every app by the ways of the headline. */
export function appsTable(apps: readonly AppFigures[]): Table {
  return {
    caption: 'Time to start, app by app',
    columns: [
      words('app'),
      ...HEADLINE_WAYS.map((way) => numbers(WAY_WORDS[way].name, 'ms')),
      numbers('no snapshot ÷ thaw hot'),
    ],
    rows: apps.map((app) => {
      const cell = (name: (typeof HEADLINE_WAYS)[number]): Cell =>
        figureCell(app.ways.find(({ way }) => way === name)?.time ?? null, significant, MILLI);
      const gain = app.ways.find(({ way }) => way === 'hot')?.gain ?? null;
      return { header: textCell(app.name), body: [...HEADLINE_WAYS.map(cell), figureCell(gain)] };
    }),
  };
}

export const waysTable = ({ ways }: AppFigures): Table => ({
  caption: 'Every way to start it',
  columns: [
    words('start'),
    numbers('time', 'µs'),
    numbers('no snapshot ÷ this'),
    numbers('this ÷ thaw hot'),
    numbers('pages written'),
    numbers('page faults'),
  ],
  rows: ways.map((way) =>
    wayRow(way, () => [
      figureCell(way.time),
      way.way === 'initialise' ? { kind: 'none' } : figureCell(way.gain),
      way.way === 'hot' ? { kind: 'none' } : figureCell(way.overHot),
      numberCell(way.pagesWritten, counted),
      numberCell(way.pageFaults, counted),
    ]),
  ),
});

export const percentilesTable = ({ ways }: AppFigures): Table => ({
  caption: 'Percentiles of single starts, and how they were taken',
  columns: [
    words('start'),
    ...['p50', 'p90', 'p99', 'p99.9', 'max'].map((label) => numbers(label, 'µs')),
    numbers('starts'),
    numbers('rounds'),
    words('fresh'),
    numbers('warm-up starts'),
  ],
  rows: ways.map((way) =>
    wayRow(way, () => [
      ...percentileCells(way.distribution),
      numberCell(way.starts, counted),
      numberCell(way.rounds, counted),
      textCell(FRESHNESS_WORDS[way.freshness]),
      numberCell(way.warmUp, counted),
    ]),
  ),
});

const percentileCells = (distribution: WayFigures['distribution']): Cell[] => [
  numberCell(distribution?.p50 ?? null),
  numberCell(distribution?.p90 ?? null),
  numberCell(distribution?.p99 ?? null),
  numberCell(distribution?.p999 ?? null),
  numberCell(distribution?.max ?? null),
];

/** Names of phases in the order in which they happen, those that the request waits for first. */
export function phaseNames({ ways }: AppFigures): { readonly name: string; readonly isAwaited: boolean }[] {
  const all = ways.flatMap(({ phases }) => phases);
  const keys = new Map(all.map(({ name, isAwaited }) => [`${isAwaited} ${name}`, { name, isAwaited }]));
  return [...keys.values()].toSorted(
    (one, other) => Number(other.isAwaited) - Number(one.isAwaited) || phaseRank(one.name) - phaseRank(other.name),
  );
}

export function phasesTable(app: AppFigures): Table {
  const names = phaseNames(app);
  const column = ({ name, isAwaited }: (typeof names)[number]): Column =>
    numbers(isAwaited ? name : `${name}, ${AFTER}`, 'µs');
  return {
    caption: 'Where the time goes',
    columns: [words('start'), ...names.map(column)],
    rows: app.ways.map((way) =>
      wayRow(way, () =>
        names.map(({ name, isAwaited }) =>
          figureCell(way.phases.find((phase) => phase.name === name && phase.isAwaited === isAwaited)?.time ?? null),
        ),
      ),
    ),
  };
}

export const snapshotTable = ({ snapshot }: AppFigures): Table => ({
  caption: 'Its snapshot',
  columns: [words('part'), numbers('size')],
  rows: [
    { header: textCell('code, shared by apps of one engine'), body: [numberCell(snapshot.codeBytes, bytes)] },
    { header: textCell('memory image'), body: [numberCell(snapshot.imageBytes, bytes)] },
    { header: textCell("the app's own pages"), body: [numberCell(snapshot.deltaPages, counted)] },
    { header: textCell("the app's own layer"), body: [numberCell(snapshot.deltaBytes, bytes)] },
  ],
});

const serverRow = (server: ServerFigures, cells: () => readonly Cell[]): Row =>
  rowOf(textCell(server.name), server.outcome, cells);

/** Servers that give each request fresh state come first: they are the ones to compare. */
const inComparableOrder = (servers: readonly ServerFigures[]): readonly ServerFigures[] =>
  servers.toSorted((one, other) => Number(other.isFresh) - Number(one.isFresh));

/** For tables of details: why the others did not run stands in the first table of servers. */
const ranOf = (servers: readonly ServerFigures[]): readonly ServerFigures[] =>
  inComparableOrder(servers).filter(({ outcome }) => outcome.kind === 'ran');

export const peersTable = ({ app, rate, servers }: ThroughputFigures): Table => ({
  caption: `${app} on other servers`,
  columns: [
    words('server'),
    words('what a request sees of others'),
    numbers('first answer', 'ms'),
    numbers(`p50 at ${counted(rate)}/s`, 'µs'),
    numbers('requests/s'),
    numbers('memory'),
  ],
  rows: inComparableOrder(servers).map((server) =>
    serverRow(server, () => [
      textCell(server.shares),
      figureCell(server.firstAnswer),
      figureCell(server.open?.p50 ?? null),
      figureCell(server.closed?.perSecond ?? null),
      figureCell(server.resident, bytes),
    ]),
  ),
});

export const latencyTable = ({ rate, servers }: ThroughputFigures): Table => ({
  caption: `Latency at a fixed rate of ${counted(rate)} requests a second, one after the other`,
  columns: [
    words('server'),
    numbers('p50', 'µs'),
    numbers('p99', 'µs'),
    numbers('p99.9', 'µs'),
    numbers('max', 'µs'),
    numbers('p50 ÷ thaw'),
    numbers('sent'),
    numbers('dropped'),
    numbers('failed'),
  ],
  rows: ranOf(servers).map((server) =>
    serverRow(server, () => [
      figureCell(server.open?.p50 ?? null),
      figureCell(server.open?.p99 ?? null),
      numberCell(server.open?.distribution.p999 ?? null),
      numberCell(server.open?.distribution.max ?? null),
      figureCell(server.open?.overThaw ?? null),
      numberCell(server.open?.sent ?? null, counted),
      numberCell(server.open?.dropped ?? null, counted),
      numberCell(server.open?.failed ?? null, counted),
    ]),
  ),
});

export const throughputTable = ({ connections, servers }: ThroughputFigures): Table => ({
  caption: `As many requests as it takes, on ${counted(connections)} connections`,
  columns: [
    words('server'),
    numbers('requests/s'),
    numbers('÷ thaw'),
    numbers('p50', 'µs'),
    numbers('p99', 'µs'),
    numbers('CPU a request', 'µs'),
    numbers('failed'),
    words('load generator'),
  ],
  rows: ranOf(servers).map((server) =>
    serverRow(server, () => [
      figureCell(server.closed?.perSecond ?? null),
      figureCell(server.closed?.overThaw ?? null),
      figureCell(server.closed?.p50 ?? null),
      figureCell(server.closed?.p99 ?? null),
      figureCell(server.closed?.cpu ?? null),
      numberCell(server.closed?.failed ?? null, counted),
      server.closed === null ? { kind: 'none' } : textCell(server.closed.tools.join(', ')),
    ]),
  ),
});

/** What was run, or was to run: for all servers. */
export const commandsTable = ({ servers }: ThroughputFigures): Table => ({
  caption: 'Versions, commands, and what requests share',
  columns: [words('server'), words('version'), words('command'), words('what a request sees of others')],
  rows: inComparableOrder(servers).map(({ name, version, command, shares }) => ({
    header: textCell(name),
    body: [version === null ? { kind: 'none' } : textCell(version), codeCell(command), textCell(shares)],
  })),
});

export const densityTable = ({ steps }: DensityFigures): Table => ({
  caption: 'Many routes on one node',
  columns: [
    numbers('routes'),
    numbers('ready', 'ms'),
    numbers('memory, ready'),
    numbers('memory, all requested'),
    numbers('random route, p50', 'µs'),
    numbers('random route, p99', 'µs'),
    numbers('hot route, p50', 'µs'),
    numbers('hot route, p99', 'µs'),
    numbers('random ÷ hot'),
    numbers('disk an app'),
    numbers('failed'),
  ],
  rows: steps.map((step) =>
    rowOf(numberCell(step.routes, counted), step.outcome, () => [
      numberCell(step.readyMs),
      numberCell(step.residentReady, bytes),
      numberCell(step.residentRequested, bytes),
      figureCell(step.random.p50),
      figureCell(step.random.p99),
      figureCell(step.hot.p50),
      figureCell(step.hot.p99),
      figureCell(step.overHot),
      numberCell(step.diskBytesPerApp, bytes),
      numberCell(step.failed, counted),
    ]),
  ),
});

const loads = (values: readonly number[]): string => values.map((value) => value.toFixed(2)).join(', ');

export function machineTable({ machine, thaw, load }: BenchReport): Table {
  const { cpu, cores, memoryBytes, kernel, architecture, node, v8, commit, packages, restoreTier, pageBytes } = machine;
  const facts: readonly (readonly [string, string])[] = [
    ['processor', `${cpu}, ${counted(cores)} cores, ${architecture}`],
    ['memory', bytes(memoryBytes)],
    ['kernel', `${kernel}, pages of ${bytes(pageBytes)}`],
    ['thaw', `${thaw}, commit ${commit}, restore tier ${restoreTier}`],
    ['Node', `${node}, V8 ${v8}`],
    ...Object.entries(packages),
    ['load average before', loads(load.before)],
    ['load average after', loads(load.after)],
  ];
  return {
    caption: 'The machine and the versions',
    columns: [words('what'), words('value')],
    rows: facts.map(([name, value]) => ({ header: textCell(name), body: [textCell(value)] })),
  };
}

/** `hello takes 12.3 ms … 131 times as fast`: null when there is nothing to say it of. */
export function verdictOf(figures: ReportFigures): string | null {
  const headline = headlineOf(figures);
  if (headline === null) return null;
  const find = (name: WayFigures['way']): WayFigures | undefined => headline.ways.find(({ way }) => way === name);
  const parts = [
    ['initialise', 'without a snapshot'],
    ['wizer', 'with Wizer'],
    ['switch', 'with thaw by a switch'],
    ['hot', 'with thaw when a clean slot waits'],
  ] as const;
  const times = parts.flatMap(([way, how]) => {
    const time = find(way)?.time ?? null;
    return time === null ? [] : [`${significant(toMillis(time.median))} ms ${how}`];
  });
  const gain = find('hot')?.gain ?? null;
  const ending =
    gain === null
      ? ''
      : `; thaw hot is ${significant(gain.median)} times as fast as no snapshot (quartiles ${significant(gain.q1)} to ${significant(gain.q3)})`;
  return times.length === 0 ? null : `${headline.app.name} starts in ${times.join(', ')}${ending}.`;
}
