import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { startupJson } from '../../src/metrics/exposition.ts';
import { FINE_ROUTE_SERIES, MEDIUM_ROUTE_SERIES, StartupHistograms } from '../../src/metrics/histograms.ts';
import type { Phase, StartKind } from '../../src/metrics/phases.ts';
import { PHASE_NAMES, START_KIND_NAMES } from '../../src/metrics/phases.ts';
import { RAW_LIMIT } from '../../src/metrics/series.ts';

type Start = { readonly route: string; readonly kind: StartKind; readonly phases: Partial<Record<Phase, number>> };

function recordAll(histograms: StartupHistograms, starts: readonly Start[]): StartupHistograms {
  for (const { route, kind, phases } of starts) {
    histograms.record(route, kind, { microsAt: (index) => phases[PHASE_NAMES[index] ?? 'total'] ?? Number.NaN });
  }
  return histograms;
}

async function shown(histograms: StartupHistograms): Promise<unknown> {
  let document = '';
  for await (const piece of startupJson(histograms, histograms.routeIds().toSorted())) document += piece;
  return JSON.parse(document);
}

const micros = fc.integer({ min: 0, max: 5_000_000 }).map((tenths) => tenths / 10);

const start: fc.Arbitrary<Start> = fc.record({
  route: fc.constantFrom('/', '/api/...', '__proto__'),
  kind: fc.constantFrom(...START_KIND_NAMES),
  phases: fc.record(
    { route: micros, acquire: micros, restore: micros, guest: micros, total: micros },
    { requiredKeys: ['total'] },
  ),
});

suite('StartupHistograms', () => {
  test('merging what threads recorded equals recording it in one', async () => {
    const parts = fc.array(fc.array(start, { maxLength: 300, size: 'max' }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(parts, async (threads) => {
        const merged = new StartupHistograms();
        for (const starts of threads) {
          merged.merge(structuredClone(recordAll(new StartupHistograms(), starts).toRecording()));
        }
        assert.deepEqual(await shown(merged), await shown(recordAll(new StartupHistograms(), threads.flat())));
      }),
      { numRuns: 25 },
    );
  });

  test('merging takes the earliest start time', () => {
    const merged = new StartupHistograms(2000);
    merged.merge(new StartupHistograms(1000).toRecording());
    merged.merge(new StartupHistograms(3000).toRecording());
    assert.equal(merged.startedAtMs, 1000);
  });

  test('counts starts by kind, by their total', () => {
    const histograms = recordAll(new StartupHistograms(), [
      { route: '/', kind: 'load', phases: { compile: 45_000, total: 50_000 } },
      { route: '/', kind: 'hot', phases: { total: 90 } },
      { route: '/', kind: 'hot', phases: { total: 95 } },
      { route: '/b', kind: 'switch', phases: { total: 150 } },
    ]);
    assert.deepEqual(histograms.startsOf('/'), { hot: 2, switch: 0, instantiate: 0, load: 1 });
    assert.deepEqual(histograms.startsOf('/none'), { hot: 0, switch: 0, instantiate: 0, load: 0 });
    assert.deepEqual(histograms.routeIds(), ['/', '/b']);
  });

  test('gives 3 digits to so many route series, 2 to the next and 1 to the rest, and always 3 to all', () => {
    const histograms = new StartupHistograms();
    const [fine, notCoarse] = [FINE_ROUTE_SERIES, FINE_ROUTE_SERIES + MEDIUM_ROUTE_SERIES];
    for (let route = 0; route < notCoarse + 2; route++) {
      const starts = Array.from(
        { length: RAW_LIMIT + 1 },
        () => ({ route: `/${route}`, kind: 'hot', phases: { total: 100.1 } }) as const,
      );
      recordAll(histograms, [...starts, { route: `/${route}`, kind: 'hot', phases: { total: 9000 } }]);
    }
    const median = (route: string | null): number | undefined => {
      const [first] = route === null ? histograms.ofAll() : histograms.ofRoute(route);
      return first?.series.quantiles()?.p50;
    };
    assert.equal(histograms.coarseSeries, 2);
    assert.equal(median('/0'), 100.1);
    assert.deepEqual([`/${fine - 1}`, `/${fine}`].map(median), [100.1, 100.3]);
    assert.deepEqual([`/${notCoarse - 1}`, `/${notCoarse}`].map(median), [100.3, 102.3]);
    assert.equal(median(null), 100.1);
  });
});

suite('startupJson()', () => {
  test('shows the phases and kinds that happened, and nothing else', async () => {
    const histograms = recordAll(new StartupHistograms(), [
      { route: '/a', kind: 'hot', phases: { route: 1.5, total: 80 } },
      { route: '/a', kind: 'hot', phases: { route: 2.5, total: 100 } },
      { route: '/b', kind: 'load', phases: { total: 50_000 } },
    ]);
    const route = { count: 2, p50: 1.5, p90: 2.5, p99: 2.5, 'p99.9': 2.5, max: 2.5 };
    const total = { count: 2, p50: 80, p90: 100, p99: 100, 'p99.9': 100, max: 100 };
    const loaded = { count: 1, p50: 50_000, p90: 50_000, p99: 50_000, 'p99.9': 50_000, max: 50_000 };
    assert.deepEqual(await shown(histograms), {
      unit: 'microseconds',
      resolution: 0.1,
      coarseSeries: 0,
      all: { hot: { route, total }, load: { total: loaded } },
      routes: { '/a': { hot: { route, total } }, '/b': { load: { total: loaded } } },
    });
  });
});
