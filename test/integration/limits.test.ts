import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concurrently, eventually, freezeGuests, hostRoute, serve } from './support.ts';

/** The limits of CPU time and memory, on a whole node: what clients, log and neighbours see. */

const store = await freezeGuests(['js-kitchen', 'as-table']);
const limits = { cpu: '40ms', memory: '64MiB' };
const node = await serve(
  {
    routes: [
      hostRoute('js.test', 'js-kitchen', { limits }),
      hostRoute('as.test', 'as-table', { limits }),
      hostRoute('neighbour.test', 'as-table'),
      hostRoute('large.test', 'as-table', { limits: { memory: '512MiB' } }),
      hostRoute('short.test', 'js-kitchen', { limits: { responseBody: '100KB' } }),
    ],
    threads: 2,
  },
  { store },
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

test('guests are stopped on a node whose V8 makes no traps of faults, too', async () => {
  const plain = await serve(
    { threads: 1, routes: [hostRoute('as.test', 'as-table', { limits })] },
    { store, nodeFlags: ['--disable-wasm-trap-handler'] },
  );
  for (let round = 0; round < 5; round++) {
    assert.equal((await plain.send('/spin', { host: 'as.test' })).status, 503);
    assert.equal((await plain.send('/counter', { host: 'as.test' })).text, '1 1\n');
  }
});

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

test('a route that is stopped again and again gets less time, and what ends by itself is answered as before', async () => {
  type Curb = { readonly route?: string; readonly limitMs?: number; readonly msg?: string };
  const curbs = (): Curb[] => node.log().filter(({ msg }) => msg?.startsWith('stopped again and again') === true);
  await concurrently(80, 8, async () => node.send('/spin', { host: 'as.test' }));
  assert.ok(curbs().length > 0);
  for (const { route, limitMs = Infinity } of curbs()) assert.ok(route === 'as.test/...' && limitMs < 40);
  const begun = performance.now();
  const spinning = concurrently(40, 8, async () => (await node.send('/spin', { host: 'as.test' })).status);
  const spun = spinning.then(() => performance.now() - begun);
  for (const host of ['as.test', 'neighbour.test']) {
    const answers = await concurrently(40, 4, async () => node.send('/counter', { host }));
    const right = answers.filter(({ status, text }) => status === 200 && text === '1 1\n');
    // Its own requests have less time, too: one in which V8 collects garbage may be stopped.
    assert.ok(right.length >= (host === 'as.test' ? 36 : 40), `${right.length} of 40 from ${host}`);
  }
  assert.deepEqual(new Set(await spinning), new Set([503]));
  // Each takes 5 ms and a pause of 20, or its whole limit of 40 ms; two threads share them. Without pauses: 100 ms.
  const tookMs = await spun;
  assert.ok(tookMs > 350, `40 requests that are stopped took ${tookMs.toFixed()} ms`);
  const stops = (node.log() as Curb[]).filter(({ limitMs }) => limitMs !== undefined);
  assert.ok(stops.slice(-20).some(({ limitMs = Infinity }) => limitMs < 40));
});

const grow = async (host: string): Promise<string> => (await node.send('/grow?pages=2000', { host })).text;

test('each route has its own limit of memory, on slots that they share', async () => {
  for (let round = 0; round < 4; round++) {
    assert.match(await grow('as.test'), /^(\d+) -1 \1\n$/);
    assert.match(await grow('large.test'), /^(\d+) \1 2\d\d\d\n$/);
  }
});

test('a response body up to the limit of its route is sent, a longer one cut off, and the log says why', async () => {
  const host = 'short.test';
  assert.equal((await node.send('/stream?bytes=100000', { host })).text.length, 100_000);
  const lines = node.log().length;
  await assert.rejects(node.send('/stream?bytes=100001', { host }), /aborted/);
  await eventually('the log says so', () => node.log().length > lines);
  const line = node.log()[lines];
  assert.equal(line?.code, 'RESPONSE_BODY_TOO_LARGE');
  assert.match(line.msg ?? '', /limits\.responseBody, 100000 bytes/);
  assert.equal((await node.send('/stream?bytes=1000', { host })).text.length, 1000);
});

test('over the concurrency of the node all routes are answered with 503, and there is room again afterwards', async () => {
  const small = await serve(
    { threads: 2, limits: { concurrency: 4 }, routes: ['a.test', 'b.test'].map((host) => hostRoute(host, 'as-table')) },
    { store },
  );
  const sent = await concurrently(12, 12, async (index) =>
    small.send('/wait?ms=2000', { host: index % 2 === 0 ? 'a.test' : 'b.test' }),
  );
  const refused = sent.filter(({ status }) => status === 503);
  assert.deepEqual([sent.length - refused.length, refused.length], [4, 8]);
  assert.match(refused[0]?.text ?? '', /the node serves 4 requests, its limits\.concurrency/);
  assert.equal(refused[0]?.headers['retry-after'], '1');
  const after = await concurrently(4, 4, async () => small.send('/wait?ms=10', { host: 'a.test' }));
  assert.ok(after.every(({ status }) => status === 200));
});

test('/routes says how often the limits of a route had an effect', async () => {
  type Row = { readonly host: string; readonly limited: { readonly cpuStops: number; readonly refusedGrows: number } };
  const limited = async (): Promise<Record<string, Row['limited']>> => {
    const { routes } = JSON.parse((await node.admin('/routes')).text) as { routes: Row[] };
    return Object.fromEntries(routes.map(({ host, limited }) => [host, limited]));
  };
  const before = await limited();
  assert.deepEqual(before['neighbour.test'], { cpuStops: 0, refusedGrows: 0 });
  // Requests of more than one thread.
  await concurrently(12, 6, async () => node.send('/spin', { host: 'as.test' }));
  for (let round = 0; round < 3; round++) await grow('as.test');
  const after = await limited();
  const { cpuStops, refusedGrows } = before['as.test'] ?? { cpuStops: 0, refusedGrows: 0 };
  assert.deepEqual(after, { ...before, 'as.test': { cpuStops: cpuStops + 12, refusedGrows: refusedGrows + 3 } });
});

test('the watchdog is a part of the health of the node', async () => {
  const { status, text } = await node.admin('/healthz?verbose');
  assert.equal(status, 200);
  assert.match(text, /\[\+\]watchdog ok/);
});
