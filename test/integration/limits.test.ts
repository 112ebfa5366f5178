import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { concurrently, eventually, freezeGuests, hostRoute, serve } from './support.ts';

const store = await freezeGuests(['js-kitchen', 'as-table']);
const SLOTS = 2;
const LIMIT = 100_000;
const node = await serve(
  {
    threads: 1,
    pool: { slots: SLOTS, memory: '1GiB' },
    routes: [
      hostRoute('js.test', 'js-kitchen', { limits: { requestBody: `${LIMIT}B` } }),
      hostRoute('as.test', 'as-table', { limits: { requestBody: `${LIMIT}B` } }),
      hostRoute('none.test', 'as-table', { limits: { requestBody: '0B' } }),
      hostRoute('quick.test', 'as-table', { limits: { wall: '300ms' } }),
      hostRoute('quick-js.test', 'js-kitchen', { limits: { wall: '300ms' } }),
      hostRoute('few.test', 'as-table', { limits: { concurrency: 2 } }),
    ],
  },
  { store },
);

async function assertServesOn(): Promise<void> {
  for (const [host, answer] of [
    ['js.test', '1\n'],
    ['as.test', '1 1\n'],
  ] as const) {
    assert.equal((await node.send('/counter', { host })).text, answer);
  }
}

const bytesFrom = (bytes: number, chunk: number): Readable =>
  Readable.from(
    (function* () {
      for (let at = 0; at < bytes; at += chunk) yield Buffer.alloc(Math.min(chunk, bytes - at), 'z');
    })(),
    { objectMode: false },
  );

test('a body as long as the limit is taken', async () => {
  for (const host of ['js.test', 'as.test']) {
    for (const headers of [{ 'content-length': String(LIMIT) }, { 'transfer-encoding': 'chunked' }]) {
      const { status, text } = await node.send('/echo', {
        method: 'POST',
        host,
        headers,
        body: bytesFrom(LIMIT, 7000),
      });
      assert.deepEqual([status, text.length], [200, LIMIT]);
    }
  }
});

test('a Content-Length over the limit is answered with 413, before the body and without the guest', async () => {
  for (const [host, length] of [
    ['js.test', LIMIT + 1],
    ['as.test', LIMIT + 1],
    ['none.test', 1],
  ] as const) {
    const connection = await node.connect();
    connection.writeLines('POST /echo HTTP/1.1', `host: ${host}`, `content-length: ${length}`, '');
    assert.match(await connection.until(/requestBody/), /^HTTP\/1\.1 413 Payload Too Large\r\n/i);
  }
});

test('a client that sends on gets to read its 413', async () => {
  for (let round = 0; round < 5; round++) {
    const { status } = await node.send('/hello', {
      method: 'POST',
      host: 'as.test',
      headers: { 'content-length': '3000000' },
      body: bytesFrom(3_000_000, 65_536),
    });
    assert.equal(status, 413);
  }
  await assertServesOn();
});

test('a client that never ends its refused body is cut off', async () => {
  const connection = await node.connect();
  connection.writeLines('POST /hello HTTP/1.1', 'host: as.test', 'content-length: 1000000000000', '');
  const endless = bytesFrom(1_000_000_000_000, 65_536).pipe(connection.socket);
  await eventually('the connection is closed', () => connection.isClosed);
  endless.destroy();
  assert.match(connection.received, /^HTTP\/1\.1 413 /);
});

test('a chunked body over the limit has its connection cut when the guest has answered', async () => {
  const before = node.log().length;
  await assert.rejects(
    node.send('/echo', {
      method: 'POST',
      host: 'as.test',
      headers: { 'transfer-encoding': 'chunked' },
      body: bytesFrom(LIMIT * 3, 10_000),
    }),
  );
  await eventually('the reason is in the log', () =>
    node
      .log()
      .slice(before)
      .some(({ code }) => code === 'REQUEST_BODY_TOO_LARGE'),
  );
  await assertServesOn();
});

test('Expect: 100-continue is answered before the body is sent', async () => {
  const connection = await node.connect();
  connection.writeLines(
    'POST /echo HTTP/1.1',
    'host: as.test',
    'content-length: 5',
    'expect: 100-continue',
    'connection: close',
    '',
  );
  await connection.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
  connection.socket.write('hello');
  assert.match(await connection.untilClosed(), /HTTP\/1\.1 200 OK[^]*hello/);
});

test('Expect: 100-continue of a body over the limit is answered with 413 and no 100', async () => {
  const connection = await node.connect();
  connection.writeLines(
    'POST /echo HTTP/1.1',
    'host: as.test',
    `content-length: ${LIMIT + 1}`,
    'expect: 100-continue',
    '',
  );
  const answer = await connection.untilClosed();
  assert.match(answer, /^HTTP\/1\.1 413 /);
  assert.match(answer, /\r\nconnection: close\r\n/i);
});

test('a guest over its wall time is answered with 504, and its slot serves on', async () => {
  for (const [host, path] of [
    ['quick.test', '/wait?ms=5000'],
    ['quick-js.test', '/sleep?ms=5000'],
  ] as const) {
    const begun = performance.now();
    const answers = await concurrently(SLOTS * 2, SLOTS, () => node.send(path, { host }));
    const took = performance.now() - begun;
    for (const { status, text } of answers)
      assert.deepEqual([status, text], [504, 'the app took too long to answer\n']);
    assert.ok(took >= 550 && took < 3000, `${took} ms for two rounds of 300`);
  }
  await assertServesOn();
});

test('a guest over its wall time in its body has its connection cut', async () => {
  const connection = await node.connect();
  connection.writeLines('POST /echo HTTP/1.1', 'host: quick.test', 'content-length: 10', '', 'half');
  const begun = performance.now();
  const answer = await connection.untilClosed();
  assert.ok(performance.now() - begun < 3000);
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/);
  await assertServesOn();
});

test('a request over the concurrency of its route is answered with 503 at once', async () => {
  const clients = await Promise.all(Array.from({ length: 2 }, () => node.connect()));
  for (const client of clients) client.writeLines('GET /wait?ms=400 HTTP/1.1', 'host: few.test', '');
  await sleep(50);
  const begun = performance.now();
  const { status, headers, text } = await node.send('/hello', { host: 'few.test' });
  assert.ok(performance.now() - begun < 300);
  assert.equal(status, 503);
  assert.equal(headers['retry-after'], '1');
  assert.match(text, /limits\.concurrency/);
  for (const client of clients) await client.until(/waited\n/);
  await eventually('the route takes requests again', async () => {
    return (await node.send('/hello', { host: 'few.test' })).status === 200;
  });
});

test('requests beyond the slots wait for their turn and are served', async () => {
  const begun = performance.now();
  const rounds = 4;
  const answers = await concurrently(SLOTS * rounds, SLOTS * rounds, () =>
    node.send('/wait?ms=200', { host: 'as.test' }),
  );
  const took = performance.now() - begun;
  for (const { status, text } of answers) assert.deepEqual([status, text], [200, 'waited\n']);
  assert.ok(took >= 200 * rounds, `${took} ms: more at a time than there are slots`);
});

test('a request that finds no slot before its wall time is answered with 503', async () => {
  const clients = await Promise.all(Array.from({ length: SLOTS }, () => node.connect()));
  for (const client of clients) client.writeLines('GET /wait?ms=1500 HTTP/1.1', 'host: as.test', '');
  await sleep(100);
  const begun = performance.now();
  const { status, headers, text } = await node.send('/hello', { host: 'quick.test' });
  const took = performance.now() - begun;
  assert.equal(status, 503);
  assert.equal(headers['retry-after'], '1');
  assert.match(text, /no slot/);
  assert.ok(took >= 290 && took < 1300, `${took} ms`);
  assert.match((await node.admin('/readyz')).text, /ok/);
  for (const client of clients) await client.until(/waited\n/);
  await assertServesOn();
});

test('a node whose requests wait for slots is not ready', async () => {
  const clients = await Promise.all(Array.from({ length: SLOTS + 1 }, () => node.connect()));
  for (const client of clients) client.writeLines('GET /wait?ms=400 HTTP/1.1', 'host: as.test', '');
  await eventually('not ready', async () => (await node.admin('/readyz')).status === 503);
  assert.equal((await node.admin('/livez')).status, 200);
  for (const client of clients) await client.until(/waited\n/);
  await eventually('ready again', async () => (await node.admin('/readyz')).status === 200);
});
