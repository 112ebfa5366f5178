import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatSummary } from '../../src/metrics/exposition.ts';
import { StartupHistograms } from '../../src/metrics/histograms.ts';
import { PHASE_NAMES } from '../../src/metrics/phases.ts';

function withTotals(totals: readonly (readonly [route: string, micros: number])[]): StartupHistograms {
  const histograms = new StartupHistograms();
  const total = PHASE_NAMES.indexOf('total');
  for (const [route, micros] of totals) {
    histograms.record(route, 'hot', { microsAt: (index) => (index === total ? micros : Number.NaN) });
  }
  return histograms;
}

suite('formatSummary()', () => {
  test('aligns names to the left and numbers to the right, busiest route first', () => {
    const histograms = withTotals([
      ['/rare', 5],
      ['/often', 90],
      ['/often', 110.25],
    ]);
    assert.equal(
      formatSummary(histograms),
      [
        'starts by route, kind and phase, in microseconds',
        'route   kind  phase  count   p50    p90    p99  p99.9    max',
        '/often  hot   total      2  90.0  110.3  110.3  110.3  110.3',
        '/rare   hot   total      1   5.0    5.0    5.0    5.0    5.0',
        '(all)   hot   total      3  90.0  110.3  110.3  110.3  110.3',
        '',
      ].join('\n'),
    );
  });

  test('cuts route ids to the width of the terminal', () => {
    const histograms = withTotals([['www.example.test/a/very/long/path/to/somewhere/...', 5]]);
    const [, ...lines] = formatSummary(histograms, 80).trimEnd().split('\n');
    for (const line of lines) assert.ok(line.length <= 80, line);
    assert.match(lines[1] ?? '', /^www\.example\.test\/a\/.*… {2}hot /);
    assert.match(formatSummary(histograms), /somewhere\/\.\.\. {2}hot/);
  });

  test('shows the busiest routes and says how many it left out', () => {
    const summary = formatSummary(withTotals(Array.from({ length: 25 }, (_, i) => [`/r${i}`, 1] as const)));
    assert.equal(summary.match(/^\/r/gm)?.length, 20);
    assert.match(summary, /\n5 more routes are in \(all\)\n$/);
    assert.match(summary, /\n\(all\) .* 25 /);
  });

  test('says so when nothing was recorded', () => {
    assert.equal(formatSummary(new StartupHistograms()), 'no starts recorded\n');
  });
});
