import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concurrently, eventually, freezeGuests, hostRoute, serve } from './support.ts';

/** The limits of CPU time and memory, on a whole node: what clients, log and neighbours see. */

const limits = { cpu: '40ms', memory: '64MiB' };
const node = await serve(
  {
    routes: [
      hostRoute('js.test', 'js-kitchen', { limits }),
      hostRoute('as.test', 'as-table', { limits }),
      hostRoute('neighbour.test', 'as-table'),
      hostRoute('large.test', 'as-table', { limits: { memory: '512MiB' } }),
    ],
    threads: 2,
  },
  { store: await freezeGuests(['js-kitchen', 'as-table']) },
);

// Both threads have run the engine: nobody is given time to compile it.
await concurrently(64, 32, async () => node.send('/hello', { host: 'js.test' }));

for (const [host, path] of [
  ['js.test', '/spin'],
  ['js.test', '/spin?how=microtasks'],
  ['as.test', '/spin'],
  ['as.test', '/ask-forever'],
] as const) {
  test(`${host}${path} is answered with 503, and the log has route, request, limit and used`, async () => {
    const lines = node.log().length;
    const { status, text, headers } = await node.send(path, { host });
    assert.deepEqual([status, text], [503, 'the app used too much CPU time\n']);
    assert.equal(headers['retry-after'], undefined, 'the same request will fail again');
    await eventually('the log says so', () => node.log().length > lines);
    const [line] = node.log().slice(lines);
    assert.ok(line?.request !== undefined && line.msg !== undefined);
    const { route, code, limitMs, usedMs } = line as Record<string, unknown>;
    assert.deepEqual([route, code, limitMs], [`${host}/...`, 'CPU_TIME_EXCEEDED', 40]);
    assert.ok(typeof usedMs === 'number' && usedMs >= 39, `${String(usedMs)} ms`);
    assert.match(line.msg, /over limits\.cpu, 40 ms/);
  });
}

test('a response that has begun is cut off, and not ended as if it were whole', async () => {
  await assert.rejects(node.send('/stream-spin', { host: 'js.test' }), /aborted/);
  assert.equal((await node.send('/hello', { host: 'js.test' })).status, 200);
});

test('guests that never end, 16 at a time, leave their neighbours right answers only', async () => {
  const spinning = concurrently(64, 16, async () => (await node.send('/spin', { host: 'as.test' })).status);
  const answers = await concurrently(300, 4, async () => node.send('/counter', { host: 'neighbour.test' }));
  assert.deepEqual(new Set(answers.map(({ status, text }) => `${status} ${text}`)), new Set(['200 1 1\n']));
  assert.deepEqual(new Set(await spinning), new Set([503]));
});

const grow = async (host: string): Promise<string> => (await node.send('/grow?pages=2000', { host })).text;

test('each route has its own limit of memory, on slots that they share', async () => {
  for (let round = 0; round < 4; round++) {
    assert.match(await grow('as.test'), /^(\d+) -1 \1\n$/);
    assert.match(await grow('large.test'), /^(\d+) \1 2\d\d\d\n$/);
  }
});

test('the watchdog is a part of the health of the node', async () => {
  const { status, text } = await node.admin('/healthz?verbose');
  assert.equal(status, 200);
  assert.match(text, /\[\+\]watchdog ok/);
});
