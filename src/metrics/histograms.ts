import type { Phase, StartKind, StartTimer } from './phases.ts';
import { PHASE_NAMES, START_KIND_NAMES } from './phases.ts';
import type { Digits } from './series.ts';
import { Series } from './series.ts';

/**
 * Route series that become histograms of 3 digits: the five phases of a hot start of 25 routes. With cells of a byte or
 * two (see series.ts), 300 starts each take 1.6 MB.
 */
export const FINE_ROUTE_SERIES = 128;

/**
 * Those after them get 2 digits and an eighth of the cells: 400 routes of 300 starts take 6.7 MB. The rest get 1 digit;
 * `all` always has 3.
 */
export const MEDIUM_ROUTE_SERIES = 2048;

const PHASE_COUNT = PHASE_NAMES.length;

/** The series of one route, or of all: a place for each start kind and phase, filled when it first happens. */
type Cells = (Series | undefined)[];

/** One series with its place. */
export type NamedSeries = { readonly kind: StartKind; readonly phase: Phase; readonly series: Series };

/** One series as it travels between threads: value (tenths of a microsecond) and count, in turn. */
type SeriesRecording = { readonly kind: StartKind; readonly phase: Phase; readonly counts: Float64Array };

/** Everything recorded by one thread, fit for structured clone. */
type StartupRecording = {
  readonly startedAtMs: number;
  readonly all: readonly SeriesRecording[];
  readonly routes: readonly (readonly [routeId: string, series: readonly SeriesRecording[]])[];
};

const cellIndex = (kind: StartKind, phase: Phase): number =>
  START_KIND_NAMES.indexOf(kind) * PHASE_COUNT + PHASE_NAMES.indexOf(phase);

function* named(cells: Cells): Generator<NamedSeries> {
  for (const kind of START_KIND_NAMES) {
    for (const phase of PHASE_NAMES) {
      const series = cells[cellIndex(kind, phase)];
      if (series !== undefined) yield { kind, phase, series };
    }
  }
}

function toRecording(cells: Cells): SeriesRecording[] {
  return Array.from(named(cells), ({ kind, phase, series }) => {
    const counts: number[] = [];
    series.forEachValue((units, count) => counts.push(units, count));
    return { kind, phase, counts: Float64Array.from(counts) };
  });
}

/**
 * Every start of the node by route, start kind and phase, and the same over all routes. Nothing is ever reset: readers
 * that want intervals subtract. `all` is recorded beside the routes, not summed on demand, so that it is exact to 3
 * digits and free to read, however many routes there are.
 *
 * Memory: a series has up to 64 raw values (0.2 to 0.7 KB) and then a histogram (see `FINE_ROUTE_SERIES`). Ten thousand
 * routes with the five phases of a hot start take 46 MB at 64 starts each, and 83 MB at 300. Time: the
 * five phases of a start, in route and all, are recorded in 1 µs.
 */
export class StartupHistograms {
  readonly #all: Cells = [];
  readonly #routes = new Map<string, Cells>();
  #startedAtMs: number;
  /** How many route series have become histograms. */
  #routeHistograms = 0;

  /** `startedAtMs` is the time of the first recording at the earliest, in milliseconds since the epoch. */
  constructor(startedAtMs: number = Date.now()) {
    this.#startedAtMs = startedAtMs;
  }

  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  /** Route series that have 1 digit. */
  get coarseSeries(): number {
    return Math.max(0, this.#routeHistograms - FINE_ROUTE_SERIES - MEDIUM_ROUTE_SERIES);
  }

  /** Records the phases of one start that happened. */
  record(routeId: string, kind: StartKind, timer: Pick<StartTimer, 'microsAt'>): void {
    const route = this.#cellsOf(routeId);
    const first = START_KIND_NAMES.indexOf(kind) * PHASE_COUNT;
    for (let phase = 0; phase < PHASE_COUNT; phase++) {
      const micros = timer.microsAt(phase);
      if (Number.isNaN(micros)) continue;
      this.#seriesOf(route, first + phase).record(micros);
      this.#seriesOf(this.#all, first + phase).record(micros);
    }
  }

  /** Records one phase that is measured apart from the others of its start. */
  recordPhase(routeId: string, kind: StartKind, phase: Phase, micros: number): void {
    const index = cellIndex(kind, phase);
    this.#seriesOf(this.#cellsOf(routeId), index).record(micros);
    this.#seriesOf(this.#all, index).record(micros);
  }

  /** The ids of the routes with at least one start, in the order of their first. */
  routeIds(): string[] {
    return [...this.#routes.keys()];
  }

  /** The series of a route that have values, by kind and phase; none for a route without a start. */
  ofRoute(routeId: string): Iterable<NamedSeries> {
    return named(this.#routes.get(routeId) ?? []);
  }

  /** The series over all routes. */
  ofAll(): Iterable<NamedSeries> {
    return named(this.#all);
  }

  /** How often a route started in each way. */
  startsOf(routeId: string): Record<StartKind, number> {
    const starts: Record<StartKind, number> = { hot: 0, switch: 0, instantiate: 0, load: 0 };
    const cells = this.#routes.get(routeId) ?? [];
    for (const kind of START_KIND_NAMES) starts[kind] = cells[cellIndex(kind, 'total')]?.count ?? 0;
    return starts;
  }

  /** A copy of everything, to be posted to another thread and merged there. */
  toRecording(): StartupRecording {
    return {
      startedAtMs: this.#startedAtMs,
      all: toRecording(this.#all),
      routes: Array.from(this.#routes, ([routeId, cells]) => [routeId, toRecording(cells)] as const),
    };
  }

  /** Adds what another thread recorded. Merging all threads equals recording everything in one. */
  merge(recording: StartupRecording): void {
    this.#startedAtMs = Math.min(this.#startedAtMs, recording.startedAtMs);
    this.#add(this.#all, recording.all);
    for (const [routeId, series] of recording.routes) this.#add(this.#cellsOf(routeId), series);
  }

  #add(cells: Cells, recorded: readonly SeriesRecording[]): void {
    for (const { kind, phase, counts } of recorded) {
      const series = this.#seriesOf(cells, cellIndex(kind, phase));
      for (let i = 0; i + 1 < counts.length; i += 2) series.recordUnits(counts[i] ?? 0, counts[i + 1] ?? 0);
    }
  }

  #cellsOf(routeId: string): Cells {
    let cells = this.#routes.get(routeId);
    if (cells === undefined) {
      cells = [];
      this.#routes.set(routeId, cells);
    }
    return cells;
  }

  #seriesOf(cells: Cells, index: number): Series {
    let series = cells[index];
    if (series === undefined) {
      series = new Series(cells === this.#all ? () => 3 : () => this.#grantDigits());
      cells[index] = series;
    }
    return series;
  }

  #grantDigits(): Digits {
    const rank = this.#routeHistograms++;
    if (rank < FINE_ROUTE_SERIES) return 3;
    return rank < FINE_ROUTE_SERIES + MEDIUM_ROUTE_SERIES ? 2 : 1;
  }
}
