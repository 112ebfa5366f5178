/** What the page's script draws, and what stands there in HTML: caption, legend, and where the numbers are. */

import type { CurvePoint } from '../figures/figure.ts';
import type { DensityFigures, StepFigures } from '../figures/density.ts';
import type { ThroughputFigures } from '../figures/servers.ts';
import type { AppFigures } from '../figures/startup.ts';
import { WAY_WORDS } from '../words.ts';
import { html, type Html } from './html.ts';

type Series = {
  readonly label: string;
  /** A class of the style sheet. */
  readonly colour: string;
  /** SVG's and the canvas's pattern of dashes: lines must differ in more than their colour. */
  readonly dash: readonly number[];
  /** One value for each of the plot's `xs`, null where the series has no point. */
  readonly values: readonly (number | null)[];
};

export type Plot = {
  readonly id: string;
  readonly title: string;
  readonly x: { readonly label: string; readonly kind: 'percentile' | 'routes' };
  /** `time` in microseconds on a logarithmic axis, `bytes` on a linear one. */
  readonly y: { readonly label: string; readonly kind: 'time' | 'bytes' };
  readonly xs: readonly number[];
  readonly series: readonly Series[];
};

type Line = Omit<Series, 'values'> & { readonly points: readonly (readonly [x: number, y: number])[] };

/** Lines over the union of their x. */
function plot(about: Omit<Plot, 'xs' | 'series'>, lines: readonly Line[]): Plot {
  const xs = [...new Set(lines.flatMap(({ points }) => points.map(([x]) => x)))].toSorted((a, b) => a - b);
  const series = lines.map(({ points, ...line }) => {
    const values = new Map(points);
    return { ...line, values: xs.map((x) => values.get(x) ?? null) };
  });
  return { ...about, xs, series };
}

const SOLID: readonly number[] = [];
const DASHED: readonly number[] = [7, 4];
const DOTTED: readonly number[] = [2, 3];

const pointsOf = (curve: readonly CurvePoint[]): (readonly [number, number])[] =>
  // A time of 0 has no place on a logarithmic axis.
  curve.filter(({ value }) => value > 0).map(({ of, value }) => [of, value] as const);

const PERCENTILES = { label: 'percentile', kind: 'percentile' } as const;

export function startsPlot(app: AppFigures, id: string): Plot {
  const lines = app.ways.flatMap(({ way, distribution }) => {
    if (distribution === null) return [];
    const dash = way === 'mapped' || way === 'instantiate' ? DASHED : way === 'switch' ? DOTTED : SOLID;
    return [{ label: WAY_WORDS[way].name, colour: `way-${way}`, dash, points: pointsOf(distribution.curve) }];
  });
  const title = 'How often a start takes how long';
  return plot({ id, title, x: PERCENTILES, y: { label: 'time of a start', kind: 'time' } }, lines);
}

/** As many as the style sheet has, for servers. */
const COLOURS = 8;

export function serversPlot({ servers }: ThroughputFigures, id: string): Plot {
  const ran = servers.filter(({ open }) => open !== null);
  const lines = ran.flatMap(({ name, open, isFresh }, index) =>
    open === null
      ? []
      : [
          {
            label: isFresh ? name : `${name} (shares state)`,
            colour: `line-${index % COLOURS}`,
            dash: isFresh ? SOLID : DASHED,
            points: pointsOf(open.distribution.curve),
          },
        ],
  );
  const title = 'How often a request takes how long';
  return plot({ id, title, x: PERCENTILES, y: { label: 'latency', kind: 'time' } }, lines);
}

type StepValue = (step: StepFigures) => number | null;

export function densityPlots({ steps }: DensityFigures): readonly Plot[] {
  const ran = steps.filter(({ outcome }) => outcome.kind === 'ran');
  const line = (label: string, colour: string, dash: readonly number[], value: StepValue): Line => ({
    label,
    colour,
    dash,
    points: ran.flatMap((step) => {
      const y = value(step);
      return y === null ? [] : [[step.routes, y] as const];
    }),
  });
  const x = { label: 'routes', kind: 'routes' } as const;
  return [
    plot({ id: 'density-latency', title: 'Latency by number of routes', x, y: { label: 'latency', kind: 'time' } }, [
      line('random route, p99', 'way-initialise', DASHED, ({ random }) => random.p99?.median ?? null),
      line('random route, p50', 'way-initialise', SOLID, ({ random }) => random.p50?.median ?? null),
      line('hot route, p99', 'way-hot', DASHED, ({ hot }) => hot.p99?.median ?? null),
      line('hot route, p50', 'way-hot', SOLID, ({ hot }) => hot.p50?.median ?? null),
    ]),
    plot({ id: 'density-memory', title: 'Memory by number of routes', x, y: { label: 'memory', kind: 'bytes' } }, [
      line('all requested', 'way-switch', DASHED, ({ residentRequested }) => residentRequested),
      line('ready', 'way-switch', SOLID, ({ residentReady }) => residentReady),
    ]),
  ];
}

/** Where the script draws. Without a script or the plotting library the frame says where the numbers are. */
export function renderPlot({ id, title, series }: Plot, table: string): Html {
  if (series.every(({ values }) => values.length === 0)) return html``;
  return html`<figure class="plot" data-plot="${id}">
    <figcaption>
      <b>${title}</b>
      <output class="readout" aria-hidden="true"></output>
    </figcaption>
    <div class="canvas" role="img" aria-label="${title}. The table “${table}” has the numbers."></div>
    <p class="fallback">Plots need JavaScript and the package uplot. The table “${table}” has the numbers.</p>
    <ul class="legend">
      ${series.map(
        ({ label, colour, dash }) =>
          html`<li>
            <svg class="stroke ${colour}" viewBox="0 0 24 8" aria-hidden="true">
              <line x1="0" y1="4" x2="24" y2="4" stroke-dasharray="${dash.join(' ')}" />
            </svg>
            ${label} <span class="value"></span>
          </li>`,
      )}
    </ul>
  </figure>`;
}
