/** Mistakes of people and machines that are nobody's bug: each gets its message, and none a stack trace. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { finish, putGuest, scratch, thaw, thawJson } from './support.ts';

const ROOT = join(import.meta.dirname, '../..');

/** What every operating system refuses to look at, whoever asks: root may read what others may not. */
const TOO_LONG = 'x'.repeat(300);

const STACK = /^\s+at /m;

test('paths that the system refuses, and empty ones, are told with the path and what to mend', async (t) => {
  const cwd = await scratch(t);
  await mkdir(join(cwd, 'loop'));
  await symlink('apps', join(cwd, 'loop/apps'));
  await writeFile(join(cwd, 'loop/edge.yaml'), 'routes: [{ route: /, snapshot: a }]\n');
  const cases: readonly [args: readonly string[], code: number, message: RegExp][] = [
    [['check', '--config', TOO_LONG], 1, /^thaw: reading x+: ENAMETOOLONG.*\nName the config with --config/],
    [['ls', '--store', TOO_LONG], 1, /^thaw: opening the store x+ failed: ENAMETOOLONG/],
    [['check', '--config', 'loop', '--store', TOO_LONG], 1, /^thaw: opening the store x+ failed: ENAMETOOLONG/],
    [['serve', '--config', 'loop', '--store', TOO_LONG], 1, /^thaw: opening the store x+ failed: ENAMETOOLONG/],
    [['up', '--config', 'loop'], 1, /^thaw: reading loop\/apps: ELOOP.*\nCheck the path/],
    [['ls', '--store', ''], 2, /^thaw: --store is empty: name a directory\n/],
    [['check', '--config', 'loop', '--store', ''], 1, /^thaw: --store: store is empty\n/],
    [['build', '.'], 1, /^thaw: reading .*: it is a directory; name the file to build\n/],
  ];
  await Promise.all(
    cases.map(async ([args, code, message]) => {
      const run = await thaw(args, { cwd });
      assert.deepEqual({ code: run.code, stdout: run.stdout }, { code, stdout: '' }, args.join(' '));
      assert.match(run.stderr, message);
      assert.doesNotMatch(run.stderr, STACK);
    }),
  );
});

test('check --json tells of a store that cannot be looked at as of any other problem', async (t) => {
  const cwd = await scratch(t);
  await writeFile(join(cwd, 'site.yaml'), 'routes: [{ route: /, snapshot: a }]\n');
  const { code, stdout } = await thaw(['check', '--json', '--config', 'site.yaml', '--store', TOO_LONG], { cwd });
  assert.equal(code, 1);
  const { problems } = JSON.parse(stdout) as { problems: { code: string }[] };
  assert.deepEqual(
    problems.map(({ code }) => code),
    ['STORE_IO_FAILED'],
  );
});

test('doctor says of any path why it is no store, and diagnoses the rest', async (t) => {
  const cwd = await scratch(t);
  await writeFile(join(cwd, 'file'), '');
  const storeOf = async (path: string): Promise<unknown> => {
    const { store } = (await thawJson(['doctor', '--store', path], { cwd })) as {
      store: { exists: boolean; failure: string | null };
    };
    return { exists: store.exists, failure: store.failure?.split(':')[0] ?? null };
  };
  assert.deepEqual(await storeOf(TOO_LONG), { exists: false, failure: 'ENAMETOOLONG' });
  assert.deepEqual(await storeOf('file'), { exists: false, failure: 'ENOTDIR' });
  assert.deepEqual(await storeOf('.'), { exists: true, failure: null });
  assert.deepEqual(await storeOf('new/store'), { exists: false, failure: null });
});

test('a full disk behind stdout is told, and exits with 1', async (t) => {
  if (!existsSync('/dev/full')) return t.skip('no /dev/full here');
  const cwd = await scratch(t);
  for (const part of ['objects', 'refs']) await mkdir(join(cwd, 'snapshots', part), { recursive: true });
  const command = `exec "${process.execPath}" "${ROOT}/bin/thaw.js" ls --json > /dev/full`;
  const { code, stderr } = await finish(spawn('sh', ['-c', command], { cwd, stdio: ['ignore', 'pipe', 'pipe'] }));
  assert.equal(code, 1);
  assert.match(stderr, /^thaw: writing to stdout: ENOSPC/);
  assert.doesNotMatch(stderr, STACK);
});

test('a working directory that is gone is told', async (t) => {
  const cwd = await scratch(t);
  const script = `mkdir gone && cd gone && rmdir ../gone && exec "${process.execPath}" "${ROOT}/bin/thaw.js" build app.js`;
  const { code, stderr } = await finish(spawn('sh', ['-c', script], { cwd, stdio: ['ignore', 'pipe', 'pipe'] }));
  assert.equal(code, 1);
  assert.match(stderr, /^thaw: ENOENT: .*uv_cwd\n/);
  assert.doesNotMatch(stderr, STACK);
});

test('a route that names a snapshot by the first digits of its digest is refused: gc would not keep it', async (t) => {
  const cwd = await scratch(t);
  const { digest } = (await thawJson(['build', await putGuest(cwd, 'two.wasm', 'wat-two')], { cwd })) as {
    digest: string;
  };
  const check = async (snapshot: string): ReturnType<typeof thaw> => {
    await writeFile(join(cwd, 'site.yaml'), `routes: [{ route: /, snapshot: "${snapshot}" }]\n`);
    return thaw(['check', '--config', 'site.yaml'], { cwd });
  };
  const refused = await check(digest.slice(0, 12));
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    new RegExp(`names the snapshot "${digest.slice(0, 12)}", which the store does not have; a digest is written with`),
  );
  assert.equal((await check(digest)).code, 0);
  // A name may look like anything.
  await thawJson(['build', 'two.wasm', '--name', digest.slice(0, 12)], { cwd });
  assert.equal((await check(digest.slice(0, 12))).code, 0);
});
