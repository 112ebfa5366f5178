import type { AppFigures, WayFigures } from '../figures/startup.ts';
import type { Way } from '../format.ts';
import { time } from '../numbers.ts';
import { phaseNames } from '../tables.ts';
import { AFTER, PHASE_NAMES, WAY_WORDS } from '../words.ts';
import { html, type Html } from './html.ts';

/** As many as the style sheet has. */
const COLOURS = 10;

/**
 * A phase has the same colour in all apps; those of another version take what is left. Names are from the report: a class
 * is made of a number, never of a name.
 */
function colourOf(name: string, names: readonly string[]): string {
  const known = PHASE_NAMES.indexOf(name);
  if (known !== -1) return `phase-${known}`;
  const others = names.filter((other) => !PHASE_NAMES.includes(other));
  return `phase-${PHASE_NAMES.length + (others.indexOf(name) % (COLOURS - PHASE_NAMES.length))}`;
}

/** Ways that are too short to be seen beside the others. */
const SHORT: ReadonlySet<Way> = new Set(['switch', 'hot']);

type Segment = { readonly name: string; readonly micros: number; readonly isAwaited: boolean };

/** The phases, and what is left of the whole: a gap between them, or nothing. */
function segmentsOf({ phases, time }: WayFigures): Segment[] {
  const segments = phases.map(({ name, time, isAwaited }) => ({ name, micros: time.median, isAwaited }));
  const awaited = segments.filter(({ isAwaited }) => isAwaited).reduce((sum, { micros }) => sum + micros, 0);
  const rest = (time?.median ?? 0) - awaited;
  const between = rest > 0 ? [{ name: BETWEEN, micros: rest, isAwaited: true }] : [];
  return [
    ...segments.filter(({ isAwaited }) => isAwaited),
    ...between,
    ...segments.filter(({ isAwaited }) => !isAwaited),
  ];
}

/** Between phases; and what medians of parts lack of the median of the whole. */
const BETWEEN = 'rest';

const lengthOf = (way: WayFigures): number => segmentsOf(way).reduce((sum, { micros }) => sum + micros, 0);

/** Stacked bars, and once more for the short ones, magnified. The table of phases beside them is their text. */
export function renderBars(app: AppFigures): Html {
  const ways = app.ways.filter(({ time }) => time !== null);
  const longest = Math.max(0, ...ways.map(lengthOf));
  const short = ways.filter(({ way }) => SHORT.has(way));
  const shortest = Math.max(0, ...short.map(lengthOf));
  if (longest === 0) return html``;
  const names = phaseNames(app);
  const factor = shortest === 0 ? 1 : longest / shortest;
  const magnified =
    factor < 2
      ? null
      : html`<p class="scale">The shortest again, magnified ${factor.toFixed(factor < 10 ? 1 : 0)} times</p>
          ${short.map((way) => bar(way, shortest, names))}`;
  return html`<figure class="bars">
    <div role="img" aria-label="Stacked bars of the phases of each way to start; the table of phases has the numbers.">
      <p class="scale">All ways, to one scale</p>
      ${ways.map((way) => bar(way, longest, names))} ${magnified}
    </div>
    <figcaption>${legend(names, ways.some(hasGap))}</figcaption>
  </figure>`;
}

type Names = ReturnType<typeof phaseNames>;

function bar(way: WayFigures, full: number, names: Names): Html {
  const all = names.map(({ name }) => name);
  const segment = ({ name, micros, isAwaited }: Segment): Html => {
    const colour = name === BETWEEN ? 'between' : colourOf(name, all);
    const after = isAwaited ? '' : `, ${AFTER}`;
    return html`<i
      class="${colour}${isAwaited ? '' : ' after'}"
      style="width:${((micros / full) * 100).toFixed(3)}%"
      title="${name}${after}: ${time(micros)}"
    ></i>`;
  };
  return html`<div class="bar">
    <span class="name">${WAY_WORDS[way.way].name}</span>
    <span class="stack">${segmentsOf(way).map(segment)}</span>
    <span class="total">${way.time === null ? null : time(way.time.median)}</span>
  </div>`;
}

/** Below this share of a start a gap between phases is not to be seen. */
const VISIBLE = 0.005;

const hasGap = (way: WayFigures): boolean =>
  segmentsOf(way).some(({ name, micros }) => name === BETWEEN && micros > VISIBLE * lengthOf(way));

const item = (style: string, text: string): Html => html`<li><i class="swatch ${style}"></i> ${text}</li>`;

function legend(names: Names, hasGaps: boolean): Html {
  const all = names.map(({ name }) => name);
  const phases = names.map(({ name, isAwaited }) =>
    isAwaited ? item(colourOf(name, all), name) : item(`${colourOf(name, all)} after`, `${name}, ${AFTER}`),
  );
  return html`<ul class="legend">
    ${phases} ${hasGaps ? item('between', BETWEEN) : null}
  </ul>`;
}
