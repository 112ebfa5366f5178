import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { figuresOf } from '../../../bench/report/figures.ts';
import { escapeMarkdown, markdownTable, reportMarkdown } from '../../../bench/report/markdown.ts';
import { peersTable, waysTable } from '../../../bench/report/tables.ts';
import { fixtureReport } from './fixture.ts';

/** The cells of each line of a table: what is between pipes that are not escaped. */
const cellsOf = (line: string): string[] => line.slice(1, -1).split(/(?<!\\)\|/);

const tablesOf = (markdown: string): string[][] =>
  markdown
    .split('\n\n')
    .filter((block) => block.startsWith('|'))
    .map((block) => block.trimEnd().split('\n'));

describe('escapeMarkdown()', () => {
  test('takes the meaning from what has one, and leaves the rest as it is', () => {
    assert.equal(
      escapeMarkdown('a | b <img> `c` [d](e) **f** ~g~ &amp;'),
      String.raw`a \| b \<img\> \`c\` \[d\](e) \*\*f\*\* \~g\~ \&amp;`,
    );
    assert.equal(escapeMarkdown('snake_case _not_ emphasis'), String.raw`snake_case \_not\_ emphasis`);
    assert.equal(escapeMarkdown('# no heading\n- no list'), String.raw`\# no heading - no list`);
    assert.equal(escapeMarkdown('1. no list'), String.raw`1\. no list`);
    assert.equal(escapeMarkdown('13.2 (12.5 to 13.6)'), '13.2 (12.5 to 13.6)');
  });

  test('whatever the text: one line, nothing special bare, and the text itself when read', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii', maxLength: 40 }), (text) => {
        const escaped = escapeMarkdown(text);
        assert.doesNotMatch(escaped, /[\r\n]/);
        const bare = escaped.replaceAll(/\\[\\`*[\]<>|&~_#+=.)-]/g, 'x');
        assert.doesNotMatch(bare, /[\\`*[\]<>|&~]|^(?:[#+=-]|\d+[.)](?: |$))/);
        assert.equal(escaped.replaceAll(/\\([\\`*[\]<>|&~_#+=.)-])/g, '$1'), text.replaceAll(/\s+/g, ' ').trim());
      }),
    );
  });
});

describe('reportMarkdown()', () => {
  const report = fixtureReport({ rounds: 3 });
  const markdown = reportMarkdown(report);

  test('begins with what was run, the verdict and the headline', () => {
    const [title, summary, verdict, table] = markdown.split('\n\n');
    assert.equal(title, '# Startup report of thaw');
    assert.match(
      summary ?? '',
      /^Made 2026-11-22 10:59 UTC by “thaw bench --suite all” of thaw 0\.1\.0 in 18 min 45 s, on AMD EPYC 9R14, 2 cores\.$/,
    );
    assert.match(
      verdict ?? '',
      /^hello starts in [\d.]+ ms without a snapshot, [\d.]+ ms with Wizer, [\d.]+ ms with thaw by a switch, /,
    );
    assert.match(table ?? '', /^\| start \| time, ms \|/);
  });

  test('has the rows of every suite, and what failed or was skipped with its reason', () => {
    for (const part of [
      '## Starts',
      '### hello',
      '### roman (core module)',
      '## Servers',
      '## Density',
      '## Machine',
      '## Method',
      '## Caveats',
      '## Notes of this run',
    ])
      assert.ok(markdown.includes(`\n${part}\n`), part);
    assert.match(markdown, /\| jco serve \| failed: request 2 of 50: 500 Internal Server Error/);
    assert.match(markdown, /\| skipped: this version of wasmtime has no --max-instance-reuse-count \|/);
    assert.match(markdown, /A request writes 1,320 pages/);
  });

  test('the rows of a table are as wide as its head, whatever the report says', () => {
    for (const text of [markdown, reportMarkdown(fixtureReport({ rounds: 2, hostile: true }))]) {
      const tables = tablesOf(text);
      assert.ok(tables.length > 20);
      for (const [head = '', ...rows] of tables)
        for (const row of rows) assert.equal(cellsOf(row).length, cellsOf(head).length, row);
    }
  });

  test('text from outside makes no element, link or emphasis', () => {
    const text = reportMarkdown(fixtureReport({ rounds: 2, hostile: true }));
    assert.ok(text.includes('onerror'));
    const outsideCode = text.replaceAll(/(?<![\\`])(`+) .*? \1(?!`)/g, '');
    assert.doesNotMatch(outsideCode, /(?<!\\)<|(?<!\\)\]\(|[^\\*]\*b/);
  });

  test('a suite that did not run has no heading', () => {
    const text = reportMarkdown({ ...report, throughput: null, density: null });
    assert.doesNotMatch(text, /## Servers|## Density|p50 at a fixed rate/);
    assert.match(reportMarkdown({ ...report, startup: null }), /^# Startup report of thaw\n\nMade .*\n\n## Servers/);
  });

  test('tables have medians, and quartiles beside them', () => {
    const { apps, throughput } = figuresOf(report);
    const [app] = apps;
    assert.ok(app !== undefined && throughput !== null);
    assert.match(markdownTable(waysTable(app)), /^\| thaw hot \| \d+\.\d \(\d+\.\d to \d+\.\d\) \|/m);
    assert.match(markdownTable(peersTable(throughput)), /^\| thaw \| nothing: fresh state for every request \|/m);
  });
});
