import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { probeTiers } from '../../src/runtime/restore-tier.ts';
import { startCommand } from '../support/unit.ts';
import { concurrently, freezeGuests, hostRoute, serve } from './support.ts';

/** The node under Node's permission model, with the flags that packaging/thaw.service gives it. */

const ROOT = join(import.meta.dirname, '../..');

/** Where the unit's paths lie in a test: thaw in this checkout, config and store in directories of the tests. */
const PLACES: Readonly<Record<string, readonly string[]>> = {
  '/opt/thaw': [ROOT, realpathSync(join(ROOT, 'node_modules'))],
  '/etc/thaw': [],
  '/var/lib/thaw': [join(realpathSync(tmpdir()), 'thaw-integration-*')],
};

const READ = '--allow-fs-read=';

const nodeFlags = startCommand().nodeFlags.flatMap((flag) => {
  if (!flag.startsWith(READ)) return [flag];
  const path = flag.slice(READ.length);
  return (PLACES[path] ?? [path]).map((place) => READ + place);
});

const store = await freezeGuests(['js-kitchen', 'wat-tableset']);
const routes = [
  hostRoute('app.test', 'js-kitchen', { allowed_outbound_hosts: ['http://127.0.0.1:*', 'http://localhost:*'] }),
  hostRoute('fresh.test', 'wat-tableset'),
];

test('the flags of the unit turn the permission model on', () => {
  assert.ok(nodeFlags.includes('--permission'));
  assert.ok(!nodeFlags.some((flag) => /^--allow-(?:fs-write|child-process|wasi|ffi|inspector)|=\*$/.test(flag)));
});

for (const { tier, failure } of probeTiers()) {
  test(`the node serves under the permission model, restoring by ${tier}`, async (t) => {
    if (failure !== null) return t.skip(failure);
    const node = await serve({ threads: 2, routes }, { store, nodeFlags, args: ['--restore-tier', tier] });
    const answers = await concurrently(40, 8, async (index) => {
      const { text } = await node.send('/counter', { host: index % 4 === 0 ? 'fresh.test' : 'app.test' });
      return text;
    });
    assert.deepEqual([...new Set(answers)], ['1\n']);
    for (const host of ['127.0.0.1', 'localhost']) {
      const url = `http://${host}:${node.url.port}/nothing`;
      const { status } = await node.send(`/fetch?url=${encodeURIComponent(url)}`, { host: 'app.test' });
      assert.equal(status, 404, `the answer of the node itself, through ${host}`);
    }
    assert.equal((await node.send('/spin', { host: 'app.test' })).status, 503, 'the watchdog works');
    assert.equal((await node.admin('/readyz')).status, 200);
    node.signal('SIGTERM');
    assert.equal((await node.exited()).code, 0);
    // No warning of Node's is in the journal at each start.
    const said = node.lines.filter((line) => !line.startsWith('{'));
    assert.deepEqual(said, [`listening on ${node.url.origin}`, `admin on ${node.adminUrl.origin}`]);
  });
}

test('under the permission model the best tier of this machine is chosen, as without it', () => {
  const flags = ['doctor', '--json', '--store', store];
  const doctor = (node: readonly string[]): unknown => {
    const { stdout, stderr } = spawnSync(process.execPath, [...node, join(ROOT, 'bin/thaw.js'), ...flags], {
      encoding: 'utf8',
    });
    assert.ok(stdout.startsWith('{'), stderr);
    return (JSON.parse(stdout) as { restore: { used: string } }).restore.used;
  };
  assert.equal(doctor(nodeFlags), doctor([]));
});

test('under the permission model thaw reads nothing beyond its directories, and writes nothing', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'thaw-elsewhere-'));
  after(() => rmSync(elsewhere, { recursive: true }));
  const config = join(elsewhere, 'edge.yaml');
  writeFileSync(config, 'routes: [{ route: /, snapshot: js-kitchen }]\n');
  const args = [join(ROOT, 'bin/thaw.js'), 'check', '--config', config, '--store', store];
  assert.equal(spawnSync(process.execPath, args).status, 0);
  const { status, stderr } = spawnSync(process.execPath, [...nodeFlags, ...args], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /Access to this API has been restricted/);

  const logs = join(dirname(store), `thaw-integration-hlog-${process.pid}`);
  mkdirSync(logs);
  after(() => rmSync(logs, { recursive: true }));
  const node = await serve({ threads: 1, routes }, { store, nodeFlags, args: ['--hlog', logs] });
  assert.equal((await node.send('/hello', { host: 'app.test' })).status, 200);
  node.signal('SIGTERM');
  assert.equal((await node.exited()).code, 1);
  assert.match(node.lines.join('\n'), /restricted/);
  assert.deepEqual(readdirSync(logs), []);
});
