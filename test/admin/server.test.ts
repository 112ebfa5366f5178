import assert from 'node:assert/strict';
import type { IncomingHttpHeaders, RequestOptions } from 'node:http';
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { text as bodyText } from 'node:stream/consumers';
import { HistogramLogReader } from 'hdr-histogram-js';
import type { AdminServer } from '../../src/admin/server.ts';
import { createAdminServer } from '../../src/admin/server.ts';
import type { AdminView, Health, RouteRow } from '../../src/admin/view.ts';
import { StartupHistograms } from '../../src/metrics/histograms.ts';
import { PHASE_NAMES } from '../../src/metrics/phases.ts';

const HELLO: RouteRow = {
  id: 'www.example.test/hello/...',
  host: 'www.example.test',
  path: '/hello/...',
  methods: ['GET'],
  snapshot: { name: 'hello', digest: 'ab'.repeat(32) },
  limits: { wallMs: 10_000 },
  starts: { hot: 1, switch: 0, instantiate: 0, load: 0 },
  limited: { cpuStops: 2, refusedGrows: 3 },
  slots: { busy: 0, clean: 1 },
};

const READY: Health = {
  draining: false,
  checks: [
    { name: 'watchdog', gate: 'live', failure: null },
    { name: 'pool', gate: 'ready', failure: null },
  ],
};

type Reply = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string };

suite('admin server', () => {
  let health: Health;
  let histograms: StartupHistograms;
  let routes: () => readonly RouteRow[];
  let errors: { readonly error: unknown; readonly target: string }[];
  let server: AdminServer;

  beforeEach(async () => {
    health = READY;
    routes = () => [HELLO];
    errors = [];
    histograms = new StartupHistograms();
    const total = PHASE_NAMES.indexOf('total');
    histograms.record('/gone', 'hot', { microsAt: (index) => (index === total ? 90 : Number.NaN) });
    const node: AdminView = {
      health: () => health,
      routes: () => routes(),
      startup: () => Promise.resolve(histograms),
    };
    const onError = (error: unknown, target: string): void => void errors.push({ error, target });
    server = await createAdminServer({ node, listen: { port: 0 }, onError });
  });

  afterEach(() => server.close());

  async function ask(path: string, options: RequestOptions = {}, body?: string): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const sent = request(`${server.url}${path}`, { agent: false, ...options }, (response) => {
      const { statusCode = 0, headers } = response;
      bodyText(response).then((body) => resolve({ status: statusCode, headers, body }), reject);
    });
    sent.on('error', reject).end(body);
    return promise;
  }

  async function errorCode(path: string, options: RequestOptions = {}, body?: string): Promise<[number, string]> {
    const reply = await ask(path, options, body);
    assert.equal(reply.headers['content-type'], 'application/json; charset=utf-8');
    const { error }: { error: { code: string } } = JSON.parse(reply.body);
    return [reply.status, error.code];
  }

  test('listens on loopback and says on which port', () => {
    assert.match(server.url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  });

  test('/livez, /readyz and /healthz say ok in one line', async () => {
    for (const path of ['/livez', '/readyz', '/healthz']) {
      const { status, body, headers } = await ask(path);
      assert.deepEqual([status, body], [200, 'ok\n'], path);
      assert.equal(headers['cache-control'], 'no-store');
    }
  });

  test('?verbose lists the checks', async () => {
    assert.equal((await ask('/livez?verbose')).body, '[+]process ok\n[+]watchdog ok\nlivez check passed\n');
    const ready = '[+]drain ok\n[+]watchdog ok\n[+]pool ok\nreadyz check passed\n';
    assert.equal((await ask('/readyz?verbose=1')).body, ready);
    assert.equal((await ask('/healthz?verbose')).body, ready);
  });

  test('a drain fails /readyz and leaves /livez alone', async () => {
    health = { ...READY, draining: true };
    const ready = await ask('/readyz');
    assert.equal(ready.status, 503);
    assert.match(ready.body, /^\[-\]drain failed: the node is shutting down\n/);
    assert.match(ready.body, /\nreadyz check failed\n$/);
    assert.equal((await ask('/healthz')).status, 503);
    assert.equal((await ask('/livez')).status, 200);
  });

  test('a failed live check fails both, a failed ready check only /readyz', async () => {
    health = { draining: false, checks: [{ name: 'pool', gate: 'ready', failure: 'no slots' }] };
    assert.deepEqual([(await ask('/livez')).status, (await ask('/readyz')).status], [200, 503]);
    health = { draining: false, checks: [{ name: 'watchdog', gate: 'live', failure: 'died' }] };
    assert.deepEqual([(await ask('/livez')).status, (await ask('/readyz')).status], [503, 503]);
  });

  test('/routes shows the rows of the node', async () => {
    const { status, body, headers } = await ask('/routes');
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'application/json; charset=utf-8');
    assert.deepEqual(JSON.parse(body), { routes: [HELLO] });
  });

  test('/startup shows quantiles by route, kind and phase', async () => {
    const total = { count: 1, p50: 90, p90: 90, p99: 90, 'p99.9': 90, max: 90 };
    const expected = { unit: 'microseconds', resolution: 0.1, coarseSeries: 0, all: { hot: { total } } };
    const { body } = await ask('/startup');
    assert.deepEqual(JSON.parse(body), { ...expected, routes: { '/gone': { hot: { total } } } });
    const served = await ask(`/startup?route=${encodeURIComponent(HELLO.id)}`);
    assert.deepEqual(JSON.parse(served.body), { ...expected, routes: { [HELLO.id]: {} } });
    const gone = await ask('/startup?route=/gone');
    assert.deepEqual(JSON.parse(gone.body), JSON.parse(body));
    assert.deepEqual(await errorCode('/startup?route=/typo'), [404, 'ADMIN_NOT_FOUND']);
  });

  test('/startup?format=hlog is an HDR log', async () => {
    for (const path of ['/startup?format=hlog', '/startup?format=hlog&route=/gone']) {
      const histogram = new HistogramLogReader((await ask(path)).body).nextIntervalHistogram();
      assert.equal(histogram?.tag, 'hot.total', path);
      const nanoseconds = histogram.getValueAtPercentile(100);
      assert.ok(nanoseconds >= 90_000 && nanoseconds < 90_090, `${path}: ${nanoseconds} ns`);
    }
  });

  test('/ names every endpoint', async () => {
    const { body } = await ask('/');
    for (const path of ['/livez', '/readyz', '/healthz', '/routes', '/startup'])
      assert.match(body, new RegExp(`^  ${path} `, 'm'));
  });

  test('HEAD has the head of GET and no body', async () => {
    for (const path of ['/', '/livez', '/routes', '/startup']) {
      const [head, get] = await Promise.all([ask(path, { method: 'HEAD' }), ask(path)]);
      assert.deepEqual([head.status, head.body], [200, '']);
      assert.equal(head.headers['content-type'], get.headers['content-type']);
      assert.equal(head.headers['content-length'], get.headers['content-length']);
    }
  });

  test('refuses other paths, methods, bodies and hosts', async () => {
    assert.deepEqual(await errorCode('/nothing'), [404, 'ADMIN_NOT_FOUND']);
    assert.deepEqual(await errorCode('//livez'), [404, 'ADMIN_NOT_FOUND']);
    assert.deepEqual(await errorCode('/routes', { method: 'DELETE' }), [405, 'METHOD_NOT_ALLOWED']);
    assert.equal((await ask('/routes', { method: 'DELETE' })).headers.allow, 'GET, HEAD');
    assert.deepEqual(await errorCode('/routes', { method: 'POST' }, 'x=1'), [413, 'ADMIN_BODY_REFUSED']);
    assert.deepEqual(await errorCode('/routes', { headers: { host: 'evil.test' } }), [403, 'ADMIN_HOST_REFUSED']);
    assert.equal((await ask('/livez', { headers: { host: 'localhost:1' } })).status, 200);
    assert.deepEqual(errors, []);
  });

  test('closes the connection of a refused body and answers nothing that is in it', async () => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    const smuggled = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n';
    socket.write(`GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`);
    const answers = await bodyText(socket);
    assert.deepEqual(answers.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 413']);
    assert.match(answers, /^connection: close\r$/im);
  });

  test('answers 500 and lives on when the node fails, and tells the log, not the client, why', async () => {
    routes = () => {
      throw new Error('secret');
    };
    const reply = await ask('/routes');
    assert.equal(reply.status, 500);
    assert.doesNotMatch(reply.body, /secret/);
    assert.deepEqual(
      errors.map(({ error, target }) => [String(error), target]),
      [['Error: secret', '/routes']],
    );
    assert.equal((await ask('/livez')).status, 200);
  });

  test('a client that leaves in the middle of /startup is no failure', async () => {
    for (let i = 0; i < 5000; i++) histograms.record(`/${i}`, 'load', { microsAt: () => i });
    const { promise, resolve } = Promise.withResolvers<void>();
    const sent = request(`${server.url}/startup`, { agent: false }, (response) => {
      response.once('data', () => {
        response.destroy();
        resolve();
      });
      response.on('error', () => undefined);
    });
    sent.on('error', () => undefined).end();
    await promise;
    assert.equal((await ask('/livez')).status, 200);
    assert.equal(JSON.parse((await ask('/startup')).body).routes['/4999'].load.guest.max, 4999);
    assert.deepEqual(errors, []);
  });

  test('an address in use is LISTEN_FAILED', async () => {
    const node: AdminView = { health: () => READY, routes: () => [], startup: () => histograms };
    const listen = { port: Number(new URL(server.url).port) };
    const second = createAdminServer({ node, listen, onError: () => undefined });
    await assert.rejects(second, { code: 'LISTEN_FAILED', message: /127\.0\.0\.1 port \d+: .*EADDRINUSE/ });
  });

  test('close() does not wait for idle connections', async () => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    const begun = performance.now();
    await server.close();
    assert.ok(performance.now() - begun < 900);
    socket.destroy();
  });
});
