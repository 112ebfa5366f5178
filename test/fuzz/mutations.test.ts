import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERRORS } from '../../src/errors.ts';
import { fuzz } from './run.ts';
import { ENGINE_ITEMS } from './targets.ts';

const ITEMS = 40_000;

/** The same items at every run: `npm run fuzz` takes others. With this one an engine is still an engine once. */
const SEED = 1;

/** What each kind of item ends with, among others: a kind that is always refused for one reason tests nothing. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  component: [
    'taken',
    'WASM_MALFORMED',
    'WASM_UNSUPPORTED',
    'COMPONENT_UNSUPPORTED',
    'NOT_A_COMPONENT',
    'WRONG_WORLD',
    'UNKNOWN_IMPORT',
    'IMPORT_TYPE_MISMATCH',
  ],
  module: ['taken', 'WASM_MALFORMED', 'WASM_UNSUPPORTED'],
  'manifest and program': ['taken', 'STORE_MANIFEST_INVALID'],
  delta: ['taken', 'STORE_LAYER_INVALID', 'STORE_MANIFEST_INVALID'],
  'file of a store': ['taken', 'STORE_OBJECT_CORRUPT', 'STORE_REF_INVALID'],
  'forged snapshot': ['taken', 'STORE_MANIFEST_INVALID'],
  engine: ['taken', 'WASM_MALFORMED'],
};

test(`${ITEMS} mutated components and snapshots: success or an error of the table, in time and memory`, async (t) => {
  const { outcomes, worstMs } = await fuzz({ seed: SEED, end: ITEMS });
  t.diagnostic(`the slowest item took ${Math.round(worstMs)} ms`);
  const counts = Object.values(outcomes).flatMap((ofTarget) => Object.values(ofTarget));
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    ITEMS,
  );
  assert.deepEqual(Object.keys(outcomes).toSorted(), Object.keys(EXPECTED).toSorted());
  for (const [target, expected] of Object.entries(EXPECTED)) {
    const found = Object.keys(outcomes[target] ?? {});
    for (const code of expected) assert.ok(found.includes(code), `${target} has ended with ${code}`);
    for (const code of found) assert.ok(code === 'taken' || code in ERRORS, code);
  }
  const ofEngine = Object.values(outcomes['engine'] ?? {}).reduce((sum, count) => sum + count, 0);
  assert.equal(ofEngine, ENGINE_ITEMS);
});
