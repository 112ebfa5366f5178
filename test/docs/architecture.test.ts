import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, readPage } from './support.ts';

const page = readPage('ARCHITECTURE.md');

/** Paths in code spans: from the root, or below `src/` as the drawings and tables write them. */
const pathsOf = (markdown: string): string[] =>
  [...markdown.matchAll(/`([\w.@{},*/-]+)`/g)]
    .map(([, path = '']) => path)
    .filter((path) => /^(?:src|test|bench|scripts|docs|bin|edge-config|snapshots)\//.test(path));

test('every path that ARCHITECTURE.md names exists', () => {
  const paths = pathsOf(page);
  assert.ok(paths.length > 30);
  assert.deepEqual(
    paths.filter((path) => !existsSync(join(ROOT, path))),
    [],
  );
});

test('ARCHITECTURE.md names every folder of src, and every file beside them', () => {
  const named = pathsOf(page);
  const entries = readdirSync(join(ROOT, 'src')).filter((entry) => !entry.endsWith('.d.ts'));
  for (const entry of entries) {
    const path = `src/${entry}`;
    const isFolder = statSync(join(ROOT, path)).isDirectory();
    assert.ok(
      named.some((name) => (isFolder ? name.startsWith(`${path}/`) : name === path)),
      path,
    );
  }
});
