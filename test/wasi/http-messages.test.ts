import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fields } from '../../src/wasi/http-fields.ts';
import { OutgoingRequest } from '../../src/wasi/http-messages.ts';

test('an authority is a host and a port, and no longer than such can be', () => {
  const request = new OutgoingRequest(Fields.empty());
  const longest = `${'a.'.repeat(509)}test:1`;
  assert.equal(longest.length, 1024);
  for (const authority of ['a.test', 'a.test:81', '[::1]:81', '127.0.0.1', 'b\u00fccher.test', longest, undefined]) {
    assert.equal(request.setAuthority(authority).tag, 'ok', String(authority));
    assert.equal(request.authority, authority);
  }
  // Of characters that the URL parser takes, but only after a tenth of a second.
  const slow = String.fromCodePoint(...Array.from({ length: 5000 }, (_, index) => 0x4e00 + index));
  for (const authority of ['a.test/', 'user@a.test', 'a.test?q', 'a b', 'a.test:port', '[::1', `a${longest}`, slow]) {
    assert.equal(request.setAuthority(authority).tag, 'err', authority.slice(0, 20));
    assert.equal(request.authority, undefined);
  }
});
