import { Float64Histogram, Int16Histogram, Int32Histogram, Int8Histogram } from 'hdr-histogram-js';
import { invariant } from '../errors.ts';

/**
 * Durations are recorded as integers of a tenth of a microsecond: with 3 digits, all up to 204.7 µs are exact, which is
 * where hot starts are; 2 minutes are 2^30.2 of them. Nanoseconds would cost twice the memory for digits that the clock
 * (steps of 50 ns and more) does not have.
 */
export const UNITS_PER_MICROSECOND = 10;

/**
 * Values that a series keeps as they are before it becomes a histogram. Of ten thousand routes most are called seldom:
 * 64 numbers are at most 0.7 KB, an HDR histogram of 3 digits 6 KB and more.
 */
export const RAW_LIMIT = 64;

/**
 * Histograms by the size of a cell, and the most that one holds: beyond, it would wrap to 0 without an error. Few routes
 * are called so often that they need more than a byte. JavaScript histograms are the cheapest per recording (55 ns; packed
 * 330, WebAssembly 40 to 60 and a Memory of its own, of which a small machine has only 63).
 */
const KINDS = [
  { Histogram: Int8Histogram, most: 2 ** 8 - 1 },
  { Histogram: Int16Histogram, most: 2 ** 16 - 1 },
  { Histogram: Int32Histogram, most: 2 ** 32 - 1 },
  { Histogram: Float64Histogram, most: Number.MAX_SAFE_INTEGER },
] as const;

type CountsHistogram = InstanceType<(typeof KINDS)[number]['Histogram']>;

/**
 * Significant decimal digits of a histogram: 3 is 0.1 %, 2 is 0.8 %, 1 is 6 %, with 1024, 128 and 16 cells for each
 * power of two.
 */
export type Digits = 1 | 2 | 3;

/** What `/startup` says of one series. Microseconds. */
export type Quantiles = {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly 'p99.9': number;
  readonly max: number;
};

/** Calls back with each value that occurs and how often, in ascending order; the last value is the exact maximum. */
function forEachCell(histogram: CountsHistogram, each: (units: number, count: number) => void): void {
  let left = histogram.totalCount;
  for (let index = 0; left > 0 && index < histogram.countsArrayLength; index++) {
    const count = histogram.getCountAtIndex(index);
    if (count === 0) continue;
    left -= count;
    each(Math.min(histogram.highestEquivalentValue(histogram.valueFromIndex(index)), histogram.maxValue), count);
  }
}

/**
 * As `recordValueWithCount`. In a histogram's first bucket a cell's index is its value; the library takes two powers and a
 * logarithm to find that out, which is half the time of a recording. With 3 digits it holds most phases of a hot start.
 */
function recordIn(histogram: CountsHistogram, units: number, count: number): void {
  if (count !== 1 || units >= histogram.subBucketCount) {
    histogram.recordValueWithCount(units, count);
    return;
  }
  histogram.incrementCountAtIndex(units);
  histogram.updateMinAndMax(units);
  histogram.incrementTotalCount();
}

/**
 * The durations of one route, start kind and phase. It holds the values themselves until there are more than
 * `RAW_LIMIT`, then an HDR histogram that grows with the largest value. Never reset.
 */
export class Series {
  readonly #digits: () => Digits;
  #store: number[] | CountsHistogram = [];
  /** So many recordings fit into the histogram, whatever their values. */
  #most = 0;

  /** `digits` is asked once, when the series becomes a histogram. */
  constructor(digits: () => Digits) {
    this.#digits = digits;
  }

  get count(): number {
    return Array.isArray(this.#store) ? this.#store.length : this.#store.totalCount;
  }

  /** Records one duration. Below 0 (a clock that stepped back) counts as 0. */
  record(micros: number): void {
    this.recordUnits(Math.max(0, Math.round(micros * UNITS_PER_MICROSECOND)), 1);
  }

  /** Records `count` durations of `units` tenths of a microsecond, an integer of at least 0. */
  recordUnits(units: number, count: number): void {
    const store = this.#store;
    if (!Array.isArray(store)) {
      recordIn(this.#roomy(store, count), units, count);
    } else if (store.length + count <= RAW_LIMIT) {
      for (let i = 0; i < count; i++) store.push(units);
    } else {
      this.#toHistogram(store, count).recordValueWithCount(units, count);
    }
  }

  /** The count, four percentiles and the exact maximum, in microseconds. Undefined when nothing was recorded. */
  quantiles(): Quantiles | undefined {
    if (this.count === 0) return undefined;
    const store = this.#store;
    const [at, max] = Array.isArray(store) ? rawRanks(store) : histogramRanks(store);
    return {
      count: this.count,
      p50: at(500) / UNITS_PER_MICROSECOND,
      p90: at(900) / UNITS_PER_MICROSECOND,
      p99: at(990) / UNITS_PER_MICROSECOND,
      'p99.9': at(999) / UNITS_PER_MICROSECOND,
      max: max / UNITS_PER_MICROSECOND,
    };
  }

  /** Calls back with each value (tenths of a microsecond) that occurs and how often. Enough to make an equal series. */
  forEachValue(each: (units: number, count: number) => void): void {
    if (Array.isArray(this.#store)) for (const units of this.#store) each(units, 1);
    else forEachCell(this.#store, each);
  }

  /** The histogram, with room for `more` recordings in any one cell. */
  #roomy(histogram: CountsHistogram, more: number): CountsHistogram {
    const total = histogram.totalCount + more;
    if (total <= this.#most) return histogram;
    const roomy = this.#newHistogram(total, histogram.numberOfSignificantValueDigits);
    forEachCell(histogram, (units, count) => roomy.recordValueWithCount(units, count));
    return roomy;
  }

  #toHistogram(values: readonly number[], more: number): CountsHistogram {
    const histogram = this.#newHistogram(values.length + more, this.#digits());
    for (const units of values) histogram.recordValue(units);
    return histogram;
  }

  /** An empty one with room for `total` recordings, which is the series' store from now on. */
  #newHistogram(total: number, digits: number): CountsHistogram {
    const kind = KINDS.find(({ most }) => total <= most);
    invariant(kind !== undefined, 'a series counts up to 2^53');
    const histogram = new kind.Histogram(1, 2, digits);
    histogram.autoResize = true;
    this.#most = kind.most;
    this.#store = histogram;
    return histogram;
  }
}

/** The value at a rank given in thousandths, and the maximum. */
type Ranks = readonly [at: (perMille: number) => number, max: number];

/** The value at a rank is the smallest one that at least so many thousandths of all values do not exceed, as in HDR. */
function rawRanks(values: readonly number[]): Ranks {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (perMille: number): number => sorted[Math.ceil((sorted.length * perMille) / 1000) - 1] ?? 0;
  return [at, sorted.at(-1) ?? 0];
}

/** A percentile is the upper end of its cell, which can lie above the largest value recorded: the maximum caps it. */
function histogramRanks(histogram: CountsHistogram): Ranks {
  const max = histogram.maxValue;
  return [(perMille) => Math.min(histogram.getValueAtPercentile(perMille / 10), max), max];
}
