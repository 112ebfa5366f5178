import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import type { Digits } from '../../src/metrics/series.ts';
import { RAW_LIMIT, Series } from '../../src/metrics/series.ts';

const TWO_MINUTES_MICROS = 120_000_000;

function seriesOf(micros: readonly number[], digits: Digits = 3): Series {
  const series = new Series(() => digits);
  for (const value of micros) series.record(value);
  return series;
}

/** Sorts and counts: the smallest value that `perMille` thousandths of all do not exceed. */
function naivePercentile(micros: readonly number[], perMille: number): number {
  const sorted = micros.toSorted((a, b) => a - b);
  const found = sorted.find((_, index) => (index + 1) * 1000 >= sorted.length * perMille);
  assert.ok(found !== undefined);
  return found;
}

/** Durations as they come: tenths of a microsecond up to two minutes, the small ones often. */
const duration = fc
  .oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: 0, max: 1.2e9 }))
  .map((tenths) => tenths / 10);

function assertClose(series: Series, micros: readonly number[], tolerance: number): void {
  const quantiles = series.quantiles();
  assert.ok(quantiles !== undefined);
  assert.equal(quantiles.count, micros.length);
  assert.equal(quantiles.max, Math.max(...micros));
  for (const [name, perMille] of [
    ['p50', 500],
    ['p90', 900],
    ['p99', 990],
    ['p99.9', 999],
  ] as const) {
    const naive = naivePercentile(micros, perMille);
    const error = Math.abs(quantiles[name] - naive);
    assert.ok(error <= naive * tolerance, `${name} is ${quantiles[name]}, counted ${naive}`);
    assert.ok(quantiles[name] <= quantiles.max);
  }
}

suite('Series', () => {
  test('is exact while it holds raw values', () => {
    fc.assert(
      fc.property(fc.array(duration, { minLength: 1, maxLength: RAW_LIMIT, size: 'max' }), (micros) => {
        assertClose(seriesOf(micros), micros, 0);
      }),
    );
  });

  test('is right to 3 digits once it is a histogram', () => {
    fc.assert(
      fc.property(fc.array(duration, { minLength: RAW_LIMIT + 1, maxLength: 1500, size: 'max' }), (micros) => {
        assertClose(seriesOf(micros), micros, 0.001);
      }),
      { numRuns: 60 },
    );
  });

  for (const [digits, tolerance] of [
    [1, 1 / 16],
    [2, 1 / 128],
  ] as const) {
    test(`is right to ${digits} digits when it was given so many`, () => {
      fc.assert(
        fc.property(fc.array(duration, { minLength: RAW_LIMIT + 1, maxLength: 500, size: 'max' }), (micros) => {
          assertClose(seriesOf(micros, digits), micros, tolerance);
        }),
        { numRuns: 60 },
      );
    });
  }

  test('is exact to the tenth of a microsecond up to 204.7 µs, as a histogram too', () => {
    for (const micros of [0, 0.1, 1, 2, 3.7, 99.9, 204.7]) {
      const quantiles = seriesOf(Array.from({ length: RAW_LIMIT + 1 }, () => micros)).quantiles();
      assert.deepEqual(quantiles, { count: 65, p50: micros, p90: micros, p99: micros, 'p99.9': micros, max: micros });
    }
  });

  test('holds two minutes beside one microsecond', () => {
    const quantiles = seriesOf([...Array.from({ length: 99 }, () => 1), TWO_MINUTES_MICROS]).quantiles();
    assert.equal(quantiles?.p99, 1);
    assert.equal(quantiles?.['p99.9'], TWO_MINUTES_MICROS);
    assert.equal(quantiles?.max, TWO_MINUTES_MICROS);
  });

  test('has no quantiles before the first recording', () => {
    assert.equal(seriesOf([]).quantiles(), undefined);
  });

  test('counts a negative duration as 0', () => {
    assert.equal(seriesOf([-3]).quantiles()?.max, 0);
  });

  for (const bits of [8, 16, 32]) {
    test(`goes on counting past what ${bits} bits hold`, () => {
      const most = 2 ** bits - 1;
      const series = seriesOf([]);
      series.recordUnits(10, most - 1);
      series.recordUnits(990, 1);
      series.recordUnits(10, 5);
      assert.equal(series.quantiles()?.count, most + 5);
      assert.equal(series.quantiles()?.p99, 1);
      assert.equal(series.quantiles()?.max, 99);
      const atOnce = seriesOf([]);
      atOnce.recordUnits(10, 2 * most);
      assert.equal(atOnce.quantiles()?.p50, 1);
    });
  }

  test('loses nothing while its cells grow, one start after the other', () => {
    const [starts, micros] = [70_000, 12.3];
    const series = seriesOf([99_000]);
    for (let start = 1; start < starts; start++) series.record(micros);
    const counts: number[] = [];
    series.forEachValue((_, count) => counts.push(count));
    assert.deepEqual(counts, [starts - 1, 1]);
    const quantiles = { count: starts, p50: micros, p90: micros, p99: micros, 'p99.9': micros, max: 99_000 };
    assert.deepEqual(series.quantiles(), quantiles);
  });

  test('forEachValue() gives what makes an equal series', () => {
    fc.assert(
      fc.property(
        fc.array(duration, { maxLength: 300, size: 'max' }),
        fc.constantFrom<Digits>(1, 2, 3),
        (micros, digits) => {
          const series = seriesOf(micros, digits);
          const copy = new Series(() => digits);
          series.forEachValue((units, count) => copy.recordUnits(units, count));
          assert.deepEqual(copy.quantiles(), series.quantiles());
        },
      ),
      { numRuns: 60 },
    );
  });
});
