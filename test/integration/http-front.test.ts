import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildMirror } from './mirror-guest.ts';
import { eventually, freezeGuests, hostRoute, serve, type RawConnection } from './support.ts';

/** What clients send, as bytes, and what becomes of it. */

const store = await freezeGuests([], { mirror: await buildMirror() });
const route = (host: string, limits: Readonly<Record<string, string | number>> = {}) =>
  hostRoute(host, 'mirror', { limits: { wall: '5s', ...limits } });
const node = await serve(
  {
    threads: 1,
    pool: { slots: 8 },
    routes: [
      route('a.test'),
      route('b.test'),
      route('[::1]'),
      route('127.0.0.1'),
      route('quick.test', { wall: '400ms' }),
    ],
  },
  { store },
);

/** Sends bytes on a connection of its own. @returns what comes back until `pattern` does, or the end */
async function answerTo(bytes: string, pattern = /\r\n\r\n/): Promise<string> {
  const connection = await node.connect();
  connection.socket.write(bytes, 'latin1');
  await eventually('an answer', () => pattern.test(connection.received) || connection.isClosed);
  const { received } = connection;
  connection.socket.destroy();
  return received;
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? Number.NaN);

/** Lines of a head and the empty one. */
const head = (...lines: readonly string[]): string => `${lines.join('\r\n')}\r\n\r\n`;
const get = (target: string, ...headers: readonly string[]): string =>
  head(`GET ${target} HTTP/1.1`, 'host: a.test', ...headers);
const post = (headers: readonly string[], body: string): string =>
  head('POST /consumed HTTP/1.1', 'host: a.test', ...headers) + body;
const CHUNKED = ['transfer-encoding: chunked'];

/** The end of the mirror's answer, when a request asks for `connection: close`. */
async function mirrored(bytes: string): Promise<string[]> {
  const answer = await answerTo(bytes, /\r\n\r\n[^]*thaw-client-addr:.*\n/);
  assert.equal(statusOf(answer), 200, answer);
  return answer.slice(answer.indexOf('\r\n\r\n') + 4).split('\n');
}

const refusals: readonly (readonly [status: number, what: string, bytes: string])[] = [
  // Node's part.
  [400, 'Content-Length and Transfer-Encoding', post(['content-length: 5', ...CHUNKED], '0\r\n\r\n')],
  [400, 'two Content-Lengths', post(['content-length: 1', 'content-length: 1'], 'a')],
  [400, 'a Content-Length with a sign', post(['content-length: +1'], 'a')],
  [400, 'a Content-Length that is a list', post(['content-length: 1, 1'], 'a')],
  [400, 'a space before the colon', post(['transfer-encoding : chunked'], '0\r\n\r\n')],
  [400, 'a folded header', get('/m', 'x: a', ' b')],
  [400, 'lines that end in LF', 'GET /m HTTP/1.1\nhost: a.test\n\n'],
  [400, 'one line that ends in LF', 'GET /m HTTP/1.1\r\nhost: a.test\nx: a\r\n\r\n'],
  [400, 'a CR in a header', get('/m', 'x: a\rb: c')],
  [400, 'a NUL in a header', get('/m', 'x: a\0b')],
  [400, 'a NUL in a name', get('/m', 'x\0: a')],
  [400, 'a negative chunk size', post(CHUNKED, '-1\r\na\r\n0\r\n\r\n')],
  [400, 'a chunk size with 0x', post(CHUNKED, '0x1\r\na\r\n0\r\n\r\n')],
  [400, 'a chunk size over 64 bits', post(CHUNKED, 'fffffffffffffffff\r\na\r\n0\r\n\r\n')],
  [400, 'a chunk longer than its size', post(CHUNKED, '1\r\nab\r\n0\r\n\r\n')],
  [400, 'a chunk size that ends in LF', post(CHUNKED, '1\na\r\n0\r\n\r\n')],
  [400, 'chunked that is not last', post(['transfer-encoding: chunked, gzip'], '0\r\n\r\n')],
  [400, 'no Host', head('GET /m HTTP/1.1')],
  [431, '20 KiB of headers', get('/m', `x: ${'a'.repeat(20_000)}`)],
  [431, 'a target of 20 KiB', get(`/m${'a'.repeat(20_000)}`)],
  [431, '3,000 headers', get('/m', ...Array.from({ length: 3000 }, (_, index) => `x${index}: a`))],
  [413, 'a chunk extension of 20 KB', post(CHUNKED, `1;${'a'.repeat(20_000)}\r\na\r\n0\r\n\r\n`)],
  // thaw's part.
  [431, '1,100 headers of a few bytes', get('/m', ...Array.from({ length: 1100 }, () => 'x: a'))],
  [400, 'two Hosts', get('/m', 'host: a.test')],
  [400, 'two Hosts in other casing', get('/m', 'HOST: b.test')],
  [400, 'a second Host behind 1,022 others', get('/m', ...Array.from({ length: 1022 }, () => 'x:'), 'host: b.test')],
  [400, 'an empty Host', head('GET /m HTTP/1.1', 'host:')],
  ...[
    'a/b@c',
    'u@a.test',
    'a.test/b',
    'a.test#b',
    'a.test?b',
    'a b',
    'a.test, b.test',
    'a..test',
    '.a.test',
    'a.test:80:80',
    'a.test:65536',
    'a.test:x',
    '[::1',
    '[::g]',
    '[1.2.3.4]',
    '::1',
    'a.test%00',
    '\xe4.test',
    '*',
    'a'.repeat(300),
  ].map((host) => [400, `the Host ${host}`, head('GET /m HTTP/1.1', `host: ${host}`)] as const),
  [400, 'a target with a user', head('GET http://u@a.test/m HTTP/1.1', 'host: a.test')],
  [400, 'an empty authority in the target', head('GET http:///m HTTP/1.1', 'host: a.test')],
  [400, 'a target of another scheme', head('GET ftp://a.test/m HTTP/1.1', 'host: a.test')],
  [400, 'an absolute target and a bad Host', head('GET http://a.test/m HTTP/1.1', 'host: a/b@c')],
  [400, 'an asterisk for GET', get('*')],
  [400, 'an authority for GET', get('a.test:80')],
  [400, 'a fragment', get('/m#b')],
  [400, 'a target that is not ASCII', get('/m\xc3\xa9')],
  [400, 'a control character in the target', get('/m\x01')],
  [400, 'a tab in the target', get('/m\tb')],
  [400, 'DEL in the target', get('/m\x7f')],
  [400, 'a space in the target', get('/m b')],
  [505, 'HTTP/0.9 without a word of it', 'GET /m\r\n\r\n'],
  [505, 'HTTP/0.9', head('GET /m HTTP/0.9', 'host: a.test')],
  [505, 'HTTP/2.0', head('GET /m HTTP/2.0', 'host: a.test')],
  [400, 'the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  [400, 'HTTP/1.0 with Transfer-Encoding', head('POST /c HTTP/1.0', 'host: a.test', ...CHUNKED) + '0\r\n\r\n'],
  [501, 'a Transfer-Encoding that nobody decodes', post(['transfer-encoding: gzip, chunked'], '0\r\n\r\n')],
  [501, 'TRACE', head('TRACE /m HTTP/1.1', 'host: a.test')],
  [501, 'CONNECT', head('CONNECT a.test:80 HTTP/1.1', 'host: a.test')],
  [417, 'an expectation that nobody knows', post(['expect: 200-maybe', 'content-length: 1'], 'a')],
];

describe('what breaks the rules is refused', () => {
  for (const [status, what, bytes] of refusals) {
    test(`${status}: ${what}`, async () => {
      const answer = await answerTo(bytes);
      assert.equal(statusOf(answer), status, answer);
    });
  }
});

test('after a head that breaks the rules nothing more is read from the connection', async () => {
  for (const first of [get('/m', 'host: a.test'), get('/m#b'), head('TRACE /m HTTP/1.1', 'host: a.test')]) {
    const connection = await node.connect();
    connection.socket.write(first + get('/mirrored'));
    const answers = await connection.untilClosed();
    assert.equal(answers.match(/HTTP\/1\.1 /g)?.length, 1, answers);
    assert.match(answers, /^HTTP\/1\.1 (400|501) [^]*\r\nconnection: close\r\n/i);
  }
});

test('CONNECT behind a request that is still served is not answered in its place', async () => {
  const connection = await node.connect();
  connection.socket.write(get('/m') + head('CONNECT a.test:80 HTTP/1.1', 'host: a.test'));
  assert.doesNotMatch(await connection.untilClosed(), /501/);
});

describe('guests see one authority and a path', () => {
  for (const [what, bytes, path, authority] of [
    ['Host', get('/m?x=1'), '/m?x=1', 'a.test'],
    ['Host with a port', head('GET /m HTTP/1.1', 'host: A.test:8080'), '/m', 'A.test:8080'],
    ['Host that is an IPv6 address', head('GET /m HTTP/1.1', 'host: [::1]:80'), '/m', '[::1]:80'],
    ['an absolute target', head('GET http://b.test:81/m?x HTTP/1.1', 'host: b.test:81'), '/m?x', 'b.test:81'],
    ['an absolute target against Host', head('GET HTTP://b.test/m HTTP/1.1', 'host: a.test'), '/m', 'b.test'],
    ['percent-encoded bytes', get('/m%00%0d%0a%2F..%ff/../?%zz'), '/m%00%0d%0a%2F..%ff/../?%zz', 'a.test'],
    ['characters that browsers send as they are', get('/m?"<>\\^`{|}'), '/m?"<>\\^`{|}', 'a.test'],
    ['HTTP/1.0', head('GET /m HTTP/1.0', 'host: a.test'), '/m', 'a.test'],
    ['HTTP/1.0 without Host', head('GET /m HTTP/1.0'), '/m', node.url.host],
  ] as const) {
    test(what, async () => {
      const lines = await mirrored(bytes);
      assert.deepEqual(lines.slice(0, 2), [path, authority]);
      assert.ok(lines.every((line) => !/^host:/i.test(line)));
    });
  }

  test('an absolute target without a path', async () => {
    const answer = await answerTo(head('GET http://b.test?m HTTP/1.1', 'host: a.test'), /\n/);
    // Nothing stands behind the slash: the guest's table of paths has no such entry, and mirrors all the same.
    assert.equal(statusOf(answer), 200);
  });
});

test('OPTIONS * is answered by the node', async () => {
  assert.equal(statusOf(await answerTo(head('OPTIONS * HTTP/1.1', 'host: a.test'))), 204);
});

test('header names with an underscore, and those of the connection, do not reach the guest', async () => {
  const lines = await mirrored(
    get(
      '/m',
      'x_a: 1',
      'X_Forwarded_For: 1',
      '_: 1',
      'thaw-client-addr: 1',
      'keep-alive: 1',
      'proxy-connection: 1',
      'x-b: 1',
    ),
  );
  const names = lines.slice(2).map((line) => line.split(':')[0]);
  assert.deepEqual(names, ['x-b', 'thaw-matched-route', 'thaw-client-addr', '']);
  assert.ok(!lines.includes('thaw-client-addr:1'));
});

test('a request for an upgrade is served without one', async () => {
  for (const protocol of ['h2c', 'websocket']) {
    const headers = [`connection: upgrade, http2-settings`, `upgrade: ${protocol}`, 'http2-settings: AAMAAABkAAQAAP__'];
    const lines = await mirrored(get('/m', ...headers));
    assert.ok(lines.every((line) => !/^(upgrade|http2-settings|connection):/i.test(line)));
  }
});

test('pipelined requests are answered in their order', async () => {
  const connection = await node.connect();
  const paths = Array.from({ length: 50 }, (_, index) => `/m${index}`);
  connection.socket.write(post(['content-length: 3'], 'abc') + paths.map((path) => get(path)).join(''));
  const answers = await connection.until(/\/m49\n[^]*thaw-client-addr/);
  assert.deepEqual(answers.match(/^\/m\d+$/gm), paths);
  assert.ok(answers.indexOf('/consumed') < answers.indexOf('/m0'));
});

test('a guest cannot split its response', async () => {
  const answer = await answerTo(get('/split'), /\r\n\r\n\d\d/);
  assert.match(answer, /\r\n\r\n11$/);
  assert.doesNotMatch(answer, /smuggled/);
});

test('the thousandth request is the last of its connection', async () => {
  const connection = await node.connect();
  for (let sent = 50; sent <= 1050; sent += 50) {
    connection.socket.write(get('/m').repeat(50));
    const isHere = (): boolean => (connection.received.match(/thaw-client-addr/g)?.length ?? 0) >= sent;
    await eventually('the answers', () => isHere() || connection.isClosed);
  }
  const answers = connection.received;
  assert.equal(answers.match(/HTTP\/1\.1 200 OK/g)?.length, 1000);
  assert.equal(answers.match(/connection: close/gi)?.length, 1);
});

/** How long it takes until the node closes the connection. */
async function lifeOf(connection: RawConnection): Promise<number> {
  const begun = performance.now();
  await eventually('the node closes the connection', () => connection.isClosed, 15_000);
  return performance.now() - begun;
}

describe('slow clients', { concurrency: true }, () => {
  test('headers that do not end are cut off in under 12 s', async () => {
    const [silent, slow] = await Promise.all([node.connect(), node.connect()]);
    slow.writeLines('GET /m HTTP/1.1', 'host: a.test');
    const more = setInterval(() => slow.socket.write('x: a\r\n'), 500);
    const lives = await Promise.all([lifeOf(silent), lifeOf(slow)]);
    clearInterval(more);
    for (const life of lives) assert.ok(life > 9000 && life < 12_000, `${life} ms`);
    assert.equal(statusOf(slow.received), 408);
  });

  test('an idle connection is closed', async () => {
    const connection = await node.connect();
    connection.socket.write(get('/m'));
    await connection.until(/thaw-client-addr/);
    const life = await lifeOf(connection);
    assert.ok(life > 4000 && life < 8000, `${life} ms`);
  });

  test('a body that does not end is cut off at the wall limit, also when bytes trickle in', async () => {
    const connection = await node.connect();
    connection.writeLines('POST /consumed HTTP/1.1', 'host: quick.test', 'content-length: 1000', '');
    const more = setInterval(() => connection.socket.write('a'), 50);
    const begun = performance.now();
    await connection.until(/^HTTP\/1\.1 504 /);
    assert.ok(performance.now() - begun < 2000);
    const life = await lifeOf(connection);
    clearInterval(more);
    assert.ok(life < 4000, `${life} ms`);
  });

  test('a client that does not read is cut off at the wall limit', async () => {
    const connection = await node.connect();
    connection.socket.pause();
    connection.writeLines('GET /big HTTP/1.1', 'host: quick.test', '');
    await sleep(1500);
    connection.socket.resume();
    const life = await lifeOf(connection);
    assert.ok(life < 1000, `${life} ms`);
    assert.match(connection.received, /^HTTP\/1\.1 200 /);
    assert.ok(connection.received.length < 64 * 1_048_576);
  });

  test('a client that does not read what it is refused with is cut off', async () => {
    const connection = await node.connect();
    connection.socket.pause();
    // Together the answers are more than the system buffers for a connection.
    const refused = head(`GET /${'a'.repeat(15_000)} HTTP/1.1`, 'host: nowhere.test');
    for (let sent = 0; sent < 900; sent++) connection.socket.write(refused);
    await sleep(8500);
    connection.socket.resume();
    const life = await lifeOf(connection);
    assert.ok(life < 1000, `${life} ms`);
  });

  for (const [threads, limits] of [
    [2, { connections_per_address: 20 }],
    [1, { connections: 20, connections_per_address: 0 }],
  ] as const) {
    test(`connections over ${JSON.stringify(limits)} are closed, and a closed one makes room: ${threads} threads`, async () => {
      const small = await serve({ threads, limits, routes: [route('a.test')] }, { store });
      const tries = await Promise.allSettled(Array.from({ length: 30 }, () => small.connect()));
      const open = tries.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
      for (const connection of open) connection.socket.write(get('/m'));
      await eventually('each is closed or answered', () =>
        open.every(({ isClosed, received }) => isClosed || received.includes('thaw-client-addr')),
      );
      const answered = open.filter(({ received }) => received !== '');
      assert.equal(answered.length, 20);
      assert.ok(small.log().some(({ msg }) => msg === `connections over limits.${Object.keys(limits)[0]} are closed`));
      answered[0]?.socket.destroy();
      await eventually('there is room again', async () => {
        const next = await small.connect().catch(() => null);
        if (next === null) return false;
        next.socket.write(get('/m'));
        await eventually('it is closed or answered', () => next.isClosed || next.received !== '');
        return next.received !== '';
      });
      await small.stop();
    });
  }
});
