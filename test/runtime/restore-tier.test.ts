import assert from 'node:assert/strict';
import { platform, release } from 'node:os';
import { test } from 'node:test';
import { chooseTier, createRestorer, probeTiers } from '../../src/runtime/restore-tier.ts';
import { RESTORE_TIERS } from '../../src/runtime/slot-memory.ts';
import { thawError } from '../snapshot/support.ts';

/** The tests of tiers skip those that do not work here: this one says which must. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const isLinux = platform() === 'linux';
const hasScan = isLinux && (major > 6 || (major === 6 && minor >= 7));

test('the tiers that the kernel has work: PAGEMAP_SCAN from 6.7 on, the others on any Linux', () => {
  const working = probeTiers().flatMap(({ tier, failure }) => (failure === null ? [tier] : []));
  const expected = RESTORE_TIERS.filter((tier) => tier === 'copy' || (tier === 'scan' ? hasScan : isLinux));
  assert.deepEqual(working, expected);
});

test('the best tier that works is chosen, unless another is wanted', () => {
  assert.equal(chooseTier(undefined), probeTiers().find(({ failure }) => failure === null)?.tier);
  for (const { tier, failure } of probeTiers()) {
    if (failure === null) assert.equal(chooseTier(tier), tier);
    else assert.throws(() => chooseTier(tier), thawError('USAGE', tier, failure));
  }
});

test('a restorer is of its tier, and finds pages when its tier does', () => {
  for (const { tier, failure } of probeTiers()) {
    if (failure !== null) continue;
    const restorer = createRestorer(tier);
    assert.equal(restorer.tier, tier);
    assert.equal('dirty' in restorer, tier === 'scan' || tier === 'pagemap');
    if ('dirty' in restorer) restorer.dirty.close();
  }
});
