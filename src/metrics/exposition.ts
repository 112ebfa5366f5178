import { setImmediate as nextTurn } from 'node:timers/promises';
import type { NamedSeries, StartupHistograms } from './histograms.ts';
import type { Phase, StartKind } from './phases.ts';
import type { Quantiles } from './series.ts';
import { UNITS_PER_MICROSECOND } from './series.ts';

/** What was recorded of one route: only the kinds and phases that happened. */
type StartupOfRoute = Partial<Record<StartKind, Partial<Record<Phase, Quantiles>>>>;

function quantilesOf(series: Iterable<NamedSeries>): StartupOfRoute {
  const kinds: StartupOfRoute = {};
  for (const { kind, phase, series: recorded } of series) {
    const quantiles = recorded.quantiles();
    if (quantiles !== undefined) (kinds[kind] ??= {})[phase] = quantiles;
  }
  return kinds;
}

/**
 * The document of `GET /startup`, in pieces: `{unit, resolution, coarseSeries, routes: {id: {kind: {phase: quantiles}}},
 * all: {kind: {phase: quantiles}}}`. Ten thousand routes take a second to sum up, so after each route the thread gets a
 * turn for requests. The pieces are not one instant: routes written later may have more starts than `all`.
 *
 * @param routeIds the routes to show; `all` is always over every route.
 */
export async function* startupJson(histograms: StartupHistograms, routeIds: readonly string[]): AsyncGenerator<string> {
  const resolution = 1 / UNITS_PER_MICROSECOND;
  const { coarseSeries } = histograms;
  const all = JSON.stringify(quantilesOf(histograms.ofAll()));
  yield `{"unit":"microseconds","resolution":${resolution},"coarseSeries":${coarseSeries},"all":${all},"routes":{`;
  let separator = '';
  for (const routeId of routeIds) {
    yield `${separator}${JSON.stringify(routeId)}:${JSON.stringify(quantilesOf(histograms.ofRoute(routeId)))}`;
    separator = ',';
    await nextTurn();
  }
  yield '}}\n';
}

/** Routes that the summary shows; a terminal has 24 to 100 lines, and the whole is in `/startup` and the `.hlog` files. */
const SUMMARY_ROUTES = 20;

/** A route id is never cut to fewer characters than this, however narrow the terminal. */
const SUMMARY_ROUTE_MIN = 12;

const SUMMARY_HEAD = ['route', 'kind', 'phase', 'count', 'p50', 'p90', 'p99', 'p99.9', 'max'] as const;

/** Columns from here on are numbers, aligned to the right. */
const SUMMARY_FIRST_NUMBER = SUMMARY_HEAD.indexOf('count');

type SummaryRow = readonly string[];

function* summaryRows(label: string, series: Iterable<NamedSeries>): Generator<SummaryRow> {
  for (const { kind, phase, series: recorded } of series) {
    const quantiles = recorded.quantiles();
    if (quantiles === undefined) continue;
    const { count, p50, p90, p99, max } = quantiles;
    const micros = [p50, p90, p99, quantiles['p99.9'], max].map((value) => value.toFixed(1));
    yield [label, kind, phase, String(count), ...micros];
  }
}

function alignRows(rows: readonly SummaryRow[], columns: number): string[] {
  const widths = SUMMARY_HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const [routeWidth = 0, ...others] = widths;
  const room = columns - others.reduce((sum, width) => sum + 2 + width, 0);
  widths[0] = Math.min(routeWidth, Math.max(SUMMARY_ROUTE_MIN, room));
  return rows.map((row) => row.map((cell, column) => pad(cell, column, widths[column] ?? 0)).join('  '));
}

function pad(cell: string, column: number, width: number): string {
  if (column >= SUMMARY_FIRST_NUMBER) return cell.padStart(width);
  return cell.length > width ? `${cell.slice(0, width - 1)}…` : cell.padEnd(width);
}

/**
 * The table that `thaw serve --summary` prints at exit: the routes with the most starts, then all routes together, in
 * microseconds, one line for each route, kind and phase. Ends with a line feed.
 *
 * @param columns width of the terminal: route ids are cut to fit. Without one, nothing is cut.
 */
export function formatSummary(histograms: StartupHistograms, columns: number = Number.POSITIVE_INFINITY): string {
  const routes = histograms
    .routeIds()
    .map((id) => ({ id, starts: Object.values(histograms.startsOf(id)).reduce((sum, count) => sum + count, 0) }))
    .toSorted((a, b) => b.starts - a.starts);
  if (routes.length === 0) return 'no starts recorded\n';
  const rows: SummaryRow[] = [SUMMARY_HEAD];
  for (const { id } of routes.slice(0, SUMMARY_ROUTES)) rows.push(...summaryRows(id, histograms.ofRoute(id)));
  rows.push(...summaryRows('(all)', histograms.ofAll()));
  const lines = ['starts by route, kind and phase, in microseconds', ...alignRows(rows, columns)];
  const hidden = routes.length - SUMMARY_ROUTES;
  if (hidden > 0) lines.push(`${hidden} more routes are in (all)`);
  return `${lines.join('\n')}\n`;
}
