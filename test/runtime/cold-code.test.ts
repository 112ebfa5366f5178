import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ColdCode } from '../../src/runtime/cold-code.ts';

const codeOf = (codeDigest: string, ...bytes: number[]): Parameters<ColdCode['graceMs']>[0] => ({
  codeDigest,
  code: bytes.map((size) => ({ digest: '', bytes: size, shape: { memories: [], globals: [], sized: [] } })),
});

test('grace grows with the code, and is gone with the first success', () => {
  const cold = new ColdCode();
  const [engine, tiny] = [codeOf('a', 9 * 2 ** 20, 2 ** 20), codeOf('b', 1024)];
  assert.equal(cold.graceMs(engine), 300);
  assert.ok(cold.graceMs(tiny) < 0.1);
  cold.ended(engine, -20, true);
  assert.equal(cold.graceMs(engine), 0);
  assert.ok(cold.graceMs(tiny) > 0, 'of another code nothing is known');
});

test('requests that fail share one grace', () => {
  const cold = new ColdCode();
  const engine = codeOf('a', 10 * 2 ** 20);
  cold.ended(engine, -20, false);
  assert.equal(cold.graceMs(engine), 300);
  cold.ended(engine, 120, false);
  assert.equal(cold.graceMs(engine), 180);
  cold.ended(engine, 200, false);
  assert.equal(cold.graceMs(engine), 0);
});
