import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freezeGuests, serve, type Sent } from './support.ts';

const store = await freezeGuests(['js-kitchen', 'as-table']);
const node = await serve(
  {
    routes: [
      { route: '/headers', snapshot: 'js-kitchen' },
      { route: '/users/:id/posts/:post', snapshot: 'js-kitchen' },
      { route: '/url', snapshot: 'js-kitchen' },
      { route: '/method', snapshot: 'js-kitchen', methods: ['GET', 'POST'] },
      { route: '/method', snapshot: 'js-kitchen', methods: ['DELETE'] },
      { route: '/hello', snapshot: 'as-table' },
      { route: '/hello', snapshot: 'js-kitchen', host: 'www.js.test' },
      { route: '/hello', snapshot: 'js-kitchen', host: '*.wild.test' },
      { route: '/headers/...', snapshot: 'js-kitchen', host: 'below.test' },
    ],
  },
  { store },
);

const JS = 'hello from JavaScript\n';
const AS = 'hello from AssemblyScript\n';

/** What the guest sees. */
async function headersOf(sent: Sent = {}): Promise<Record<string, string>> {
  const { status, text } = await node.send('/headers', sent);
  assert.equal(status, 200);
  return JSON.parse(text) as Record<string, string>;
}

test('a path that no route has is answered with 404', async () => {
  for (const path of ['/', '/hello/', '/hello/x', '//hello', '/Hello', '/users/1/posts', '/users//posts/1']) {
    const { status } = await node.send(path);
    assert.equal(status, 404, path);
  }
  const { status, text, headers } = await node.send('/nowhere');
  assert.equal(status, 404);
  assert.match(text, /no route/);
  assert.equal(headers['content-type'], 'text/plain; charset=utf-8');
});

test('a method that no route of the path takes is answered with 405 and what they take', async () => {
  const { status, headers } = await node.send('/method', { method: 'PUT' });
  assert.equal(status, 405);
  assert.equal(headers.allow, 'DELETE, GET, HEAD, POST');
});

test('a request goes to the route of its method', async () => {
  for (const method of ['GET', 'POST', 'DELETE']) {
    const { status, text } = await node.send('/method', { method });
    assert.deepEqual([status, text], [200, `${method}\n`]);
  }
  assert.equal((await node.send('/method', { method: 'HEAD' })).status, 200);
});

test('a request goes to the route of its host', async () => {
  for (const [host, answer] of [
    ['www.js.test', JS],
    ['www.js.test:8080', JS],
    ['WWW.JS.test.', JS],
    ['a.wild.test', JS],
    ['a.b.wild.test', JS],
    ['wild.test', AS],
    ['js.test', AS],
    ['127.0.0.1', AS],
  ] as const) {
    const { status, text } = await node.send('/hello', { host });
    assert.deepEqual([status, text], [200, answer], host);
  }
});

test('the guest sees the path, the query and the host as the client sent them', async () => {
  const { text } = await node.send('/url?a=%2F&b=+', { host: 'some.test:81' });
  assert.equal(text, 'http://some.test:81/url?a=%2F&b=+\n');
});

test('the guest is told its route and its client', async () => {
  const connection = await node.connect();
  connection.writeLines('GET /headers HTTP/1.1', 'host: any.test', 'connection: close', '');
  const answer = await connection.untilClosed();
  const headers = JSON.parse(answer.slice(answer.indexOf('{'))) as Record<string, string>;
  assert.equal(headers['thaw-matched-route'], '/headers');
  assert.match(headers['thaw-client-addr'] ?? '', /^127\.0\.0\.1:[1-9]\d*$/);
});

test('node headers that a client makes up do not reach the guest', async () => {
  const headers = await headersOf({
    headers: {
      'thaw-matched-route': '/made/up',
      'Thaw-Client-Addr': '192.0.2.1:1',
      'THAW-PATH-MATCH-id': 'made up',
      'thaw-anything': 'made up',
      'x-thaw-own': 'kept',
    },
  });
  assert.equal(headers['thaw-matched-route'], '/headers');
  assert.match(headers['thaw-client-addr'] ?? '', /^127\.0\.0\.1:\d+$/);
  assert.equal(headers['thaw-path-match-id'], undefined);
  assert.equal(headers['thaw-anything'], undefined);
  assert.equal(headers['x-thaw-own'], 'kept');
});

test("headers that are the connection's do not reach the guest", async () => {
  const headers = await headersOf({
    method: 'POST',
    headers: {
      connection: 'keep-alive, x-hop',
      'keep-alive': 'timeout=5',
      'proxy-authorization': 'Basic eDp5',
      'proxy-connection': 'keep-alive',
      'http2-settings': 'AAMAAABk',
      'transfer-encoding': 'chunked',
      accept: 'text/plain',
    },
    body: 'x',
  });
  assert.deepEqual(
    Object.keys(headers)
      .filter((name) => !name.startsWith('thaw-'))
      .toSorted(),
    ['accept'],
  );
});

test('a header keeps its bytes', async () => {
  const { 'x-latin': value } = await headersOf({ headers: { 'x-latin': 'caf\u00e9' } });
  assert.equal(value, 'caf\u00e9');
});
