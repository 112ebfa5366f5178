import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { HistogramLogReader, listTags } from 'hdr-histogram-js';
import * as fc from 'fast-check';
import { StartupHistograms } from '../../src/metrics/histograms.ts';
import { hlogFileName, hlogText, writeHlog } from '../../src/metrics/hlog.ts';
import { PHASE_NAMES } from '../../src/metrics/phases.ts';

const STARTED_AT_MS = Date.UTC(2026, 10, 1);

function record(histograms: StartupHistograms, route: string, phases: Partial<Record<string, number>>): void {
  histograms.record(route, 'hot', { microsAt: (index) => phases[PHASE_NAMES[index] ?? ''] ?? Number.NaN });
}

async function inTemporaryDirectory(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'thaw-hlog-'));
  try {
    await body(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

suite('hlogText()', () => {
  test('can be read back by HistogramLogReader, in nanoseconds', () => {
    const histograms = new StartupHistograms(STARTED_AT_MS);
    for (let i = 1; i <= 1000; i++) record(histograms, '/', { guest: i / 10, total: i });
    const text = hlogText(histograms.ofAll(), STARTED_AT_MS, STARTED_AT_MS + 90_500);
    assert.deepEqual(listTags(text), ['hot.guest', 'hot.total']);
    const reader = new HistogramLogReader(text, 64);
    const guest = reader.nextIntervalHistogram();
    const total = reader.nextIntervalHistogram();
    assert.equal(reader.nextIntervalHistogram(), null);
    assert.equal(guest?.tag, 'hot.guest');
    assert.equal(total?.tag, 'hot.total');
    assert.equal(total?.totalCount, 1000);
    assert.equal(total?.startTimeStampMsec, STARTED_AT_MS);
    assert.equal(total?.endTimeStampMsec, STARTED_AT_MS + 90_500);
    for (const [percentile, nanoseconds] of [
      [50, 500_000],
      [90, 900_000],
      [99.9, 999_000],
    ] as const) {
      const error = Math.abs((total?.getValueAtPercentile(percentile) ?? 0) - nanoseconds);
      assert.ok(error <= nanoseconds * 0.002, `p${percentile} is off by ${error} ns`);
    }
    assert.match(text, /^#\[Histogram log format version 1\.3\]$/m);
    assert.match(text, /^Tag=hot\.total,1793491200\.000,90\.500,1\.000,HIST/m);
  });

  test('keeps counts beyond 32 bits', () => {
    const histograms = new StartupHistograms(STARTED_AT_MS);
    const counts = Float64Array.of(10, 2 ** 33);
    const series = [{ kind: 'hot', phase: 'total', counts } as const];
    histograms.merge({ startedAtMs: STARTED_AT_MS, all: series, routes: [] });
    const reader = new HistogramLogReader(hlogText(histograms.ofAll(), STARTED_AT_MS, STARTED_AT_MS + 1), 64);
    assert.equal(reader.nextIntervalHistogram()?.totalCount, 2 ** 33);
  });
});

suite('hlogFileName()', () => {
  test('escapes what is not safe in a file name', () => {
    assert.equal(hlogFileName('www.example.test/api/...'), 'www.example.test%2Fapi%2F....hlog');
    assert.equal(hlogFileName('../etc'), '%2E.%2Fetc.hlog');
    assert.equal(hlogFileName('é'), '%C3%A9.hlog');
  });

  test('stays within 255 bytes, has no separators and is one to one', () => {
    const id = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200, size: 'max' }),
      fc.constantFrom('/a', '%2Fa', '.', '..', ''),
    );
    fc.assert(
      fc.property(id, id, (a, b) => {
        const name = hlogFileName(a);
        assert.match(name, /^[A-Za-z0-9_%~.-]{0,200}\.hlog$/);
        assert.equal(name === hlogFileName(b), a === b);
      }),
    );
  });

  test('tells long ids apart that begin alike', () => {
    const long = '/x'.repeat(300);
    assert.notEqual(hlogFileName(`${long}1`), hlogFileName(`${long}2`));
  });
});

suite('writeHlog()', () => {
  test('writes one file for all and one for each route, and leaves no temporary files', async () => {
    await inTemporaryDirectory(async (dir) => {
      const histograms = new StartupHistograms(STARTED_AT_MS);
      record(histograms, 'all', { total: 1 });
      record(histograms, '/a/b', { total: 2 });
      assert.equal(await writeHlog(histograms, join(dir, 'out')), 3);
      assert.equal(await writeHlog(histograms, join(dir, 'out')), 3);
      assert.deepEqual((await readdir(join(dir, 'out'))).toSorted(), ['all.hlog', 'routes']);
      assert.deepEqual((await readdir(join(dir, 'out/routes'))).toSorted(), ['%2Fa%2Fb.hlog', 'all.hlog']);
      const reader = new HistogramLogReader(await readFile(join(dir, 'out/routes/%2Fa%2Fb.hlog'), 'utf8'));
      assert.equal(reader.nextIntervalHistogram()?.maxValue, 2000);
    });
  });

  test('says which directory cannot be written', async () => {
    await inTemporaryDirectory(async (dir) => {
      await writeFile(join(dir, 'file'), '');
      const refused = { code: 'HLOG_UNWRITABLE', message: /writing histogram logs to .*file/ };
      await assert.rejects(writeHlog(new StartupHistograms(), join(dir, 'file')), refused);
    });
  });
});
