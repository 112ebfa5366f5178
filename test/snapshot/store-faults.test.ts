import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, truncateSync, chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ErrorCode } from '../../src/errors.ts';
import { sha256 } from '../../src/snapshot/digest.ts';
import { objectsOf } from '../../src/snapshot/manifest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import {
  PAGE,
  bytesOf,
  damage,
  flipBit,
  objectPath,
  openStore,
  putSnapshot,
  systemError,
  temporaryDirectory,
  thawError,
  unsyncedOps,
  watchedOps,
} from './support.ts';

const child = fileURLToPath(new URL('store-child.ts', import.meta.url));

test('a damaged object is told by size and by digest, and a put mends it', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const bytes = bytesOf('code of main');
  const ref = await store.putObject(bytes);
  const path = objectPath(directory, ref);
  const cases: readonly (readonly [change: () => void, ...tells: string[]])[] = [
    [() => damage(path, flipBit), `expected SHA-256 ${ref.digest}, found `],
    [() => damage(path, (whole) => whole.subarray(0, 5)), 'expected 12 bytes, found 5'],
    [() => damage(path, (whole) => Buffer.concat([whole, whole])), 'expected 12 bytes, found 24'],
    [() => truncateSync(path, 0), 'expected 12 bytes, found 0'],
  ];
  for (const [change, ...tells] of cases) {
    change();
    const check = thawError('STORE_OBJECT_CORRUPT', 'code of module 0', path, ...tells);
    assert.throws(() => store.readObject(ref, 'code of module 0'), check);
    assert.throws(() => store.openObject(ref, 'code of module 0'), check);
    assert.deepEqual(await store.putObject(bytes), ref);
    assert.deepEqual(store.readObject(ref), bytes);
  }
});

test('a missing object is told by digest, file and role', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const ref = { digest: sha256('never put'), bytes: 9 };
  const check = thawError('STORE_OBJECT_MISSING', 'delta of "hello"', ref.digest, objectPath(directory, ref));
  assert.throws(() => store.readObject(ref, 'delta of "hello"'), check);
  assert.throws(() => store.openObject(ref, 'delta of "hello"'), check);
});

test('openObject() leaves no descriptor behind when it fails', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const ref = await store.putObject(bytesOf('image'));
  damage(objectPath(directory, ref), flipBit);
  const before = readdirSync('/proc/self/fd').length;
  for (let round = 0; round < 8; round++) assert.throws(() => store.openObject(ref), thawError('STORE_OBJECT_CORRUPT'));
  assert.ok(readdirSync('/proc/self/fd').length < before + 8);
});

const systemFaults: readonly (readonly [errno: string, code: ErrorCode])[] = [
  ['ENOSPC', 'STORE_FULL'],
  ['EDQUOT', 'STORE_FULL'],
  ['EACCES', 'STORE_UNWRITABLE'],
  ['EROFS', 'STORE_UNWRITABLE'],
  ['EIO', 'STORE_IO_FAILED'],
];

for (const [errno, code] of systemFaults) {
  test(`putObject() with ${errno} at any operation is ${code}, and leaves neither object nor temporary file`, async (t) => {
    for (const operation of ['makeDirectory', 'create', 'write', 'truncate', 'sync', 'rename']) {
      const directory = temporaryDirectory(t);
      const store = openStore(
        t,
        directory,
        watchedOps((current) => {
          if (current === operation) throw systemError(errno);
        }),
      );
      const bytes = bytesOf('code');
      const path = objectPath(directory, { digest: sha256(bytes), bytes: 4 });
      await assert.rejects(store.putObject(bytes), thawError(code, path, '4 bytes', errno), operation);
      assert.ok(!existsSync(path));
      assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
    }
  });
}

test('setRef() with a full disk leaves the name as it was', async (t) => {
  const directory = temporaryDirectory(t);
  let isFull = false;
  const ops = watchedOps((operation) => {
    if (isFull && operation === 'write') throw systemError('ENOSPC');
  });
  const store = openStore(t, directory, ops);
  const [one, two] = [await putSnapshot(store, 'one'), await putSnapshot(store, 'two')];
  await store.setRef('hello', one.ref.digest, 'one.js');
  isFull = true;
  await assert.rejects(store.setRef('hello', two.ref.digest, 'two.js'), thawError('STORE_FULL', 'hello.json'));
  assert.equal(store.resolve('hello'), one.ref.digest);
});

test('a disk that is really full is STORE_FULL', async (t) => {
  const directory = temporaryDirectory(t);
  const mount = spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', directory]);
  if (mount.status !== 0) return t.skip('a tmpfs cannot be mounted here; the same fault is injected above');
  try {
    const store = SnapshotStore.open(directory, { create: true });
    const image = new Uint8Array(64 * PAGE).fill(1);
    await assert.rejects(store.putObject(image), thawError('STORE_FULL', directory, `${image.length} bytes`));
    assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
    assert.deepEqual(store.readObject(await store.putObject(bytesOf('small'))), bytesOf('small'));
  } finally {
    spawnSync('/bin/umount', [directory]);
  }
});

test('a store that may not be written is STORE_UNWRITABLE', async (t) => {
  if (process.getuid?.() === 0) return t.skip('root may write anywhere; the same fault is injected above');
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  chmodSync(join(directory, 'objects'), 0o555);
  await assert.rejects(store.putObject(bytesOf('code')), thawError('STORE_UNWRITABLE', directory));
  chmodSync(join(directory, 'objects'), 0o755);
});

test('a short write is carried on', async (t) => {
  const directory = temporaryDirectory(t);
  const whole = watchedOps(() => undefined);
  const store = openStore(t, directory, {
    ...whole,
    async create(path, mode) {
      const file = await whole.create(path, mode);
      return { ...file, write: (bytes, position) => file.write(bytes.subarray(0, 1000), position) };
    },
  });
  const bytes = new Uint8Array(3 * PAGE + 7).map((_, index) => index % 251);
  assert.deepEqual(store.readObject(await store.putObject(bytes)), bytes);
});

test('what a name leads to is durable before the name is', async (t) => {
  const directory = temporaryDirectory(t);
  const steps: string[] = [];
  const store = openStore(
    t,
    directory,
    watchedOps((operation, path) => steps.push(`${operation} ${path}`)),
  );
  const { ref, manifest } = await putSnapshot(store);
  await store.setRef('hello', ref.digest, 'hello.js');
  const named = steps.indexOf(`rename ${join(directory, 'refs', 'hello.json')}`);
  assert.ok(named > 0);
  for (const needed of [ref, ...objectsOf(manifest).map(({ ref }) => ref)]) {
    const path = objectPath(directory, needed);
    const renamed = steps.indexOf(`rename ${path}`);
    const synced = steps.indexOf(`syncDirectory ${join(path, '..')}`, renamed);
    assert.ok(renamed > 0 && synced > renamed && synced < named);
    // The content first: create, write, truncate, sync of one temporary file, then the rename.
    const before = steps.slice(0, renamed).map((step) => step.split(' ')[0]);
    assert.deepEqual(before.slice(-4), ['create', 'write', 'truncate', 'sync']);
  }
  assert.match(steps.at(-1) ?? '', /^syncDirectory .*refs$/);
});

/** After a crash: the old snapshot or the new, whole, nothing damaged, and a new build mends the rest. */
async function checkAfterCrash(directory: string, oldDigest: string): Promise<'old' | 'new'> {
  const store = SnapshotStore.open(directory, { create: false, ops: unsyncedOps });
  try {
    const digest = store.resolve('hello');
    for (const { ref } of objectsOf(store.loadManifest(digest))) store.readObject(ref);
    const report = await store.gc({ verify: true, graceMs: 0 });
    assert.deepEqual([report.sweep.kind, report.corrupt, report.missing], ['done', [], []]);
    assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
    const { ref } = await putSnapshot(store, 'new');
    await store.setRef('hello', ref.digest, 'new.js');
    assert.equal(store.resolve('hello'), ref.digest);
    return digest === oldDigest ? 'old' : 'new';
  } finally {
    store.close();
  }
}

async function oldStore(directory: string): Promise<string> {
  const store = SnapshotStore.open(directory, { create: true, ops: unsyncedOps });
  const { ref } = await putSnapshot(store, 'old');
  await store.setRef('hello', ref.digest, 'old.js');
  return ref.digest;
}

test('a build that stops before any of its operations leaves the old snapshot or the new one', async (t) => {
  const found: string[] = [];
  for (let stop = 0, isComplete = false; !isComplete; stop++) {
    const directory = temporaryDirectory(t);
    const old = await oldStore(directory);
    let done = 0;
    // From there on nothing succeeds, tidying up neither: what a dead process leaves.
    const ops = watchedOps(() => {
      if (done++ >= stop) throw systemError('EIO');
    });
    const store = openStore(t, directory, ops);
    const build = putSnapshot(store, 'new').then(({ ref }) => store.setRef('hello', ref.digest, 'new.js'));
    isComplete = await build.then(
      () => true,
      () => false,
    );
    found.push(await checkAfterCrash(directory, old));
    assert.ok(stop < 200, 'a build has an end');
  }
  assert.ok(found.length > 30, `${found.length} operations`);
  // Once the new one is there it stays: only the last rename makes it so.
  assert.ok(found.lastIndexOf('old') === found.indexOf('new') - 1);
});

test('a build that is killed leaves the old snapshot', async (t) => {
  // Spread over the operations of a build, of which the test above has all.
  for (const operation of [1, 13, 19, 24, 30]) {
    const directory = temporaryDirectory(t);
    const old = await oldStore(directory);
    const { signal, stderr } = spawnSync(process.execPath, [child, 'die', directory, String(operation)]);
    assert.equal(signal, 'SIGKILL', stderr.toString());
    assert.equal(await checkAfterCrash(directory, old), 'old');
  }
});

test('a half-written temporary file is never taken for an object', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const { ref } = await putSnapshot(store);
  writeFileSync(join(directory, 'tmp', '1-half'), 'half');
  writeFileSync(join(directory, 'refs', '.hello.json.swp'), 'half');
  assert.deepEqual(store.listRefs(), []);
  assert.equal(store.resolve(ref.digest.slice(0, 8)), ref.digest);
});

test('two processes put one object while it is read, removed and damaged', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const bytes = bytesOf('shared '.repeat(3000));
  const ref = await store.putObject(bytes);
  const path = objectPath(directory, ref);
  const others = [0, 1].map(() => spawn(process.execPath, [child, 'put', directory, 'shared '.repeat(3000)]));
  t.after(() => others.forEach((other) => other.kill()));
  const exits = others.map((other) => new Promise((resolve) => other.on('exit', resolve)));
  await Promise.all(others.map((other) => new Promise((resolve) => other.stdout.once('data', resolve))));
  for (let round = 0; round < 20; round++) {
    if (round % 3 === 0) rmSync(path);
    if (round % 3 === 1) damage(path, flipBit);
    assert.deepEqual(await store.putObject(bytes), ref);
    assert.deepEqual(store.readObject(ref), bytes);
  }
  for (const other of others) other.stdin.end();
  assert.deepEqual(await Promise.all(exits), [0, 0]);
  assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
});
