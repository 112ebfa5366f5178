import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  eventually,
  freezeGuests,
  hostRoute,
  serve,
  temporaryDirectory,
  type Config,
  type ServedNode,
} from './support.ts';

const store = await freezeGuests(['js-kitchen', 'js-tiny', 'as-table', 'wat-two']);
const CONFIG: Config = {
  threads: 1,
  pool: { slots: 4, memory: '1GiB' },
  routes: [
    hostRoute('js.test', 'js-kitchen'),
    hostRoute('tiny.test', 'js-tiny'),
    hostRoute('as.test', 'as-table'),
    hostRoute('two.test', 'wat-two'),
  ],
};

type Quantiles = { readonly count: number; readonly p50: number; readonly 'p99.9': number; readonly max: number };
type Kinds = Record<string, Record<string, Quantiles>>;
type Startup = { readonly unit: string; readonly all: Kinds; readonly routes: Record<string, Kinds> };

const startup = async (node: ServedNode): Promise<Startup> =>
  JSON.parse((await node.admin('/startup')).text) as Startup;

/** Serves one request after the other. */
async function visit(node: ServedNode, ...hosts: readonly string[]): Promise<void> {
  for (const host of hosts) {
    assert.equal((await node.send('/hello', { host })).status, 200);
    await restored(node);
  }
}

/** The slot of the last request is clean again. */
const restored = (node: ServedNode): Promise<void> =>
  eventually('no slot is busy', async () => {
    const { routes } = JSON.parse((await node.admin('/routes')).text) as { routes: { slots: { busy: number } }[] };
    return routes.every(({ slots }) => slots.busy === 0);
  });

/** Requests of the route that are in work now. */
async function busyOf(node: ServedNode, route: number): Promise<number> {
  const { routes } = JSON.parse((await node.admin('/routes')).text) as { routes: { slots: { busy: number } }[] };
  return routes[route]?.slots.busy ?? Number.NaN;
}

const AS_ROUTE = 2;

const phases = (kind: Record<string, Quantiles> | undefined): string[] => Object.keys(kind ?? {}).toSorted();

test('each start is recorded by route, kind and phase', async () => {
  const node = await serve(CONFIG, { store });
  // The first compiles; the second is hot; another app of the same engine takes its slot, and the app that it was taken
  // from gets another.
  await visit(node, 'js.test', 'js.test', 'tiny.test', 'tiny.test', 'js.test');
  const { unit, routes, all } = await startup(node);
  assert.equal(unit, 'microseconds');
  const js = routes['js.test/...'] as Kinds;
  const tiny = routes['tiny.test/...'] as Kinds;
  const counts = (kinds: Kinds): Record<string, number | undefined> =>
    Object.fromEntries(Object.entries(kinds).map(([kind, phases]) => [kind, phases['total']?.count]));
  assert.deepEqual(counts(js), { load: 1, hot: 1, instantiate: 1 });
  assert.deepEqual(counts(tiny), { switch: 1, hot: 1 });
  assert.deepEqual(phases(js['load']), ['acquire', 'compile', 'guest', 'instantiate', 'route', 'total']);
  assert.deepEqual(phases(js['instantiate']), ['acquire', 'guest', 'instantiate', 'route', 'total']);
  assert.deepEqual(phases(tiny['switch']), ['acquire', 'guest', 'restore', 'route', 'total']);
  // Restoring after the response is recorded with the hot starts.
  assert.deepEqual(phases(js['hot']), ['acquire', 'guest', 'restore', 'route', 'total']);
  assert.equal(all['hot']?.['total']?.count, 2);
  for (const kind of Object.values(js)) {
    const { total, ...others } = kind;
    assert.ok(total !== undefined && total.p50 > 0 && total.p50 <= total['p99.9'] && total['p99.9'] <= total.max);
    for (const [phase, { max }] of Object.entries(others)) {
      if (phase !== 'restore') assert.ok(max <= total.max * 1.01 + 1, `${phase} ${max} of ${total.max}`);
    }
  }
  await node.stop();
});

test('the admin listener shows health and routes', async () => {
  const node = await serve(CONFIG, { store });
  for (const path of ['/livez', '/readyz', '/healthz']) {
    const { status, text } = await node.admin(path);
    assert.deepEqual([status, text], [200, 'ok\n'], path);
  }
  await visit(node, 'as.test', 'as.test');
  const { routes } = JSON.parse((await node.admin('/routes')).text) as { routes: Record<string, unknown>[] };
  assert.deepEqual(
    routes.map(({ id, host, path, methods, starts, slots }) => ({ id, host, path, methods, starts, slots }))[2],
    {
      id: 'as.test/...',
      host: 'as.test',
      path: '/...',
      methods: null,
      starts: { hot: 1, switch: 0, instantiate: 0, load: 1 },
      slots: { busy: 0, clean: 1 },
    },
  );
  assert.match(JSON.stringify(routes[2]), /"snapshot":\{"name":"as-table","digest":"[0-9a-f]{64}"\}/);
  // The data listener has none of it.
  assert.equal((await node.send('/livez', { host: '127.0.0.1' })).status, 404);
  await node.stop();
});

test('requests in work are counted while they are', async () => {
  // Half of the slots are for bodies that are on their way.
  const node = await serve({ ...CONFIG, pool: { slots: 8 } }, { store });
  const bodies = [1, 2, 3].map(() => new PassThrough());
  const answers = bodies.map((body) => node.send('/echo', { method: 'POST', host: 'as.test', body }));
  for (const body of bodies) body.write('a');
  await eventually('three are busy', async () => (await busyOf(node, AS_ROUTE)) === 3);
  for (const body of bodies) body.end('b');
  assert.deepEqual(
    (await Promise.all(answers)).map(({ text }) => text),
    ['ab', 'ab', 'ab'],
  );
  await restored(node);
  await node.stop();
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} lets requests finish, takes no new ones, and ends with 0`, async () => {
    const node = await serve({ ...CONFIG, pool: { slots: 8 } }, { store });
    await visit(node, 'as.test');
    const idle = await node.connect();
    idle.writeLines('GET /hello HTTP/1.1', 'host: as.test', '');
    await idle.until(/AssemblyScript\n$/);
    const inFlight = node.send('/wait?ms=700', { host: 'as.test' });
    const kept = await node.connect();
    kept.writeLines('GET /wait?ms=700 HTTP/1.1', 'host: as.test', '');
    const pipelined = await node.connect();
    pipelined.writeLines('GET /wait?ms=700 HTTP/1.1', 'host: as.test', '', 'GET /hello HTTP/1.1', 'host: as.test', '');
    const streaming = await node.connect();
    streaming.writeLines('POST /echo HTTP/1.1', 'host: as.test', 'transfer-encoding: chunked', '', '3', 'one');
    await streaming.until(/one/);
    node.signal(signal);
    await eventually('not ready', async () => (await node.admin('/readyz')).status === 503);
    assert.equal((await node.admin('/livez')).status, 200);
    await assert.rejects(node.send('/hello', { host: 'as.test' }), { code: 'ECONNREFUSED' });
    // A connection that had no request in work is closed.
    await idle.untilClosed();
    streaming.writeLines('3', 'two', '0', '');
    await streaming.until(/two\r\n0\r\n\r\n$/);
    const { status, text } = await inFlight;
    assert.deepEqual([status, text], [200, 'waited\n']);
    // Its client shall take its next request to another node.
    assert.match(await kept.untilClosed(), /^HTTP\/1\.1 200 OK\r\n[^]*connection: close\r\n[^]*waited\n$/i);
    // The second had been answered, and waited for its turn.
    assert.match(await pipelined.untilClosed(), /waited\nHTTP\/1\.1 200 OK\r\n[^]*AssemblyScript\n$/);
    const { code } = await node.exited();
    assert.equal(code, 0);
  });
}

test('a response that is still on its way to a slow client is not cut by a drain', async () => {
  const node = await serve(CONFIG, { store });
  const connection = await node.connect();
  const bytes = 9_000_000;
  connection.writeLines('POST /echo HTTP/1.1', 'host: as.test', `content-length: ${bytes}`, 'connection: close', '');
  connection.socket.pause().write(Buffer.alloc(bytes, 'x'));
  await eventually('it is in work', async () => (await busyOf(node, AS_ROUTE)) === 1);
  await sleep(200);
  node.signal('SIGTERM');
  await sleep(200);
  connection.socket.resume();
  const answer = await connection.untilClosed();
  assert.match(answer.slice(-100), /x\r\n0\r\n\r\n$/);
  assert.equal(answer.slice(answer.indexOf('\r\n\r\n')).replaceAll(/[^x]/g, '').length, bytes);
  assert.equal((await node.exited()).code, 0);
});

test('a drain ends when its time is over', async () => {
  const node = await serve({ ...CONFIG, drain: '300ms' }, { store });
  const cutOff = node.send('/wait?ms=20000', { host: 'as.test' });
  await eventually('it is in work', async () => (await busyOf(node, AS_ROUTE)) === 1);
  const begun = performance.now();
  node.signal('SIGTERM');
  await assert.rejects(cutOff, { code: 'ECONNRESET' });
  const { code } = await node.exited();
  assert.equal(code, 0);
  // The request would have taken 20 s.
  assert.ok(performance.now() - begun < 10_000);
  assert.ok(node.lines.some((line) => line.startsWith('1 request did not end within the drain time')));
});

/** A line of the summary: one start of a kind, and its five figures. */
const summaryRow = (route: string, kind: string): RegExp =>
  new RegExp(`^${route.replaceAll(/[.()]/g, String.raw`\$&`)} +${kind} +total +1( +[\\d.]+){5}$`, 'm');

test('--summary prints a table, and --hlog writes files', async () => {
  const hlog = join(temporaryDirectory(), 'starts');
  const node = await serve(CONFIG, { store, args: ['--summary', '--hlog', hlog] });
  await visit(node, 'as.test', 'as.test', 'two.test');
  node.signal('SIGTERM');
  const { code, stdout } = await node.exited();
  assert.equal(code, 0);
  assert.match(stdout, /^starts by route, kind and phase, in microseconds\n/);
  for (const [route, kind] of [
    ['as.test/...', 'load'],
    ['as.test/...', 'hot'],
    ['two.test/...', 'load'],
    ['(all)', 'hot'],
  ] as const) {
    assert.match(stdout, summaryRow(route, kind));
  }
  assert.deepEqual((await readdir(hlog)).toSorted(), ['all.hlog', 'routes']);
  assert.equal((await readdir(join(hlog, 'routes'))).length, 2);
  const text = await readFile(join(hlog, 'all.hlog'), 'utf8');
  assert.match(text, /^#\[Logged by thaw/);
  assert.match(text, /^Tag=load\.total,/m);
});

test('several threads serve from one port, and are counted together', async () => {
  const node = await serve({ ...CONFIG, threads: 2 }, { store });
  for (let index = 0; index < 20; index++) {
    const { text } = await node.send('/counter', { host: 'as.test' });
    assert.equal(text, '1 1\n');
  }
  const { all } = await startup(node);
  const total = Object.values(all).reduce((sum, phases) => sum + (phases['total']?.count ?? 0), 0);
  assert.equal(total, 20);
  node.signal('SIGTERM');
  assert.equal((await node.exited()).code, 0);
});
