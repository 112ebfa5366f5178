import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildTools } from '../../src/build/tools.ts';
import { putGuest, scratch, serving, thaw, thawJson } from './support.ts';

/** A directory with the snapshot `two`, and a config that serves it. */
async function site(t: TestContext): Promise<string> {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  await thawJson(['build', 'two.wasm'], { cwd });
  await mkdir(join(cwd, 'edge-config'));
  await writeFile(join(cwd, 'edge-config/edge.yaml'), 'routes: [{ route: /two/..., snapshot: two }]\n');
  return cwd;
}

const get = async (url: string): Promise<string> => (await fetch(url)).text();

test('serve says where it listens in two lines, serves, and after SIGTERM reports and exits with 0', async (t) => {
  const cwd = await site(t);
  const { child, url, adminUrl, ended } = await serving(t, ['serve', '--summary', '--hlog', 'starts'], { cwd });
  assert.equal(await get(`${url}/two/x`), 'two modules, one memory\n');
  assert.equal(await get(`${adminUrl}/livez`), 'ok\n');
  child.kill('SIGTERM');
  const { code, stdout, stderr } = await ended;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: `listening on ${url}\nadmin on ${adminUrl}\n` });
  assert.match(stdout, /^starts by route, kind and phase/);
  assert.match(stdout, /^\/two\/\.\.\. +load +total +1 /m);
  const logs = await readdir(join(cwd, 'starts'), { recursive: true });
  assert.deepEqual(logs.toSorted(), ['all.hlog', 'routes', 'routes/%2Ftwo%2F....hlog']);
});

/** The site with a route that waits three seconds, and a request to it under way. */
async function waiting(t: TestContext): Promise<Awaited<ReturnType<typeof serving>> & { answer: Promise<number> }> {
  const cwd = await scratch(t);
  const jco = await buildTools()('@bytecodealliance/jco');
  const wat = await readFile(join(import.meta.dirname, 'waiting.wat'), 'utf8');
  await writeFile(join(cwd, 'waiting.wasm'), await jco.parse(wat));
  await thawJson(['build', 'waiting.wasm'], { cwd });
  await writeFile(join(cwd, 'site.yaml'), 'routes: [{ route: /wait, snapshot: waiting }]\n');
  const node = await serving(t, ['serve', '--config', 'site.yaml'], { cwd });
  const answer = fetch(`${node.url}/wait`).then(
    ({ status }) => status,
    () => 0,
  );
  // Until it is in work: what is not must not count on being served.
  for (;;) {
    const { routes } = (await (await fetch(`${node.adminUrl}/routes`)).json()) as {
      routes: { slots: { busy: number } }[];
    };
    if (routes[0]?.slots.busy === 1) return { ...node, answer };
    await sleep(10);
  }
}

test('a signal that comes twice at once, as from a terminal and npm, still lets requests end', async (t) => {
  const { child, ended, answer } = await waiting(t);
  child.kill('SIGINT');
  await sleep(20);
  child.kill('SIGINT');
  // A guest that sets no response: 500, not a connection that was cut.
  assert.equal(await answer, 500);
  assert.equal((await ended).code, 0);
});

test('a second signal, later, ends a drain at once', async (t) => {
  const { child, adminUrl, ended, answer } = await waiting(t);
  child.kill('SIGINT');
  // A second counts from when the node has heard the first.
  while ((await fetch(`${adminUrl}/readyz`)).status !== 503) await sleep(10);
  await sleep(1100);
  child.kill('SIGTERM');
  assert.equal((await ended).code, 128 + 15);
  assert.equal(await answer, 0);
});

test('serve refuses what it cannot serve, and says where the config says so', async (t) => {
  const cwd = await site(t);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  await writeFile(join(cwd, 'missing.yaml'), 'routes:\n  - { route: /, snapshot: twoo }\n');
  await writeFile(join(cwd, 'wrong.yaml'), 'rotes: []\nlisten: 80\n');
  const cases: readonly [args: string[], code: number, message: RegExp][] = [
    [
      ['--config', 'missing.yaml'],
      1,
      /^thaw: missing\.yaml:2: .*"twoo".*did you mean "two"\?\nBuild it with thaw build/,
    ],
    [['--config', 'wrong.yaml'], 1, /^thaw: \d problems in the config\nwrong\.yaml:1:1: .*\nwrong\.yaml:2:9: /],
    [['--config', 'none'], 1, /^thaw: there is no config at none\nName the config with --config/],
    [['--listen', 'there'], 1, /^thaw: --listen: .*"there" is not an address/],
    [['--listen', '127.0.0.1:0', '--admin', `127.0.0.1:${port}`], 1, /^thaw: .*EADDRINUSE.*\nFree the address/],
  ];
  await Promise.all(
    cases.map(async ([args, code, message]) => {
      const run = await thaw(['serve', ...args], { cwd });
      assert.equal(run.code, code, run.stderr);
      assert.match(run.stderr, message);
    }),
  );
});

test('check prints the routes, or every problem', async (t) => {
  const cwd = await site(t);
  const { code, stdout } = await thaw(['check'], { cwd });
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^HOST +ROUTE .*\nany +\/two\/\.\.\. +all +two +[0-9a-f]{12} +restorable .*\n\n1 route, no problems\n$/,
  );
  const { routes } = (await thawJson(['check'], { cwd })) as { routes: { id: string; snapshot: string }[] };
  assert.deepEqual(
    routes.map(({ id, snapshot }) => ({ id, snapshot })),
    [{ id: '/two/...', snapshot: 'two' }],
  );

  await writeFile(
    join(cwd, 'edge-config/edge.yaml'),
    'routes: [{ route: /a, snapshot: a }, { route: /b, snapshot: b }]\n',
  );
  const failed = await thaw(['check', '--json'], { cwd });
  assert.equal(failed.code, 1);
  const { ok, problems } = JSON.parse(failed.stdout) as { ok: boolean; problems: { code: string; where: string }[] };
  assert.equal(ok, false);
  const where = 'edge-config/edge.yaml:1';
  assert.deepEqual(
    problems.map(({ code, where }) => ({ code, where })),
    [
      { code: 'CONFIG_SNAPSHOT_MISSING', where },
      { code: 'CONFIG_SNAPSHOT_MISSING', where },
    ],
  );
});

test('up builds the apps that routes name, once, and again when their sources change', async (t) => {
  const cwd = await scratch(t);
  const apps = join(cwd, 'edge-config/apps');
  await mkdir(apps, { recursive: true });
  await writeFile(
    join(cwd, 'edge-config/edge.yaml'),
    'routes: [{ route: /a, snapshot: a }, { route: /b, snapshot: b }]\n',
  );
  await putGuest(apps, 'a.wasm', 'wat-two');
  await putGuest(apps, 'unnamed.wasm', 'wat-two');
  await putGuest(cwd, 'elsewhere.wasm', 'wat-tableset');
  await thawJson(['build', 'elsewhere.wasm', '--name', 'b'], { cwd });
  await putGuest(apps, 'b.wasm', 'wat-two');

  const run = async (): Promise<string> => {
    const { child, url, ended } = await serving(t, ['up'], { cwd });
    assert.equal(await get(`${url}/a`), 'two modules, one memory\n');
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
    return stderr.replaceAll(/^(listening|admin) on .*\n/gm, '');
  };
  const kept = 'b: the store has one built by hand from elsewhere.wasm; edge-config/apps/b.wasm is not built\n';
  const built = /^built a from edge-config\/apps\/a\.wasm in \d+ m?s\n/;
  const first = await run();
  assert.match(first, built);
  assert.equal(first.replace(built, ''), kept);
  assert.equal(await run(), kept);
  await putGuest(apps, 'a.wasm', 'wat-tableset');
  assert.match(await run(), built);
  const names = ((await thawJson(['ls'], { cwd })) as { name: string; kind: string }[]).map(({ name }) => name);
  assert.deepEqual(names, ['a', 'b']);
});

test('doctor says what restores here, and what the store is', async (t) => {
  const cwd = await scratch(t);
  const found = (await thawJson(['doctor', '--store', 'new'], { cwd })) as {
    jspi: boolean;
    node: { version: string };
    restore: { used: string; tiers: { tier: string; failure: string | null }[] };
    store: { directory: string; exists: boolean; failure: string | null };
    buildTools: { name: string; failure: string | null }[];
  };
  assert.equal(found.jspi, true);
  assert.equal(found.node.version, process.version);
  const { used, tiers } = found.restore;
  assert.deepEqual(
    tiers.map(({ tier }) => tier),
    ['scan', 'pagemap', 'drop', 'copy'],
  );
  assert.equal(used, tiers.find(({ failure }) => failure === null)?.tier);
  assert.equal(found.store.exists, false);
  assert.match(found.store.directory, /\/new$/);
  assert.ok(found.buildTools.some(({ name }) => name === '@bytecodealliance/jco'));
  assert.match((await thaw(['doctor'], { cwd })).stdout, new RegExp(`^restore +.*\\b${tiers[0]?.tier}: `, 'm'));
});
