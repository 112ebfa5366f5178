import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { hasSettled, inOrder, quantile, ratios, slopeOf, spreadOf } from '../../bench/support/statistics.ts';

const values = fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 50 });

describe('quantile()', () => {
  test('interpolates between neighbours', () => {
    assert.equal(quantile([1, 2, 3, 4], 0.5), 2.5);
    assert.equal(quantile([1, 2, 3, 4], 0.25), 1.75);
    assert.equal(quantile([10], 0.99), 10);
  });

  test('is the least value at 0, the greatest at 1, and ascends between', () => {
    fc.assert(
      fc.property(
        values,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (all, a, b) => {
          const sorted = Float64Array.from(all).toSorted();
          assert.equal(quantile(sorted, 0), sorted[0]);
          assert.equal(quantile(sorted, 1), sorted.at(-1));
          assert.ok(quantile(sorted, Math.min(a, b)) <= quantile(sorted, Math.max(a, b)) + 1e-6);
        },
      ),
    );
  });

  test('is NaN without values', () => {
    assert.ok(Number.isNaN(quantile([], 0.5)));
  });
});

describe('spreadOf()', () => {
  test('does not depend on the order, nor sort what it is given', () => {
    const given = [3, 1, 2];
    assert.deepEqual(spreadOf(given), { median: 2, q1: 1.5, q3: 2.5, count: 3 });
    assert.deepEqual(given, [3, 1, 2]);
  });

  test('sorts by number, not by text', () => {
    assert.equal(spreadOf([9, 10, 100]).median, 10);
  });
});

describe('ratios()', () => {
  test('pairs the rounds, as far as both sides have them', () => {
    assert.deepEqual(ratios([10, 20, 30], [2, 5]), [5, 4]);
    assert.deepEqual(ratios([10], [2, 5]), [5]);
  });
});

describe('slopeOf()', () => {
  test('finds the line that points lie on', () => {
    fc.assert(
      fc.property(fc.integer({ min: -100, max: 100 }), fc.integer({ min: -100, max: 100 }), (slope, offset) => {
        const points = [0, 1, 2, 5, 9].map((x) => [x, slope * x + offset] as const);
        assert.ok(Math.abs(slopeOf(points) - slope) < 1e-9);
      }),
    );
  });

  test('is NaN when there is nothing to tell it from', () => {
    assert.ok(Number.isNaN(slopeOf([])));
    assert.ok(
      Number.isNaN(
        slopeOf([
          [1, 1],
          [1, 9],
        ]),
      ),
    );
  });
});

describe('inOrder()', () => {
  test('reverses every other round and leaves the sides alone', () => {
    const sides = ['a', 'b', 'c'];
    assert.deepEqual(
      [0, 1, 2].map((round) => inOrder(sides, round).join('')),
      ['abc', 'cba', 'abc'],
    );
    assert.deepEqual(sides, ['a', 'b', 'c']);
  });
});

describe('hasSettled()', () => {
  test('needs a value to compare with', () => {
    assert.equal(hasSettled([]), false);
    assert.equal(hasSettled([100]), false);
  });

  test('waits while the last value is well above the best before it', () => {
    assert.equal(hasSettled([100, 200]), false);
    assert.equal(hasSettled([100, 200, 206]), false);
    assert.equal(hasSettled([100, 200, 205]), true);
    assert.equal(hasSettled([100, 200, 150]), true);
  });
});
