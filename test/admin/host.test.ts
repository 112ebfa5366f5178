import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTrustedHost } from '../../src/admin/host.ts';

test('isTrustedHost() takes IP literals, localhost, the bound name and no Host at all', () => {
  for (const host of [
    '127.0.0.1',
    '127.0.0.1:9090',
    '10.1.2.3:80',
    '[::1]',
    '[::1]:9090',
    'localhost',
    'LocalHost:9090',
    'Admin.Internal:9090',
  ]) {
    assert.equal(isTrustedHost(host, 'admin.internal'), true, host);
  }
  assert.equal(isTrustedHost(undefined, '127.0.0.1'), true);
});

test('isTrustedHost() refuses names that a web page can own', () => {
  for (const host of [
    'evil.test',
    'evil.test:9090',
    '127.0.0.1.evil.test',
    'localhost.evil.test',
    'a@127.0.0.1',
    '127.0.0.1:80:80',
    '',
    '[evil.test]',
    '127.1',
    '::1',
  ]) {
    assert.equal(isTrustedHost(host, '127.0.0.1'), false, host);
  }
});
