import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { concurrently, eventually, freezeGuests, hostRoute, serve } from './support.ts';

const store = await freezeGuests(['js-kitchen', 'as-table', 'wat-preview1']);
const node = await serve(
  {
    threads: 1,
    pool: { slots: 40, memory: '1GiB' },
    routes: [
      hostRoute('js.test', 'js-kitchen'),
      hostRoute('as.test', 'as-table'),
      hostRoute('preview1.test', 'wat-preview1'),
    ],
  },
  { store },
);

test('the head leaves when the guest sets its response, before any of the body', async () => {
  const connection = await node.connect();
  connection.writeLines('POST /echo HTTP/1.1', 'host: as.test', 'content-length: 5', '');
  const head = await connection.until(/\r\n\r\n/);
  assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
  assert.ok(head.endsWith('\r\n\r\n'), 'no body yet');
  connection.socket.write('hello');
  await connection.until(/\r\n5\r\nhello\r\n0\r\n\r\n$/);
});

test('each part of a body leaves as the guest writes it', async () => {
  const connection = await node.connect();
  connection.writeLines('POST /echo HTTP/1.1', 'host: as.test', 'transfer-encoding: chunked', '');
  for (const part of ['one', 'second', 'third part']) {
    connection.writeLines(part.length.toString(16), part);
    await connection.until(new RegExp(`\r\n${part.length.toString(16)}\r\n${part}\r\n$`));
  }
  connection.writeLines('0', '');
  await connection.until(/\r\n0\r\n\r\n$/);
});

test('a guest goes on after its response', async () => {
  const begun = performance.now();
  const { status, text } = await node.send('/after?ms=1500', { host: 'js.test' });
  const answeredAfter = performance.now() - begun;
  assert.deepEqual([status, text], [200, 'answered\n']);
  const line = 'work after the response is done';
  assert.ok(!node.log().some(({ msg }) => msg === line), `answered after ${answeredAfter} ms`);
  await eventually('the work is done', () => node.log().some(({ msg }) => msg === line));
  assert.ok(performance.now() - begun >= 1500);
});

test('a response that is whole at once has a Content-Length', async () => {
  const { headers, text } = await node.send('/hello', { host: 'as.test' });
  assert.equal(headers['content-length'], String(text.length));
  assert.equal(headers['transfer-encoding'], undefined);
});

test('trailers arrive', async () => {
  const { text, trailers, headers } = await node.send('/trailers', { host: 'as.test' });
  assert.equal(text, 'trailers follow\n');
  assert.deepEqual({ ...trailers }, { 'x-checksum': '42' });
  assert.equal(headers['transfer-encoding'], 'chunked');
});

test('several fields of one name arrive as several', async () => {
  const { headers } = await node.send('/set-headers', { host: 'js.test' });
  assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2']);
  assert.equal(headers['x-one'], '1');
});

test('HEAD has the head of GET and no body', async () => {
  for (const host of ['js.test', 'as.test', 'preview1.test']) {
    const got = await node.send('/hello', { host });
    const head = await node.send('/hello', { host, method: 'HEAD' });
    assert.deepEqual([head.status, head.text], [200, '']);
    assert.equal(head.headers['content-type'], got.headers['content-type']);
    assert.ok([undefined, got.headers['content-length']].includes(head.headers['content-length']), `${host} says 0`);
  }
});

test('a connection serves on after HEAD, 204, 304 and empty bodies', async () => {
  const connection = await node.connect();
  const requests = [
    ['js.test', 'HEAD /hello', 200],
    ['js.test', 'GET /status?code=204', 204],
    ['js.test', 'GET /status?code=304', 304],
    ['as.test', 'GET /status?code=204', 204],
    ['as.test', 'GET /status?code=304', 304],
    ['as.test', 'GET /status?code=200', 200],
    ['as.test', 'HEAD /trailers', 200],
    ['as.test', 'HEAD /wait?ms=5', 200],
    ['js.test', 'GET /status?code=418', 418],
  ] as const;
  for (const [host, request] of requests) {
    const before = connection.received.length;
    connection.writeLines(`${request} HTTP/1.1`, `host: ${host}`, '');
    await eventually(`an answer to ${request}`, () => connection.received.includes('\r\n\r\n', before));
  }
  const heads = connection.received.split(/(?<=\r\n\r\n)/);
  assert.deepEqual(
    heads.map((head) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])),
    requests.map(([, , status]) => status),
  );
  for (const head of heads.filter((head) => head.startsWith('HTTP/1.1 204 '))) {
    assert.doesNotMatch(head, /content-length|transfer-encoding/i);
  }
});

test('HTTP/1.0 gets its body without chunks, and its connection closed', async () => {
  for (const [request, body] of [
    ['GET /hello', 'hello from JavaScript\n'],
    ['GET /stream?bytes=3', '\x00\x01\x02'],
    ['GET /sleep?ms=5', 'slept\n'],
  ] as const) {
    const connection = await node.connect();
    connection.writeLines(`${request} HTTP/1.0`, 'host: js.test', '');
    const answer = await connection.untilClosed();
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.doesNotMatch(answer, /transfer-encoding/i);
    assert.equal(answer.slice(answer.indexOf('\r\n\r\n') + 4), body, request);
  }
});

test('requests that come at once on one connection are answered in their order', async () => {
  const connection = await node.connect();
  const waits = [200, 5, 80, 0, 40];
  for (const ms of waits) connection.writeLines(`GET /sleep?ms=${ms} HTTP/1.1`, 'host: js.test', '');
  for (const n of [1, 10, 100]) connection.writeLines(`GET /lookup/${n} HTTP/1.1`, 'host: as.test', '');
  connection.writeLines('GET /counter HTTP/1.1', 'host: js.test', 'connection: close', '');
  const answers = await connection.untilClosed();
  const bodies = [...answers.matchAll(/\r\n\r\n([^\r]*?)\n(?=HTTP|$)/g)].map(([, body]) => body);
  assert.deepEqual(bodies, [...waits.map(() => 'slept'), '2', '29', '541', '1']);
});

test('what a guest prints becomes log lines with its route and request', async () => {
  const before = node.log().length;
  await concurrently(10, 5, () => node.send('/log', { host: 'js.test' }));
  await node.send('/', { host: 'preview1.test' });
  await eventually('the lines are there', () => node.log().length >= before + 21);
  const lines = node.log().slice(before);
  const ids = new Set(lines.map(({ request }) => request));
  assert.equal(lines.length, 21);
  assert.equal(ids.size, 11);
  for (const id of ids) {
    const own = lines.filter(({ request }) => request === id).map(({ route, stream, msg }) => [route, stream, msg]);
    if (own.length === 1) assert.deepEqual(own, [['preview1.test/...', 'stdout', 'printed by fd_write']]);
    else {
      assert.deepEqual(own, [
        ['js.test/...', 'stdout', 'to stdout'],
        ['js.test/...', 'stderr', 'to stderr'],
      ]);
    }
  }
});

test('an idle connection is kept for the next request', async () => {
  const connection = await node.connect();
  connection.writeLines('GET /hello HTTP/1.1', 'host: as.test', '');
  await connection.until(/hello from AssemblyScript\n$/);
  await sleep(1200);
  assert.equal(connection.isClosed, false);
  connection.writeLines('GET /lookup/2 HTTP/1.1', 'host: as.test', 'connection: close', '');
  assert.match(await connection.untilClosed(), /\r\n\r\n3\n$/);
});
