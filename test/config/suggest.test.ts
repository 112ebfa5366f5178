import assert from 'node:assert/strict';
import { test } from 'node:test';
import { didYouMean, suggest } from '../../src/config/suggest.ts';

const KEYS = ['route', 'host', 'methods', 'snapshot', 'env', 'allowed_outbound_hosts', 'limits'];

for (const [word, nearest] of [
  ['snapshott', 'snapshot'],
  ['hots', 'host'],
  ['Methods', 'methods'],
  ['allowedOutboundHosts', 'allowed_outbound_hosts'],
  ['allowed-outbound-host', 'allowed_outbound_hosts'],
  ['cpu', undefined],
  ['path', undefined],
  ['', undefined],
] as const) {
  test(`suggest() has ${nearest ?? 'nothing'} for ${JSON.stringify(word)}`, () =>
    assert.equal(suggest(word, KEYS), nearest));
}

test('didYouMean() is a question to append, or nothing', () => {
  assert.equal(didYouMean('hots', KEYS), '; did you mean "host"?');
  assert.equal(didYouMean('zzz', KEYS), '');
  assert.equal(didYouMean('x', []), '');
});
