import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildTools } from '../../src/build/tools.ts';
import { concurrently, eventually, freezeGuests, hostRoute, serve } from './support.ts';

/** The guest wat-two, with `change` in place of what it does after it has written its body. */
async function changed(from: string, change: string): Promise<Uint8Array> {
  const text = await readFile(join(import.meta.dirname, '../../bench/apps/two.wat'), 'utf8');
  assert.ok(text.includes(from), `two.wat has ${from}`);
  const jco = await buildTools()('@bytecodealliance/jco');
  return jco.parse(text.replace(from, change));
}

const DROP_STREAM = '(call $drop_stream (local.get $stream))';
const DROP_REQUEST = '(call $drop_request (local.get $request))';

const SLOTS = 8;
const BODY_BYTES = 20_000_000;

const store = await freezeGuests(['js-kitchen', 'as-table'], {
  'traps-in-body': await changed(DROP_STREAM, 'unreachable'),
  'leaves-body-open': await changed(DROP_STREAM, 'return'),
  'traps-after-body': await changed(DROP_REQUEST, 'unreachable'),
});
const limits = { wall: '20s', concurrency: 1000 };
/** What a guest that is not stopped cannot be done in: that waits for 15 s, or has 20 s. */
const WELL_BEFORE_MS = 12_000;
const node = await serve(
  {
    threads: 1,
    pool: { slots: SLOTS, memory: '1GiB' },
    routes: [
      hostRoute('js.test', 'js-kitchen', { limits }),
      hostRoute('as.test', 'as-table', { limits: { ...limits, requestBody: `${BODY_BYTES}B` } }),
      hostRoute('trap.test', 'traps-in-body'),
      hostRoute('open.test', 'leaves-body-open'),
      hostRoute('late.test', 'traps-after-body'),
    ],
  },
  { store },
);

const BODY = 'two modules, one memory\n';

/** Every slot is clean again, none is lost, and the guests answer as if nothing had happened. */
async function assertServesOn(): Promise<void> {
  await eventually('no slot is busy', async () => {
    const { routes } = JSON.parse((await node.admin('/routes')).text) as { routes: { slots: { busy: number } }[] };
    return routes.every(({ slots }) => slots.busy === 0);
  });
  for (const [host, answer] of [
    ['js.test', '1\n'],
    ['as.test', '1 1\n'],
  ] as const) {
    const answers = await concurrently(SLOTS * 3, SLOTS * 2, async () => (await node.send('/counter', { host })).text);
    assert.deepEqual([...new Set(answers)], [answer]);
  }
}

/** The reasons in the log since there were `before` lines. */
const codesSince = (before: number): (string | undefined)[] =>
  node
    .log()
    .slice(before)
    .flatMap(({ code }) => (code === undefined ? [] : [code]));

for (const [host, path, body, code] of [
  ['js.test', '/throw', 'Internal Server Error\n', null],
  ['js.test', '/undefined', 'Internal Server Error\n', null],
  ['as.test', '/trap', 'the app failed\n', 'GUEST_TRAP'],
  ['as.test', '/no-response', 'the app failed\n', 'GUEST_NO_RESPONSE'],
  ['as.test', '/exit', 'the app failed\n', 'GUEST_EXITED'],
] as const) {
  test(`${host}${path} is answered with 500, without the reason, and the node serves on`, async () => {
    const before = node.log().length;
    // More often than there are slots: one that a failure cost would be missed.
    const answers = await concurrently(SLOTS * 2, 4, async () => {
      const { status, text } = await node.send(path, { host });
      return `${status} ${text}`;
    });
    assert.deepEqual([...new Set(answers)], [`500 ${body}`]);
    if (code !== null) {
      await eventually('the reasons are in the log', () => codesSince(before).length === SLOTS * 2);
      assert.deepEqual([...new Set(codesSince(before))], [code]);
    }
    await assertServesOn();
  });
}

test('what was thrown is in the log, not in the answer', async () => {
  const before = node.log().length;
  const { text, headers } = await node.send('/throw', { host: 'js.test' });
  assert.doesNotMatch(`${text} ${JSON.stringify(headers)}`, /thrown on purpose/);
  await eventually('the reason is in the log', () =>
    node
      .log()
      .slice(before)
      .some(({ msg, route }) => msg === 'TypeError: thrown on purpose' && route === 'js.test/...'),
  );
});

test('a guest that fails in its body has its connection cut', async () => {
  for (const host of ['trap.test', 'open.test']) {
    const connection = await node.connect();
    connection.writeLines('GET / HTTP/1.1', `host: ${host}`, '');
    const answer = await connection.untilClosed();
    assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/, 'the last chunk would say that it is whole');
    assert.doesNotMatch(answer, /content-length/i);
    await assert.rejects(node.send('/', { host }), { code: 'ECONNRESET' });
  }
  await assertServesOn();
});

test('a guest that fails after its body has harmed nobody', async () => {
  const before = node.log().length;
  const connection = await node.connect();
  connection.writeLines('GET / HTTP/1.1', 'host: late.test', '');
  connection.writeLines('GET / HTTP/1.1', 'host: late.test', 'connection: close', '');
  const answers = await connection.untilClosed();
  assert.equal(answers.split(BODY).length - 1, 2, answers);
  await eventually('the failures are in the log', () => codesSince(before).length === 2);
  assert.deepEqual(codesSince(before), ['GUEST_TRAP', 'GUEST_TRAP']);
});

test('clients that leave before the answer do no harm', async () => {
  for (let round = 0; round < 3; round++) {
    const clients = await Promise.all(Array.from({ length: SLOTS }, () => node.connect()));
    for (const [index, client] of clients.entries()) {
      const [host, path] = index % 2 === 0 ? ['js.test', '/sleep?ms=300'] : ['as.test', '/wait?ms=300'];
      client.writeLines(`GET ${path} HTTP/1.1`, `host: ${host}`, '');
    }
    await sleep(100);
    for (const [index, { socket }] of clients.entries()) {
      if (index % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
  }
  await assertServesOn();
});

test('clients that leave in the middle of their request do no harm', async () => {
  for (const host of ['js.test', 'as.test']) {
    const clients = await Promise.all(Array.from({ length: SLOTS }, () => node.connect()));
    for (const client of clients) {
      client.writeLines('POST /echo HTTP/1.1', `host: ${host}`, 'content-length: 100000', '');
      client.socket.write('x'.repeat(50_000));
    }
    await sleep(100);
    for (const { socket } of clients) socket.destroy();
  }
  await assertServesOn();
});

test('a client that leaves in the middle of a response stops the guest, well before its wall time', async () => {
  const begun = performance.now();
  const clients = await Promise.all(Array.from({ length: SLOTS }, () => node.connect()));
  for (const client of clients) {
    // More than the buffers on the way hold: the guest waits to write the rest.
    client.writeLines('POST /echo HTTP/1.1', 'host: as.test', `content-length: ${BODY_BYTES}`, '');
    client.socket.pause().write(Buffer.alloc(BODY_BYTES));
  }
  await sleep(200);
  for (const { socket } of clients) socket.destroy();
  await assertServesOn();
  assert.ok(performance.now() - begun < WELL_BEFORE_MS);
});

test('a guest is stopped when its client has left, well before its wall time', async () => {
  const begun = performance.now();
  const clients = await Promise.all(Array.from({ length: SLOTS }, () => node.connect()));
  for (const client of clients) client.writeLines('GET /wait?ms=15000 HTTP/1.1', 'host: as.test', '');
  await sleep(100);
  for (const { socket } of clients) socket.destroy();
  await assertServesOn();
  assert.ok(performance.now() - begun < WELL_BEFORE_MS);
});

test('a client that leaves while it waits for a slot leaves the queue', async () => {
  const busy = await Promise.all(Array.from({ length: SLOTS }, () => node.connect()));
  for (const client of busy) client.writeLines('GET /sleep?ms=2000 HTTP/1.1', 'host: js.test', '');
  await sleep(50);
  const before = node.log().length;
  const queued = await Promise.all(Array.from({ length: SLOTS * 2 }, () => node.connect()));
  for (const client of queued) client.writeLines('GET /log HTTP/1.1', 'host: js.test', '');
  await sleep(50);
  for (const { socket } of queued) socket.destroy();
  for (const client of busy) await client.until(/slept/);
  await assertServesOn();
  assert.ok(
    !node
      .log()
      .slice(before)
      .some(({ msg }) => msg === 'to stdout'),
    'a guest ran for nobody',
  );
});

test('a mix of all of it leaves no slot behind', async () => {
  await concurrently(120, 12, async (index) => {
    const client = await node.connect();
    const [host, path] = (
      [
        ['as.test', '/trap'],
        ['as.test', '/exit'],
        ['js.test', '/throw'],
        ['as.test', '/wait?ms=20'],
        ['js.test', '/stream?bytes=300000'],
        ['as.test', '/leak'],
      ] as const
    )[index % 6] as readonly [string, string];
    client.writeLines(`GET ${path} HTTP/1.1`, `host: ${host}`, '');
    await sleep((index * 7) % 40);
    client.socket.destroy();
  });
  await assertServesOn();
});
