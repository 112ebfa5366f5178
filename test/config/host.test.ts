import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalHost, parseHostPattern, parseListen } from '../../src/config/host.ts';

const invalid = (message: RegExp) => ({ name: 'ThawError', code: 'CONFIG_INVALID', message });

for (const [host, canonical] of [
  ['WWW.Example.Test', 'www.example.test'],
  ['example.test.', 'example.test'],
  ['bücher.test', 'xn--bcher-kva.test'],
  ['0x7f.0.0.1', '127.0.0.1'],
  ['017700000001', '127.0.0.1'],
  ['[0:0::1]', '[::1]'],
  ['', null],
  ['.', null],
  ['a..b', null],
  ['a:80', null],
  ['a/b', null],
  ['a@b', null],
  ['a\tb', null],
  ['[::1]:80', null],
  ['[::1', null],
  ['[::1%25eth0]', null],
  ['1.2.3.256', null],
  [`${'a'.repeat(64)}.test`, null],
  [`${'a.'.repeat(130)}test`, null],
] as const) {
  test(`canonicalHost() makes ${JSON.stringify(canonical)} of ${JSON.stringify(host.slice(0, 70))}`, () => {
    assert.equal(canonicalHost(host), canonical);
  });
}

for (const [text, host] of [
  ['WWW.Example.Test.', 'www.example.test'],
  ['*.Example.Test', '*.example.test'],
  ['[::0001]', '[::1]'],
  ['192.0.2.1', '192.0.2.1'],
] as const) {
  test(`parseHostPattern() reads ${text}`, () => assert.equal(parseHostPattern(text), host));
}

for (const [text, message] of [
  ['*', /without a host/],
  ['www.example.test:8080', /leave out the port/],
  ['[::1]:80', /leave out the port/],
  ['*.example.test:80', /leave out the port/],
  ['www.*.test', /whole first label/],
  ['*example.test', /whole first label/],
  ['*.192.0.2.1', /no names below/],
  ['http://example.test', /is not a host/],
  ['', /is not a host/],
] as const) {
  test(`parseHostPattern() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseHostPattern(text), invalid(message));
  });
}

for (const [text, address] of [
  ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
  ['[::]:0', { host: '::', port: 0 }],
  ['localhost:65535', { host: 'localhost', port: 65_535 }],
] as const) {
  test(`parseListen() reads ${text}`, () => assert.deepEqual(parseListen(text), address));
}

for (const text of ['8080', ':8080', '127.0.0.1', '::1:80', '*:80', 'http://a:80', 'a:b', '1.2.3.256:80', 'a:']) {
  test(`parseListen() refuses ${text}`, () => {
    assert.throws(() => parseListen(text), invalid(/write host:port, such as "127\.0\.0\.1:8080"/));
  });
}

test('parseListen() refuses a port over 65535', () => {
  assert.throws(() => parseListen('127.0.0.1:65536'), invalid(/over 65535/));
});
