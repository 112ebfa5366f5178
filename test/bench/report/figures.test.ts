import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { figuresOf, headlineOf } from '../../../bench/report/figures.ts';
import { distributionOf, formulasFor, FORMULAS, ratioOf } from '../../../bench/report/figures/figure.ts';
import type { AppFigures, WayFigures } from '../../../bench/report/figures/startup.ts';
import type { BenchReport, DensityStep, StartupRound, StartupWay, Way } from '../../../bench/report/format.ts';
import { fixtureReport } from './fixture.ts';

const round = (number: number, total: readonly number[], phase: StartupRound['phase'] = {}): StartupRound => ({
  round: number,
  total,
  phase,
});

const way = (name: Way, rounds: readonly StartupRound[], rest: Partial<StartupWay> = {}): StartupWay => ({
  way: name,
  outcome: { kind: 'ran' },
  freshness: 'process',
  warmUp: 0,
  phases: [],
  rounds,
  pagesWritten: null,
  pageFaults: null,
  ...rest,
});

/** The figures of one app that was started in these ways. */
function appOf(ways: readonly StartupWay[]): AppFigures {
  const snapshot = { codeBytes: 1, imageBytes: 1, deltaPages: 1, deltaBytes: 1 };
  const report: BenchReport = {
    ...fixtureReport({ rounds: 1 }),
    startup: { apps: [{ name: 'app', about: 'an app', snapshot, ways, advice: [] }] },
  };
  const [app] = figuresOf(report).apps;
  assert.ok(app !== undefined);
  return app;
}

function wayOf({ ways }: AppFigures, name: Way): WayFigures {
  const found = ways.find(({ way }) => way === name);
  assert.ok(found !== undefined, name);
  return found;
}

const close = (value: number | undefined, expected: number | undefined): void => {
  assert.ok(value !== undefined && expected !== undefined);
  assert.ok(Math.abs(value - expected) <= 1e-9 * Math.abs(expected), `${value}, not ${expected}`);
};

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

const step = (routes: number, ready: number): DensityStep => ({
  routes,
  outcome: { kind: 'ran' },
  readyMs: 5,
  residentBytes: { ready, allRequested: 2 * ready },
  diskBytesPerApp: 7,
  failed: 0,
  random: [[2, 4, 6], [9], []],
  hot: [[2], [3], [4]],
});

const positive = fc.double({ min: 0.1, max: 1e6, noNaN: true });

describe('figures of a start', () => {
  test('are the median of medians of rounds with their quartiles, not of all starts together', () => {
    const app = appOf([way('hot', [round(0, [1, 2, 300]), round(1, [10]), round(2, [4, 4, 4, 4])])]);
    assert.deepEqual(wayOf(app, 'hot').time, { median: 4, q1: 3, q3: 7, count: 3, formula: 'start' });
    assert.equal(wayOf(app, 'hot').starts, 8);
  });

  test('quotients are made round by round, and summed up after that', () => {
    const slow = way('initialise', [round(0, [100]), round(1, [400]), round(2, [90])]);
    const fast = way('hot', [round(0, [10]), round(1, [20]), round(2, [3])]);
    // 10, 20 and 30; the quotient of the medians would be 10.
    const expected = { median: 20, q1: 15, q3: 25, count: 3, formula: 'startRatio' };
    assert.deepEqual(wayOf(appOf([slow, fast]), 'initialise').overHot, expected);
    assert.deepEqual(wayOf(appOf([slow, fast]), 'hot').gain, expected);
  });

  test('rounds are paired by their number, whichever are missing', () => {
    const wizer = way('wizer', [round(1, [60]), round(3, [80])]);
    const hot = way('hot', [round(0, [1]), round(3, [8]), round(1, [20])]);
    const { overWizer } = appOf([wizer, hot]);
    assert.deepEqual(overWizer.hot, { median: 6.5, q1: 4.75, q3: 8.25, count: 2, formula: 'startRatio' });
  });

  test('a round without starts is no round', () => {
    assert.equal(wayOf(appOf([way('hot', [round(0, []), round(1, [5])])]), 'hot').rounds, 1);
  });

  test('what failed or was skipped has its message and no number, whatever it left behind', () => {
    const message = 'it trapped';
    const failed = way('wizer', [round(0, [7])], { outcome: { kind: 'failed', message } });
    const app = appOf([failed, way('hot', [round(0, [1])])]);
    const figures = wayOf(app, 'wizer');
    assert.deepEqual(figures.outcome, { kind: 'failed', message });
    assert.deepEqual([figures.time, figures.overHot, figures.distribution, figures.starts], [null, null, null, 0]);
    assert.equal(app.overWizer.hot, undefined);
  });

  test('phases have medians of their own; those behind the guest are not waited for', () => {
    const phase = { restore: [1, 3], guest: [10, 20], reset: [5, 6] };
    const app = appOf([
      way('switch', [round(0, [12, 24], phase)], { phases: ['restore', 'guest', 'reset', 'absent'] }),
    ]);
    const { phases } = wayOf(app, 'switch');
    assert.deepEqual(
      phases.map(({ name, time, isAwaited }) => [name, time.median, isAwaited]),
      [
        ['restore', 2, true],
        ['guest', 15, true],
        ['reset', 5.5, false],
      ],
    );
  });

  test('the headline has the first app, and the ways that it answers for in their order', () => {
    const headline = headlineOf(figuresOf(fixtureReport({ rounds: 2 })));
    assert.equal(headline?.app.name, 'hello');
    assert.deepEqual(
      headline.ways.map(({ way }) => way),
      ['initialise', 'wizer', 'switch', 'hot'],
    );
    assert.equal(headlineOf(figuresOf({ ...fixtureReport({ rounds: 1 }), startup: null })), null);
  });

  test('twice as slow is twice the figure, and no other quotient', () => {
    const rounds = fc.array(fc.array(positive, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(rounds, (totals) => {
        const scaled = (factor: number): StartupRound[] =>
          totals.map((total, index) =>
            round(
              index,
              total.map((value) => value * factor),
            ),
          );
        const app = appOf([way('wizer', scaled(2)), way('hot', scaled(1))]);
        const [wizer, hot] = [wayOf(app, 'wizer').time, wayOf(app, 'hot').time];
        close(wizer?.median, 2 * (hot?.median ?? 0));
        for (const quartile of ['q1', 'median', 'q3'] as const) close(app.overWizer.hot?.[quartile], 2);
      }),
    );
  });
});

describe('distributionOf()', () => {
  test('shows a percentile only when values lie beyond it', () => {
    assert.equal(distributionOf([]), null);
    assert.equal(distributionOf(upTo(9))?.p90, null);
    assert.ok(Math.abs((distributionOf(upTo(11))?.p90 ?? 0) - 10) < 1e-9);
    assert.equal(distributionOf(upTo(999))?.p999, null);
    assert.ok(Math.abs((distributionOf(upTo(1001))?.p999 ?? 0) - 1000) < 1e-9);
    assert.equal(distributionOf(upTo(1001))?.max, 1001);
  });

  test('its curve ascends from the least value to the greatest, and ends with p99.9 and the maximum', () => {
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1, maxLength: 3000, size: 'max' }), (values) => {
        const curve = distributionOf(values)?.curve ?? [];
        const [first, last] = [curve[0], curve.at(-1)];
        assert.deepEqual([last?.of, last?.value], [values.length, Math.max(...values)]);
        if (values.length > 1) assert.deepEqual([first?.of, first?.value], [1, Math.min(...values)]);
        for (const [index, point] of curve.slice(1).entries()) {
          const before = curve[index];
          assert.ok(before !== undefined && point.of > before.of && point.value >= before.value - 1e-6);
        }
        if (values.length > 1000) assert.ok(Math.abs((curve.at(-2)?.of ?? 0) - 1000) < 1e-6);
      }),
      { numRuns: 30 },
    );
  });

  test('its percentiles are points of its curve', () => {
    const distribution = distributionOf(Array.from({ length: 2000 }, (_, index) => index ** 2));
    for (const [of, value] of [
      [10, distribution?.p90],
      [100, distribution?.p99],
      [1000, distribution?.p999],
    ]) {
      const point = distribution?.curve.find((point) => Math.abs(point.of - (of ?? 0)) < 1e-6);
      assert.ok(Math.abs((point?.value ?? 0) - (value ?? Number.NaN)) < 1e-6);
    }
  });
});

describe('figures of servers', () => {
  const { throughput } = figuresOf(fixtureReport({ rounds: 3 }));
  const serverOf = (name: string): NonNullable<typeof throughput>['servers'][number] => {
    const found = throughput?.servers.find((server) => server.name === name);
    assert.ok(found !== undefined);
    return found;
  };

  test('are over rounds and over processes, and add up what was dropped', () => {
    const raw = fixtureReport({ rounds: 3 }).throughput?.servers.find(({ name }) => name.includes('isolate-requests'));
    const jco = serverOf('jco serve --isolate-requests instance');
    const rates = (raw?.closed ?? []).map(({ perSecond }) => perSecond).toSorted((a, b) => a - b);
    assert.equal(jco.closed?.perSecond.median, rates[1]);
    assert.equal(jco.firstAnswer?.count, 3);
    assert.equal(jco.open?.dropped, 3 * 300);
    assert.equal(jco.open?.sent, 3 * 100);
  });

  test('are compared with thaw, which is not compared with itself', () => {
    assert.equal(serverOf('thaw').closed?.overThaw, null);
    const node = serverOf('node:http');
    assert.ok((node.closed?.overThaw?.median ?? 0) > 1 && (node.open?.overThaw?.median ?? 9) < 1);
  });

  test('a server that failed has its message and no number', () => {
    const failed = serverOf('jco serve');
    assert.equal(failed.outcome.kind, 'failed');
    assert.deepEqual([failed.open, failed.closed, failed.firstAnswer, failed.resident], [null, null, null, null]);
  });
});

describe('figures of density', () => {
  test('are medians of medians, of tails, and quotients of rounds', () => {
    const base = fixtureReport({ rounds: 1 });
    const { density } = figuresOf({
      ...base,
      density: { slots: 4, about: '', steps: [step(10, 1000), step(110, 6000)] },
    });
    const [first] = density?.steps ?? [];
    assert.deepEqual(first?.random.p50, { median: 6.5, q1: 5.25, q3: 7.75, count: 2, formula: 'densityMedian' });
    assert.ok(Math.abs((first?.random.p99?.median ?? 0) - (5.96 + 9) / 2) < 1e-9);
    assert.deepEqual(first?.overHot, { median: 2.5, q1: 2.25, q3: 2.75, count: 2, formula: 'densityRatio' });
    assert.equal(density?.bytesPerRoute, 50);
  });
});

describe('formulas', () => {
  test('every formula is printed by the suite that uses it, and a report prints no others', () => {
    const all = Object.values(FORMULAS).map(({ name }) => name);
    assert.deepEqual(
      formulasFor(['startup', 'throughput', 'density']).map(({ name }) => name),
      all,
    );
    assert.ok(formulasFor(['startup']).every(({ name }) => !name.includes('thaw')));
  });

  test('a quotient by nothing is none', () => {
    assert.equal(ratioOf('startRatio', new Map([[0, 1]]), new Map([[0, 0]])), null);
    assert.equal(ratioOf('startRatio', new Map([[0, 1]]), new Map([[1, 1]])), null);
  });
});
