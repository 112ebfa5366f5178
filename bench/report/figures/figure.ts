/** What every number in a report's outputs is: a value, and the formula by which it came from the raw rounds. */

import { quantile, spreadOf, type Spread } from '../../support/statistics.ts';

type Suite = 'startup' | 'throughput' | 'density';

/** `name` is what the columns of tables are called, `how` is printed with it; fields are called as in report.json. */
type FormulaText = { readonly name: string; readonly suites: readonly Suite[]; readonly how: string };

const ALL: readonly Suite[] = ['startup', 'throughput', 'density'];

/** The formulas, in the words in which they are printed. Nothing is shown that was computed in another way. */
export const FORMULAS = {
  start: {
    name: 'time of a start',
    suites: ['startup'],
    how: 'For each round the median of its `total`, in microseconds until the response head. Shown are median and quartiles of these medians over the rounds.',
  },
  startRatio: {
    name: 'quotients of starts',
    suites: ['startup'],
    how: 'For each round that both ways ran in, the median of `total` of the one divided by that of the other. Shown are median and quartiles of these quotients: what disturbs a round disturbs both sides of its quotient.',
  },
  phase: {
    name: 'time of a phase',
    suites: ['startup'],
    how: 'As the time of a start, from `phase[name]` in place of `total`. Phases listed after `guest` come after the response, and are in no `total`. Medians of parts need not add up to the median of the whole.',
  },
  processes: {
    name: 'first answer, memory of a server',
    suites: ['throughput'],
    how: 'One value for each process that was started, `firstAnswerMs` and `residentBytes`. Shown are median and quartiles over the processes.',
  },
  openMedian: {
    name: 'p50 at a fixed rate',
    suites: ['throughput'],
    how: 'For each open-loop round the median of its `latency`. Shown are median and quartiles over the rounds.',
  },
  openTail: {
    name: 'p99 at a fixed rate',
    suites: ['throughput'],
    how: 'For each open-loop round the 99th percentile of its `latency`. Shown are median and quartiles over the rounds.',
  },
  closed: {
    name: 'requests/s, and p50, p99 and CPU beside it',
    suites: ['throughput'],
    how: 'One value for each closed-loop round, as the load generator gave it. Shown are median and quartiles over the rounds.',
  },
  serverRatio: {
    name: '÷ thaw',
    suites: ['throughput'],
    how: 'The value of the server divided by that of thaw, round by round. Shown are median and quartiles of the quotients.',
  },
  densityMedian: {
    name: 'p50 of random and hot routes',
    suites: ['density'],
    how: 'For each round the median of its latencies. Shown are median and quartiles over the rounds.',
  },
  densityTail: {
    name: 'p99 of random and hot routes',
    suites: ['density'],
    how: 'For each round the 99th percentile of its latencies. Shown are median and quartiles over the rounds.',
  },
  densityRatio: {
    name: 'random ÷ hot',
    suites: ['density'],
    how: 'For each round the median latency of random routes divided by that of one hot route. Shown are median and quartiles of the quotients.',
  },
  slope: {
    name: 'memory of one more route',
    suites: ['density'],
    how: 'The slope of the straight line through the steps (`routes`, `residentBytes.ready`) that fits best by least squares.',
  },
  percentile: {
    name: 'percentiles and maxima of single events',
    suites: ['startup', 'throughput'],
    how: 'All values (`total` of starts, `latency` of requests) of all rounds together, sorted. Percentile p stands at position p × (count − 1), by linear interpolation between two values. It is shown from 1/(1 − p) values on: p99.9 needs 1,000. The maximum is the greatest value.',
  },
  quartiles: {
    name: 'medians and quartiles',
    suites: ALL,
    how: 'Quantile q of n sorted values stands at position q × (n − 1), by linear interpolation between two values (type 7 of Hyndman and Fan).',
  },
  plain: {
    name: 'everything else',
    suites: ALL,
    how: 'As it stands in report.json; `sent`, `dropped` and `failed` are added up over the rounds.',
  },
} as const satisfies Record<string, FormulaText>;

export type Formula = keyof typeof FORMULAS;

/** A spread that knows where it came from. `count` is the number of rounds or processes in it. */
export type Figure = Spread & { readonly formula: Formula };

/** Median and quartiles. @returns null when there is nothing to sum up */
export function figureOf(formula: Formula, values: readonly number[]): Figure | null {
  return values.length === 0 ? null : { ...spreadOf(values), formula };
}

const ascending = (values: Iterable<number>): Float64Array => Float64Array.from(values).toSorted();

/** NaN without values. */
export const medianOf = (values: Iterable<number>): number => quantile(ascending(values), 0.5);

/** Only for values of a single round: see `Formula.openTail`. NaN without values. */
export const tailOf = (values: Iterable<number>): number => quantile(ascending(values), 0.99);

/** One value for each round, by the round's number: rounds in which there was nothing to measure are left out. */
export type ByRound = ReadonlyMap<number, number>;

export function byRound<R extends { readonly round: number }>(
  rounds: readonly R[],
  value: (round: R) => number,
): ByRound {
  const pairs = rounds.map((round) => [round.round, value(round)] as const);
  return new Map(pairs.filter(([, number]) => Number.isFinite(number)));
}

/** The quotients of the rounds that both sides have. @returns null when they have none in common */
export function ratioOf(formula: Formula, above: ByRound, below: ByRound): Figure | null {
  const quotients = [...above].flatMap(([round, value]) => {
    const divisor = below.get(round);
    return divisor === undefined || divisor === 0 ? [] : [value / divisor];
  });
  return figureOf(formula, quotients);
}

/** One point of a percentile curve: `of` is 1/(1-p), so that each factor of ten is one more nine. */
export type CurvePoint = { readonly of: number; readonly value: number };

/** How often, at worst, values were as large: over all values of all rounds. */
export type Distribution = {
  readonly count: number;
  readonly p50: number;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
  readonly max: number;
  /** Ascending in both; to p99.9 or as far as the values carry, then the maximum at `of: count`. */
  readonly curve: readonly CurvePoint[];
};

/** Points in a factor of ten: neighbours are some 12 % apart in 1/(1-p), closer than a line on a screen is wide. */
const POINTS_PER_DECADE = 20;

/** Where percentiles end and the maximum follows: p99.9. */
const LAST = 1000;

/** @returns null without values */
export function distributionOf(values: Iterable<number>): Distribution | null {
  const sorted = ascending(values);
  const count = sorted.length;
  const max = sorted.at(-1);
  if (max === undefined) return null;
  // 1 - 1/of and not a rounded p: at 10, 100 and 1,000 it must hit p90, p99 and p99.9.
  const at = (of: number): number => quantile(sorted, 1 - 1 / of);
  const percentile = (of: number): number | null => (count < of ? null : at(of));
  const steps = Math.floor(Math.log10(Math.min(LAST, count)) * POINTS_PER_DECADE + 1e-9);
  const curve = Array.from({ length: steps + 1 }, (_, step) => {
    const of = 10 ** (step / POINTS_PER_DECADE);
    return { of, value: at(of) };
  });
  return {
    count,
    p50: at(2),
    p90: percentile(10),
    p99: percentile(100),
    p999: percentile(LAST),
    max,
    curve: [...curve.filter(({ of }) => of < count), { of: count, value: max }],
  };
}

/** The formulas behind what a report shows, for its method section. */
export const formulasFor = (suites: readonly Suite[]): readonly FormulaText[] =>
  Object.values<FormulaText>(FORMULAS).filter((formula) => formula.suites.some((suite) => suites.includes(suite)));
