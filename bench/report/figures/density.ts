import { slopeOf } from '../../support/statistics.ts';
import type { DensityStep, DensitySuite, Outcome } from '../format.ts';
import { figureOf, medianOf, ratioOf, tailOf, type ByRound, type Figure, type Formula } from './figure.ts';

/** Latencies of one way of choosing routes, in microseconds. */
type Latencies = { readonly p50: Figure | null; readonly p99: Figure | null };

export type StepFigures = {
  readonly routes: number;
  readonly outcome: Outcome;
  readonly readyMs: number;
  readonly residentReady: number;
  readonly residentRequested: number;
  readonly diskBytesPerApp: number;
  readonly failed: number;
  readonly random: Latencies;
  readonly hot: Latencies;
  /** A random route : one that is hot. */
  readonly overHot: Figure | null;
};

export type DensityFigures = Pick<DensitySuite, 'slots' | 'about'> & {
  readonly steps: readonly StepFigures[];
  /** Resident bytes that one more route takes; null with fewer than two steps. */
  readonly bytesPerRoute: number | null;
};

type Rounds = DensityStep['random'];

export function densityFigures({ slots, about, steps }: DensitySuite): DensityFigures {
  const ran = steps.filter(({ outcome }) => outcome.kind === 'ran');
  const slope = slopeOf(ran.map(({ routes, residentBytes }) => [routes, residentBytes.ready] as const));
  return { slots, about, steps: steps.map(stepFigures), bytesPerRoute: Number.isNaN(slope) ? null : slope };
}

function stepFigures(step: DensityStep): StepFigures {
  const { routes, outcome, readyMs, residentBytes, diskBytesPerApp, failed } = step;
  const [random, hot] = outcome.kind === 'ran' ? [step.random, step.hot] : [[], []];
  return {
    routes,
    outcome,
    readyMs,
    residentReady: residentBytes.ready,
    residentRequested: residentBytes.allRequested,
    diskBytesPerApp,
    failed,
    random: latencies(random),
    hot: latencies(hot),
    overHot: ratioOf('densityRatio', perRound(random, medianOf), perRound(hot, medianOf)),
  };
}

const perRound = (rounds: Rounds, summary: (values: readonly number[]) => number): ByRound =>
  new Map(rounds.flatMap((values, round) => (values.length === 0 ? [] : [[round, summary(values)] as const])));

const latencies = (rounds: Rounds): Latencies => {
  const of = (formula: Formula, summary: (values: readonly number[]) => number): Figure | null =>
    figureOf(formula, [...perRound(rounds, summary).values()]);
  return { p50: of('densityMedian', medianOf), p99: of('densityTail', tailOf) };
};
