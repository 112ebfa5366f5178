/** How the numbers came to be, in words: what page and Markdown print below them. */

import { formulasFor } from './figures/figure.ts';
import type { ReportFigures } from './figures.ts';
import type { BenchReport, Way } from './format.ts';
import { dateTime, duration } from './numbers.ts';
import { phaseNames } from './tables.ts';
import { phaseAbout, WAY_WORDS } from './words.ts';

/** `about` may have `code` in backticks; all of it is thaw's own text, and nothing from the report. */
export type Explained = { readonly name: string; readonly about: string };

export type MethodPart = { readonly title: string; readonly words: readonly Explained[] };

/** The ways and phases that the report has, and the formulas of what it shows. */
export function methodOf(figures: ReportFigures): MethodPart[] {
  const { apps, throughput, density } = figures;
  const ways = [...new Set(apps.flatMap((app) => app.ways.map(({ way }) => way)))];
  const phases = [...new Set(apps.flatMap((app) => phaseNames(app).map(({ name }) => name)))];
  const formulas = formulasFor([
    ...(apps.length === 0 ? [] : (['startup'] as const)),
    ...(throughput === null ? [] : (['throughput'] as const)),
    ...(density === null ? [] : (['density'] as const)),
  ]);
  const parts: MethodPart[] = [
    { title: 'Ways to start', words: ways.map((way: Way) => WAY_WORDS[way]) },
    { title: 'Phases', words: phases.flatMap((name) => known(name, phaseAbout(name))) },
    { title: 'Formulas', words: formulas.map(({ name, how }) => ({ name, about: how })) },
  ];
  return parts.filter(({ words }) => words.length > 0);
}

const known = (name: string, about: string | undefined): Explained[] => (about === undefined ? [] : [{ name, about }]);

/** When, how and how long it was run. */
export function summaryOf({ begun, seconds, command, isQuick, thaw, machine }: BenchReport): string {
  const quick = isQuick ? ' It was a quick run: few rounds, wide quartiles.' : '';
  return `Made ${dateTime(begun)} by “${command}” of thaw ${thaw} in ${duration(seconds)}, on ${machine.cpu}, ${machine.cores} cores.${quick}`;
}
