import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { readReference, readmeWithPerformance, referenceMarkdown } from '../../../scripts/readme-performance.ts';
import { readPage } from '../../docs/support.ts';
import { fixtureReport } from './fixture.ts';

const readme = readPage('README.md');
const report = fixtureReport({ rounds: 3 });
const reference = readReference();

/** README as it is without the section, whether it has one or not. */
const bare = readme.replace(/<!-- performance: .*<!-- end of performance -->\n\n/s, '');

describe("README's section on performance", () => {
  test('is that of the reference report: run npm run docs when this fails', () => {
    assert.ok(readmeWithPerformance(readme, reference) === readme);
  });

  test('bench/reports/reference.md is that of the reference report: run npm run docs when this fails', (t) => {
    const file = new URL('../../../bench/reports/reference.md', import.meta.url);
    if (reference === null) {
      assert.equal(existsSync(file), false);
      t.skip('there is no reference report yet');
      return;
    }
    assert.ok(readFileSync(file, 'utf8') === referenceMarkdown(reference));
  });

  test('is put in once, where it belongs, and changes nothing else', () => {
    const written = readmeWithPerformance(bare, report);
    assert.match(
      written,
      /\n<!-- performance: .*?\n\n## Performance\n.*\n<!-- end of performance -->\n\n## The admin listener\n/s,
    );
    assert.equal(written.replace(/<!-- performance: .*<!-- end of performance -->\n\n/s, ''), bare);
    assert.equal(readmeWithPerformance(written, report), written);
  });

  test('has the headline, the servers with what failed, the machine, and how to make another', () => {
    const written = readmeWithPerformance(bare, report);
    const section = written.slice(written.indexOf('## Performance'), written.indexOf('<!-- end of performance'));
    for (const row of [
      /^\| no snapshot \| 1\d\.\d \(/m,
      /^\| Wizer \| 4\.\d+ \(/m,
      /^\| thaw switch \| 0\.1\d+ \(/m,
      /^\| thaw hot \| 0\.\d+ \(/m,
    ])
      assert.match(section, row);
    assert.match(section, /^\| jco serve \| failed: /m);
    assert.match(section, /AMD EPYC 9R14, 2 cores, Linux 6\.18\.44, Node v26\.10\.0/);
    assert.match(section, /`npx thaw bench`.*\(bench\/reports\/reference\.md\)/);
  });

  test('follows another report', () => {
    const written = readmeWithPerformance(bare, report);
    const other = fixtureReport({ rounds: 3, seed: 9 });
    assert.notEqual(readmeWithPerformance(written, other), written);
    assert.equal(readmeWithPerformance(readmeWithPerformance(written, other), report), written);
  });

  test('without a report there is no section; with a mark lost it is not guessed', () => {
    assert.equal(readmeWithPerformance(bare, null), bare);
    const written = readmeWithPerformance(bare, report);
    assert.throws(() => readmeWithPerformance(written, null), /no reference report/);
    assert.throws(
      () => readmeWithPerformance(written.replace('<!-- end of performance -->\n', ''), report),
      /has lost/,
    );
    assert.throws(() => readmeWithPerformance('# thaw\n', report), /no place/);
  });
});
