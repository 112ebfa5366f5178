import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { configDocument } from '../../scripts/config-doc.ts';
import { loadConfig } from '../../src/config/load.ts';
import { PAGES, blocksOf, readPage } from './support.ts';

const page = readPage('docs/config.md');

/** The lines of one text that the other does not have: a whole page would bury them. */
const linesOnlyIn = (text: string, other: string): string[] => {
  const others = new Set(other.split('\n'));
  return text.split('\n').filter((line) => !others.has(line));
};

test('docs/config.md has the keys of the schema: run npm run docs when this fails', () => {
  const expected = configDocument(page);
  assert.deepEqual(linesOnlyIn(expected, page), []);
  assert.deepEqual(linesOnlyIn(page, expected), []);
  assert.ok(expected === page, 'its rows are in the order of the schema');
});

test('the table of keys names nested keys, members of lists, kinds and defaults, whatever stood there', () => {
  const written = configDocument(page.replace('| `pool.slots` |', '| `pool.slits` |').replaceAll('`10s`', '`99h`'));
  for (const row of [
    '| `pool.slots` | integer | `64` |',
    '| `routes[].host` | host |  |',
    '| `routes[].route` | route | required |',
    '| `routes[].methods` | list: method |  |',
    '| `routes[].limits.wall` | time limit | `10s` |',
  ]) {
    assert.ok(written.includes(`\n${row}`), row);
  }
  assert.doesNotMatch(written, /slits|99h/);
});

test('a page without the marks is refused', () => {
  assert.throws(() => configDocument('# The config'), /has lost/);
});

test('every config that the documents show is one', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-docs-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'edge.yaml');
  const configs = PAGES.flatMap((name) => blocksOf(readPage(name)).map((block) => ({ name, ...block }))).filter(
    ({ language }) => language === 'yaml',
  );
  assert.ok(configs.length >= 2);
  for (const { name, line, text } of configs) {
    writeFileSync(file, text);
    assert.doesNotThrow(() => loadConfig(file), `${name}, line ${line}`);
  }
});
