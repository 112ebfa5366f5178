import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { objectsOf, type Manifest } from '../../src/snapshot/manifest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import { COMPILE_CACHE, thaw } from '../cli/support.ts';
import { PAGE, age, damage, flipBit, objectPath, unsyncedOps } from '../snapshot/support.ts';
import { parseWat, silentComponent } from '../support/wat.ts';
import { eventually, freezeGuests, hostRoute, serve, temporaryDirectory, type ServedNode } from './support.ts';

/** Stores that are damaged, full, or left by a build that was killed: through the command line, and with a node on them. */

const BIN = join(import.meta.dirname, '../../bin/thaw.js');
const TWO = readFileSync(join(import.meta.dirname, '../../bench/apps/two.wat'), 'utf8');
const ANSWER = 'two modules, one memory';

/** A guest that answers `text`. Those with another `code` share no code. */
const guest = (text: string, code = 0): Promise<Uint8Array> =>
  parseWat(
    TWO.replace(ANSWER, text.padEnd(ANSWER.length).slice(0, ANSWER.length)).replaceAll(
      '(func $fixed (result',
      `(func (export "code") (result i32) (i32.const ${code})) (func $fixed (result`,
    ),
  );

const root = temporaryDirectory();
const options = { cwd: root };

/** A component in a file, for `thaw build`. */
function fileOf(name: string, component: Uint8Array): string {
  const path = join(root, `${name}.wasm`);
  writeFileSync(path, component);
  return path;
}

/** Runs a program of the system, which may not be there: `error` says so. */
const run = (program: string, args: readonly string[], env = process.env): SpawnSyncReturns<Buffer> =>
  spawnSync(program, args, { env });

/** Looks into a store with eyes of its own. */
function look<T>(directory: string, use: (store: SnapshotStore) => T): T {
  const store = SnapshotStore.open(directory, { create: false, ops: unsyncedOps });
  try {
    return use(store);
  } finally {
    store.close();
  }
}

const manifestOf = (directory: string, name: string): Manifest =>
  look(directory, (store) => store.loadManifest(store.resolve(name)));

/** The file of an object of the snapshot, by what it is: `base image`, `code of module 1`. */
function pathOf(directory: string, name: string, role: string): string {
  const found = objectsOf(manifestOf(directory, name)).find((object) => object.role.startsWith(role));
  assert.ok(found, `${name} has a ${role}`);
  return objectPath(directory, found.ref);
}

const manifestPath = (directory: string, name: string): string =>
  objectPath(directory, { digest: look(directory, (store) => store.resolve(name)), bytes: 0 });

async function assertServes(node: ServedNode, host: string, answer: string): Promise<void> {
  const { status, text } = await node.send('/', { host });
  assert.equal(`${status} ${text.trim()}`, `200 ${answer}`);
}

/** How each of the snapshots is damaged: what, where, and the error. */
const FAULTS = [
  ['flipped', 'base image', (path: string) => damage(path, flipBit), 'STORE_OBJECT_CORRUPT'],
  ['code', 'code of module 1', (path: string) => damage(path, flipBit), 'STORE_OBJECT_CORRUPT'],
  [
    'cut',
    null,
    (path: string) => damage(path, (whole) => whole.subarray(0, whole.length >> 1)),
    'STORE_OBJECT_CORRUPT',
  ],
  ['missing', 'base image', (path: string) => rmSync(path), 'STORE_OBJECT_MISSING'],
] as const;

test('a store that is damaged under a node: routes that are loaded serve on, errors name file and command, a repair is taken', async () => {
  const names = ['small', ...FAULTS.map(([name]) => name)];
  const components = await Promise.all(names.map((name, index) => guest(name, index)));
  const store = await freezeGuests(
    ['js-tiny'],
    Object.fromEntries(names.map((name, index) => [name, components[index] as Uint8Array])),
  );
  const routes = [...names, 'js-tiny'].map((name) => hostRoute(`${name}.test`, name));
  const node = await serve({ threads: 1, routes }, { store });
  const assertLoadedServe = async (): Promise<void> => {
    await assertServes(node, 'small.test', 'small');
    await assertServes(node, 'js-tiny.test', 'tiny 1');
  };
  await assertLoadedServe();

  // What is loaded: the image of the large one is mapped, that of the small one is copied.
  for (const name of ['small', 'js-tiny']) {
    const path = pathOf(store, name, 'base image');
    damage(path, flipBit);
    await assertLoadedServe();
    truncateSync(path, PAGE);
    await assertLoadedServe();
    rmSync(path);
    await assertLoadedServe();
  }

  // What is not loaded yet.
  const command = `thaw gc --verify --store ${store}`;
  const paths = FAULTS.map(([name, role]) => (role === null ? manifestPath(store, name) : pathOf(store, name, role)));
  for (const [index, [name, role, harm, code]] of FAULTS.entries()) {
    const path = paths[index] as string;
    harm(path);
    const { status, text } = await node.send('/', { host: `${name}.test` });
    assert.equal(`${status} ${text}`, '500 the app failed\n');
    await eventually(`the log names ${path} and ${command}`, () =>
      node
        .log()
        .some(
          (line) =>
            line.code === code &&
            line.route === `${name}.test/...` &&
            line.msg?.includes(path) &&
            line.msg.includes(command),
        ),
    );
    await assertLoadedServe();
    // An image is for nodes only.
    if (role === 'base image') continue;
    const { code: exit, stderr } = await thaw(['inspect', name, '--store', store], options);
    assert.equal(exit, 1);
    assert.ok(stderr.includes(path) && stderr.includes(command), stderr);
  }

  // What the errors say to do.
  const collected = await thaw(['gc', '--verify', '--store', store], options);
  assert.equal(collected.code, 1, collected.stderr);
  for (const [name] of FAULTS) assert.match(collected.stdout, new RegExp(`\\b${name}\\b.* again`));
  for (const [index, name] of names.entries()) {
    const input = fileOf(name, components[index] as Uint8Array);
    const { code, stderr } = await thaw(['build', input, '--store', store], options);
    assert.equal(code, 0, stderr);
    await assertServes(node, `${name}.test`, name);
  }
  const listed = await thaw(['ls', '--store', store], options);
  assert.equal(listed.code, 0, listed.stderr);
  assert.doesNotMatch(listed.stdout, /damaged/);
});

test('a build into a store whose disk is full says so, and leaves the store as it was', async (t) => {
  const disk = temporaryDirectory();
  const mount = run('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk]);
  if (mount.status !== 0) return t.skip('a tmpfs cannot be mounted here');
  try {
    const store = join(disk, 'store');
    assert.equal((await thaw(['build', fileOf('old', await guest('old')), '--store', store], options)).code, 0);
    writeFileSync(join(disk, 'rest'), '');
    fill(join(disk, 'rest'));
    const { code, stderr } = await thaw(['build', fileOf('new', await guest('new', 1)), '--store', store], options);
    assert.equal(code, 1);
    assert.ok(stderr.includes(store) && stderr.includes('ENOSPC') && stderr.includes('--store'), stderr);
    await assertReadable(store, ['old']);
  } finally {
    run('umount', [disk]);
  }
});

/** Writes until the disk has no room. */
function fill(path: string): void {
  const chunk = Buffer.alloc(PAGE);
  try {
    for (;;) writeFileSync(path, chunk, { flag: 'a' });
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
}

test('a build that may write no file of this size says so, and leaves the store as it was', async (t) => {
  const store = join(temporaryDirectory(), 'store');
  assert.equal((await thaw(['build', fileOf('old', await guest('old')), '--store', store], options)).code, 0);
  const limited = run('prlimit', [
    '--fsize=512',
    process.execPath,
    BIN,
    'build',
    fileOf('new', await guest('new', 1)),
    '--store',
    store,
  ]);
  if (limited.error !== undefined) return t.skip('prlimit is not there');
  const stderr = limited.stderr.toString();
  assert.equal(limited.status, 1, stderr);
  assert.ok(stderr.includes(store) && stderr.includes('EFBIG'), stderr);
  await assertReadable(store, ['old']);
});

/** By the command line: these names are there and whole, and a collection finds nothing damaged or missing. */
async function assertReadable(store: string, names: readonly string[]): Promise<void> {
  const listed = await thaw(['ls', '--json', '--store', store], options);
  assert.equal(listed.code, 0, listed.stderr);
  const rows = JSON.parse(listed.stdout) as { name: string; error?: unknown }[];
  assert.deepEqual(
    rows.map(({ name, error }) => [name, error]),
    names.map((name) => [name, undefined]),
  );
  for (const name of names) assert.equal((await thaw(['inspect', name, '--store', store], options)).code, 0);
  const collected = await thaw(['gc', '--verify', '--json', '--store', store], options);
  assert.equal(collected.code, 0, collected.stdout);
  const { sweep, corrupt, missing } = JSON.parse(collected.stdout) as {
    sweep: { kind: string };
    corrupt: [];
    missing: [];
  };
  assert.deepEqual([sweep.kind, corrupt, missing], ['done', [], []]);
}

/** What changes a store, as the kernel sees it. Files and directories that are made come just before one of these. */
const STEPS = 'fsync,ftruncate,pwrite64,rename,utimensat,unlink';

/** Builds under strace. The store's work is done by one thread, so that the n-th step is the same in each run. */
function tracedBuild(input: string, store: string, strace: readonly string[]): SpawnSyncReturns<Buffer> {
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1', NODE_COMPILE_CACHE: COMPILE_CACHE };
  const trace = ['-f', '-qq', '-e', `trace=${STEPS}`, ...strace];
  return run('strace', [...trace, process.execPath, BIN, 'build', input, '--store', store], env);
}

/** A step of a build: the n-th call of this name. */
type Step = { readonly call: string; readonly nth: number };

/** The steps of a build of this input in their order, or why they cannot be found out. */
function stepsOf(input: string): readonly Step[] | string {
  const log = join(root, 'steps');
  const build = tracedBuild(input, join(temporaryDirectory(), 'store'), ['-o', log]);
  if (build.error !== undefined) return build.error.message;
  if (build.status !== 0) return build.stderr.toString();
  const calls = readFileSync(log, 'utf8').matchAll(/^(\d+) +(\w+)\(/gm);
  const threads = Map.groupBy(calls, ([, thread]) => thread);
  const [longest = []] = [...threads.values()].toSorted((one, other) => other.length - one.length);
  const counts = new Map<string, number>();
  return longest.map(([, , call = '']) => {
    const nth = (counts.get(call) ?? 0) + 1;
    counts.set(call, nth);
    return { call, nth };
  });
}

/** A build that is killed takes 0.5 s. These are spread over its objects, its manifest and its name. */
const KILLS = 5;

/** Another guest each time: what one build has stored the next need not. */
const input = async (step: number): Promise<string> => fileOf('new', await silentComponent(`${step}`, { code: step }));

/** Every file in a directory, and in those in it. */
const filesOf = (...path: readonly string[]): string[] =>
  readdirSync(join(...path), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name));

test('a build that is killed at any step leaves a store that is read, served from and collected', async (t) => {
  const store = await freezeGuests([], { old: await guest('old') });
  const node = await serve({ threads: 1, routes: [hostRoute('old.test', 'old')] }, { store });
  await assertServes(node, 'old.test', 'old');
  const steps = stepsOf(await input(0));
  if (typeof steps === 'string') return t.skip(`strace cannot be run here: ${steps}`);
  const total = steps.length;
  assert.ok(total > 30, `${total} steps`);
  const spread = Array.from({ length: KILLS }, (_, index) => Math.floor((index * total) / KILLS));
  let isComplete = false;
  for (const step of new Set([...spread, total - 2, total - 1])) {
    const { call, nth } = steps[step] as Step;
    const kill = ['-o', join(root, 'steps'), '-e', `inject=${call}:signal=KILL:when=${nth}`];
    const build = tracedBuild(await input(step + 1), store, kill);
    assert.equal(build.signal, 'SIGKILL', `step ${step} of ${total}: ${build.stderr.toString()}`);
    look(store, (seen) => {
      isComplete = seen.listRefs().some(({ name }) => name === 'new');
      assert.equal(isComplete, step === total - 1, `the name is there after ${step} of ${total} steps`);
      for (const { name, digest } of seen.listRefs()) {
        for (const { ref } of objectsOf(seen.loadManifest(digest))) assert.ok(seen.readObject(ref, name));
      }
    });
    await assertServes(node, 'old.test', 'old');
  }
  assert.ok(isComplete);
  assert.ok(readdirSync(join(store, 'tmp')).length > 0, 'a build was killed while it wrote');
  await assertReadable(store, ['new', 'old']);
  // An hour later.
  for (const file of filesOf(store)) age(file, 7_200_000);
  assert.equal((await thaw(['gc', '--verify', '--store', store], options)).code, 0);
  assert.deepEqual(readdirSync(join(store, 'tmp')), []);
  const needed = ['new', 'old'].flatMap((name) => [
    manifestPath(store, name),
    ...objectsOf(manifestOf(store, name)).map(({ ref }) => objectPath(store, ref)),
  ]);
  assert.deepEqual(filesOf(store, 'objects').toSorted(), [...new Set(needed)].toSorted());
  await assertServes(node, 'old.test', 'old');
});
