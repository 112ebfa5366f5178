import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { isAllowed, outboundTarget, parseAllowedHosts } from '../../src/config/outbound.ts';
import { ThawError } from '../../src/errors.ts';

/** What the guest asks for, as the URL's scheme and authority. */
const allows = (list: readonly string[], url: string): boolean => {
  const [scheme = '', authority = ''] = url.split('://');
  const target = outboundTarget(scheme, authority);
  return target !== null && isAllowed(parseAllowedHosts(list), target);
};

const TABLE: readonly (readonly [entry: string, yes: readonly string[], no: readonly string[]])[] = [
  [
    'https://api.example.test',
    [
      'https://api.example.test',
      'https://API.Example.Test.',
      'https://api.example.test:443',
      'HTTPS://api.example.test',
    ],
    [
      'http://api.example.test',
      'https://api.example.test:8443',
      'https://example.test',
      'https://x.api.example.test',
      'https://api.example.test.evil.test',
      'https://api.example.test@evil.test',
      'https://evil.test#@api.example.test',
      'https://evil.test\\.api.example.test',
      'https://api.example.test/path',
      'https://api.example.test:0',
      'https://api.example.test:70000',
      'ftp://api.example.test',
    ],
  ],
  ['HTTPS://API.Example.Test./', ['https://api.example.test'], ['http://api.example.test']],
  [
    'https://*.example.test:8443',
    ['https://a.example.test:8443', 'https://a.b.example.test:8443'],
    ['https://example.test:8443', 'https://a.example.test', 'https://aexample.test:8443', 'https://.example.test:8443'],
  ],
  ['http://*', ['http://a.test', 'http://127.0.0.1', 'http://[::1]'], ['https://a.test', 'http://a.test:81']],
  ['*://a.test:*', ['http://a.test', 'https://a.test', 'https://a.test:65535'], ['http://b.test']],
  ['*://*:*', ['http://a.test:1', 'https://[::1]:65535'], ['ws://a.test']],
  [
    'http://10.0.0.0/8',
    [
      'http://10.1.2.3',
      'http://0xa.1.2.3',
      'http://012.1.2.3',
      'http://167772161',
      'http://[::ffff:10.1.2.3]',
      'http://[::ffff:a01:203]',
    ],
    [
      'http://11.0.0.1',
      'http://10.1.2.3:8080',
      'http://ten.example.test',
      'http://[a00::1]',
      'http://10.0.0.1.example.test',
    ],
  ],
  ['http://10.0.0.0/8:8080', ['http://10.1.2.3:8080'], ['http://10.1.2.3']],
  ['http://[fd00::]/8', ['http://[fd12:3456::1]', 'http://[FD00:0::1]'], ['http://[fe80::1]', 'http://253.0.0.1']],
  ['http://[::ffff:10.0.0.0]/104', ['http://10.1.2.3'], ['http://11.1.2.3']],
  [
    'http://0x7f.1',
    ['http://127.0.0.1', 'http://2130706433', 'http://127.1', 'http://[::ffff:127.0.0.1]'],
    ['http://127.0.0.2', 'http://[::1]'],
  ],
  ['http://[::1]:8080', ['http://[0:0::0:1]:8080'], ['http://[::1]', 'http://127.0.0.1:8080']],
  [
    'https://bücher.example.test',
    ['https://xn--bcher-kva.example.test', 'https://BÜCHER.example.test'],
    ['https://bucher.example.test'],
  ],
  ['https://*.bücher.test', ['https://a.xn--bcher-kva.test'], ['https://xn--bcher-kva.test']],
  ['http://a.test:8000..8010', ['http://a.test:8000', 'http://a.test:8009'], ['http://a.test:8010', 'http://a.test']],
  ['http://a.test:8000..65536', ['http://a.test:65535'], ['http://a.test:7999']],
];

for (const [entry, yes, no] of TABLE) {
  test(`isAllowed() with ${entry}`, () => {
    for (const url of yes) assert.equal(allows([entry], url), true, url);
    for (const url of no) assert.equal(allows([entry], url), false, url);
  });
}

test('isAllowed() denies everything when the list is empty, and allows what any entry allows', () => {
  assert.equal(allows([], 'https://a.test'), false);
  assert.equal(allows(['http://b.test', 'https://a.test'], 'https://a.test'), true);
});

for (const [entry, message] of [
  ['api.example.test', /no scheme/],
  ['', /no scheme/],
  ['*', /no scheme/],
  ['insecure:allow-all', /no scheme/],
  ['htps://a.test', /did you mean "https"\?/],
  ['redis://a.test', /must be http, https or \*/],
  ['https://a.test/v1', /a path is not allowed/],
  ['https://a.test:443/v1', /a path is not allowed/],
  ['https://a.test/8', /a path is not allowed/],
  ['https://u:p@a.test', /user information/],
  ['https://', /scheme:\/\/host/],
  ['https://a b.test', /scheme:\/\/host/],
  ['https://a..test', /scheme:\/\/host/],
  ['https://a.test?x', /scheme:\/\/host/],
  ['https://api.*.test', /wildcard/],
  ['https://**.test', /wildcard/],
  ['https://*.10.0.0.1', /no names below/],
  ['http://self', /"self"/],
  ['*://a.test', /needs a port/],
  ['https://a.test:', /not a port/],
  ['https://a.test:0', /not a port/],
  ['https://a.test:65536', /not a port/],
  ['https://a.test:9..9', /empty/],
  ['https://a.test:9..8', /empty/],
  ['https://a.test:9..x', /not a port/],
  ['http://10.0.0.0/33', /prefix length from 0 to 32/],
  ['http://[::ffff:10.0.0.0]/8', /prefix length from 96 to 128/],
  ['http://10.1.2.3/8', /lies in is 10\.0\.0\.0\/8/],
  ['http://[fd12::1]/8', /lies in is \[fd00::\]\/8/],
  ['http://fd00::/8', /in brackets/],
  ['http://[::1', /scheme:\/\/host/],
  ['https://{a,b}.test', /scheme:\/\/host|outbound host/],
] as const) {
  test(`parseAllowedHosts() refuses ${JSON.stringify(entry)}`, () => {
    assert.throws(() => parseAllowedHosts([entry]), { name: 'ThawError', code: 'CONFIG_INVALID', message });
  });
}

test('outboundTarget() names what is connected to', () => {
  assert.deepEqual(outboundTarget('HTTPS', 'API.Example.Test.'), {
    scheme: 'https',
    host: 'api.example.test',
    port: 443,
    address: null,
  });
  assert.deepEqual(outboundTarget('http', '0177.1:8080'), {
    scheme: 'http',
    host: '127.0.0.1',
    port: 8080,
    address: [127, 0, 0, 1],
  });
  assert.deepEqual(outboundTarget('http', '[::ffff:127.0.0.1]')?.address, [127, 0, 0, 1]);
});

test('an allow-list survives a structured clone: it goes to other threads', () => {
  const list = parseAllowedHosts(['http://10.0.0.0/8', 'https://*.a.test']);
  const target = outboundTarget('http', '10.9.8.7');
  assert.ok(target !== null && isAllowed(structuredClone(list), target));
});

test('parseAllowedHosts() and outboundTarget() throw only ThawErrors, whatever the text', () => {
  const piece = fc.constantFrom(
    'http',
    'https',
    '*',
    '://',
    ':',
    '/',
    '.',
    '..',
    '[',
    ']',
    '::',
    '1',
    '255',
    'a',
    '@',
    '%',
    '٣',
    '。',
    '\t',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 10 }).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, text, (entry, authority) => {
      outboundTarget('http', authority);
      try {
        parseAllowedHosts([entry]);
      } catch (error) {
        assert.ok(error instanceof ThawError);
      }
    }),
    { numRuns: 2000 },
  );
});

test('outboundTarget() reads an authority as the URL parser does, or not at all', () => {
  const piece = fc.constantFrom(
    'a',
    'b.test',
    '.',
    ':',
    '80',
    '[::1]',
    '@',
    '/',
    '#',
    '?',
    '\\',
    ' ',
    '\n',
    '%41',
    '0x7f',
    '127.1',
    'é',
  );
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), (parts) => {
      const authority = parts.join('');
      const target = outboundTarget('http', authority);
      if (target === null) return;
      const url = new URL(`http://${authority}/`);
      assert.equal(url.hostname.replace(/\.$/, ''), target.host);
      assert.equal(Number(url.port || 80), target.port);
      assert.equal(url.username + url.password + url.search + url.hash + url.pathname, '/');
    }),
    { numRuns: 2000 },
  );
});
