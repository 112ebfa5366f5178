/**
 * Every number that a report's outputs show, computed from the raw rounds by the formulas of figures/figure.ts. Page,
 * Markdown and README take their numbers from here and from nowhere else.
 */

import { densityFigures, type DensityFigures } from './figures/density.ts';
import { throughputFigures, type ThroughputFigures } from './figures/servers.ts';
import { appFigures, type AppFigures, type WayFigures } from './figures/startup.ts';
import type { BenchReport, Way } from './format.ts';

export type ReportFigures = {
  /** The first is the one that the headline is about. */
  readonly apps: readonly AppFigures[];
  readonly throughput: ThroughputFigures | null;
  readonly density: DensityFigures | null;
};

export function figuresOf({ startup, throughput, density }: BenchReport): ReportFigures {
  return {
    apps: (startup?.apps ?? []).map(appFigures),
    throughput: throughput === null ? null : throughputFigures(throughput),
    density: density === null ? null : densityFigures(density),
  };
}

/** The ways that the headline answers for: the question of the report. */
export const HEADLINE_WAYS = ['initialise', 'wizer', 'switch', 'hot'] as const satisfies readonly Way[];

export type Headline = { readonly app: AppFigures; readonly ways: readonly WayFigures[] };

/** @returns null when the report has no startup suite */
export function headlineOf({ apps }: ReportFigures): Headline | null {
  const [app] = apps;
  if (app === undefined) return null;
  const ways = HEADLINE_WAYS.flatMap((name) => app.ways.find(({ way }) => way === name) ?? []);
  return { app, ways };
}
