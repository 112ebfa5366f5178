import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { reportMarkdown } from '../../../bench/report/markdown.ts';
import { parseReport } from '../../../bench/report/parse.ts';
import { writeReport } from '../../../bench/report/write.ts';
import { ThawError } from '../../../src/errors.ts';
import { fixtureReport } from './fixture.ts';

function directoryFor(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-report-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const hasCode = (code: string) => (error: unknown) => error instanceof ThawError && error.code === code;

describe('writeReport()', () => {
  test('makes the directory and three files, and leaves nothing else', async (t) => {
    const directory = join(directoryFor(t), 'a/b');
    const report = fixtureReport({ rounds: 2 });
    const paths = await writeReport(report, directory);
    assert.deepEqual(
      paths,
      ['report.html', 'report.md', 'report.json'].map((name) => join(directory, name)),
    );
    assert.deepEqual(readdirSync(directory), ['report.html', 'report.json', 'report.md']);
    assert.deepEqual(parseReport(readFileSync(join(directory, 'report.json'), 'utf8')), report);
    assert.equal(readFileSync(join(directory, 'report.md'), 'utf8'), reportMarkdown(report));
  });

  test('takes the place of the report before', async (t) => {
    const directory = directoryFor(t);
    await writeReport(fixtureReport({ rounds: 1, seed: 1 }), directory);
    await writeReport(fixtureReport({ rounds: 1, seed: 2 }), directory);
    assert.deepEqual(
      parseReport(readFileSync(join(directory, 'report.json'), 'utf8')),
      fixtureReport({ rounds: 1, seed: 2 }),
    );
    assert.equal(readdirSync(directory).length, 3);
  });

  test('a number that is none is named; the raw data is kept, and no page is made of it', async (t) => {
    const directory = directoryFor(t);
    await assert.rejects(
      writeReport({ ...fixtureReport({ rounds: 1 }), seconds: Number.NaN }, directory),
      (error) => hasCode('BENCH_REPORT_INVALID')(error) && /seconds is null/.test(String(error)),
    );
    assert.deepEqual(readdirSync(directory), ['report.json']);
  });

  test('a directory that cannot be made is named', async (t) => {
    const file = join(directoryFor(t), 'file');
    writeFileSync(file, '');
    await assert.rejects(
      writeReport(fixtureReport({ rounds: 1 }), join(file, 'below')),
      (error) => hasCode('BENCH_REPORT_UNWRITABLE')(error) && String(error).includes(join(file, 'below/report.json')),
    );
  });
});
