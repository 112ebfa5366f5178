import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRoutePattern, patternKey } from '../../src/config/route-pattern.ts';

const literal = (text: string) => ({ kind: 'literal', text });
const parameter = (name: string) => ({ kind: 'parameter', name });

for (const [text, segments, wildcard] of [
  ['/', [literal('')], false],
  ['/...', [], true],
  ['/a/b', [literal('a'), literal('b')], false],
  ['/a/', [literal('a'), literal('')], false],
  ['/api/...', [literal('api')], true],
  ['/users/:user_id/edit', [literal('users'), parameter('user_id'), literal('edit')], false],
  ['/:a/...', [parameter('a')], true],
  ['/a%20b/~x@y:z', [literal('a%20b'), literal('~x@y:z')], false],
] as const) {
  test(`parseRoutePattern() reads ${text}`, () => {
    assert.deepEqual(parseRoutePattern(text), { text, segments, wildcard });
  });
}

for (const [text, message] of [
  ['', /begin with "\/"/],
  ['api', /begin with "\/"/],
  ['...', /begin with "\/"/],
  ['/a?b', /the path only/],
  ['/a#b', /the path only/],
  ['/a//b', /"\/\/"/],
  ['//', /"\/\/"/],
  ['/a//...', /"\/\/"/],
  ['/a/../b', /clients resolve/],
  ['/.', /clients resolve/],
  ['/.../a', /stands alone at the end/],
  ['/a...', /stands alone at the end/],
  ['/a/*', /write "\/\.\.\."/],
  ['/{id}', /write ":id"/],
  ['/:', /whole segment/],
  ['/:id.json', /whole segment/],
  ['/:1', /whole segment/],
  ['/:id/:ID', /twice/],
  ['/a b', /write "a%20b"/],
  ['/café', /write "caf%C3%A9"/],
  ['/%zz', /matched as it arrives/],
  ['/\ud800', /matched as it arrives/],
] as const) {
  test(`parseRoutePattern() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseRoutePattern(text), { name: 'ThawError', code: 'CONFIG_INVALID', message });
  });
}

const key = (text: string): string => patternKey(parseRoutePattern(text));

test('patternKey() forgets the names of parameters and nothing else', () => {
  assert.equal(key('/a/:x/...'), key('/a/:y/...'));
  const different = ['/', '/...', '/a', '/a/', '/a/...', '/:x', '/:x/...', '/a/:x', '/:x/a'].map(key);
  assert.equal(new Set(different).size, different.length);
});
