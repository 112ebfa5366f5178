import assert from 'node:assert/strict';
import {
  fstatSync,
  mkdirSync,
  readFileSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { SNAPSHOT_FORMAT } from '../../src/snapshot/manifest.ts';
import { canonicalJson } from '../../src/snapshot/canonical-json.ts';
import { sha256 } from '../../src/snapshot/digest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import {
  PAGE,
  age,
  bytesOf,
  damage,
  flipBit,
  objectPath,
  openStore,
  putSnapshot,
  temporaryDirectory,
  thawError,
  unsyncedOps,
} from './support.ts';

test('putObject() stores bytes under their digest, readObject() gives them back', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  for (const bytes of [bytesOf('some code'), new Uint8Array(0), new Uint8Array(PAGE + 1).fill(3, PAGE)]) {
    const ref = await store.putObject(bytes);
    assert.deepEqual(ref, { digest: sha256(bytes), bytes: bytes.length });
    assert.deepEqual(store.readObject(ref), bytes);
    assert.deepEqual(new Uint8Array(readFileSync(objectPath(directory, ref))), bytes);
  }
  assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
});

test('putObject() leaves holes where an image is zero', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const image = new Uint8Array(10 * 1024 * 1024);
  image[5 * PAGE] = 1;
  image[image.length - PAGE - 1] = 2;
  const ref = await store.putObject(image);
  const { size, blocks } = statSync(objectPath(directory, ref));
  assert.equal(size, image.length);
  // Two pages, and what file systems add for their own maps.
  assert.ok(blocks * 512 <= 16 * PAGE, `${blocks * 512} bytes on disk`);
  assert.equal(Buffer.compare(store.readObject(ref), image), 0);
});

test('putObject() of what is there keeps the file, and makes it young', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const ref = await store.putObject(bytesOf('code'));
  const path = objectPath(directory, ref);
  age(path, 60_000);
  const { ino } = statSync(path);
  assert.deepEqual(await store.putObject(bytesOf('code')), ref);
  assert.equal(statSync(path).ino, ino);
  assert.ok(Date.now() - statSync(path).mtimeMs < 30_000);
});

test('openObject() verifies once, and gives what was stored until the store is closed, whatever becomes of the file', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const ref = await store.putObject(bytesOf('an image'));
  const { fd, bytes } = store.openObject(ref);
  assert.equal(bytes, 8);
  const path = objectPath(directory, ref);
  const changes = [
    () => age(path, 60_000),
    () => damage(path, flipBit),
    () => truncateSync(path, 0),
    () => rmSync(path),
  ];
  for (const change of changes) {
    change();
    assert.equal(store.openObject(ref).fd, fd);
    const content = Buffer.alloc(9);
    assert.equal(readSync(fd, content, 0, 9, 0), 8);
    assert.equal(content.toString('latin1', 0, 8), 'an image');
  }
  store.close();
  assert.throws(() => fstatSync(fd), { code: 'EBADF' });
});

test('useObject() gives what was stored, for as long as it is mapped, and no more when the file is damaged', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const image = new Uint8Array(5 * PAGE);
  image[3 * PAGE] = 7;
  const ref = await store.putObject(image);
  const path = objectPath(directory, ref);
  const content = Buffer.alloc(image.length);
  const fd = store.useObject(ref, 'delta', (fd) => {
    damage(path, (whole) => whole.subarray(0, PAGE));
    assert.equal(readSync(fd, content, 0, content.length, 0), image.length);
    return fd;
  });
  assert.ok(content.equals(image));
  assert.throws(() => fstatSync(fd), { code: 'EBADF' });
  assert.throws(() => store.useObject(ref, 'delta', () => 0), thawError('STORE_OBJECT_CORRUPT', 'delta', path));
});

test('a ref resolves by name, by digest and by the beginning of the digest', async (t) => {
  const store = openStore(t);
  const { ref, manifest } = await putSnapshot(store);
  await store.setRef('hello', ref.digest, 'hello.js');
  for (const text of ['hello', ref.digest, ref.digest.slice(0, 8), ref.digest.slice(0, 63)]) {
    assert.equal(store.resolve(text), ref.digest);
  }
  assert.deepEqual(store.loadManifest(ref.digest), manifest);
  for (const text of [ref.digest.slice(0, 7), 'f'.repeat(64), '0123456789']) {
    assert.throws(() => store.resolve(text), thawError('STORE_NOT_FOUND', text));
  }
});

test('resolve() prefers a name to a prefix, and suggests names that are near', async (t) => {
  const store = openStore(t);
  const [one, two] = [await putSnapshot(store, 'one'), await putSnapshot(store, 'two')];
  const name = one.ref.digest.slice(0, 8);
  await store.setRef(name, two.ref.digest, 'two.js');
  assert.equal(store.resolve(name), two.ref.digest);
  await store.setRef('hello', one.ref.digest, 'one.js');
  assert.throws(() => store.resolve('helo'), thawError('STORE_NOT_FOUND', '"helo"', 'did you mean "hello"?'));
});

test('resolve() refuses a prefix of two digests and tells both', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const digests = ['0', '1'].map((last) => `abcdef01${last.padStart(56, '0')}`);
  mkdirSync(join(directory, 'objects', 'ab'));
  for (const digest of digests) writeFileSync(objectPath(directory, { digest, bytes: 0 }), '');
  assert.throws(() => store.resolve('abcdef01'), thawError('STORE_NOT_FOUND', ...digests));
});

test('equal snapshots have equal digests', async (t) => {
  const [here, there] = [openStore(t), openStore(t)];
  assert.deepEqual((await putSnapshot(here)).ref, (await putSnapshot(there)).ref);
});

test('setRef() replaces, listRefs() lists in order, removeRef() forgets', async (t) => {
  const store = openStore(t);
  const [one, two] = [await putSnapshot(store, 'one'), await putSnapshot(store, 'two')];
  const before = Date.now();
  await store.setRef('b', one.ref.digest, 'one.js');
  await store.setRef('a.json', one.ref.digest, 'one.js');
  await store.setRef('b', two.ref.digest, 'two.js');
  assert.deepEqual(
    store.listRefs().map(({ name, digest, source }) => ({ name, digest, source })),
    [
      { name: 'a.json', digest: one.ref.digest, source: 'one.js' },
      { name: 'b', digest: two.ref.digest, source: 'two.js' },
    ],
  );
  for (const { createdAt } of store.listRefs()) {
    assert.ok(Date.parse(createdAt) >= before && Date.parse(createdAt) <= Date.now());
  }
  await store.removeRef('b');
  assert.deepEqual(
    store.listRefs().map(({ name }) => name),
    ['a.json'],
  );
  await assert.rejects(store.removeRef('b'), thawError('STORE_NOT_FOUND', '"b"'));
});

test('names are those of the table of errors', async (t) => {
  const store = openStore(t);
  const { ref } = await putSnapshot(store);
  for (const name of ['a', '0', 'my-app_1.2', 'a..b', 'x'.repeat(64)]) await store.setRef(name, ref.digest, 'x');
  for (const name of ['', '.', '..', '../x', 'a/b', 'A', '-a', 'é', 'a b', 'a\n', 'x'.repeat(65), ref.digest]) {
    await assert.rejects(store.setRef(name, ref.digest, 'x'), thawError('STORE_NAME_INVALID', JSON.stringify(name)));
  }
  assert.throws(() => store.resolve('../../etc/passwd'), thawError('STORE_NAME_INVALID'));
  await assert.rejects(store.removeRef('../x'), thawError('STORE_NAME_INVALID'));
});

test('setRef() refuses a snapshot that is not whole, naming what is missing', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const { ref, manifest } = await putSnapshot(store);
  const [main] = manifest.code;
  assert.ok(main !== undefined);
  rmSync(objectPath(directory, main));
  const check = thawError(
    'STORE_OBJECT_MISSING',
    'code of module 0 of snapshot "hello"',
    main.digest,
    objectPath(directory, main),
  );
  await assert.rejects(store.setRef('hello', ref.digest, 'hello.js'), check);
  assert.deepEqual(store.listRefs(), []);
});

test('snapshots of one engine share their program, on disk and in memory', async (t) => {
  const directory = temporaryDirectory(t);
  const builder = openStore(t, directory);
  const [one, two] = [await putSnapshot(builder, 'one'), await putSnapshot(builder, 'two')];
  assert.deepEqual(one.manifest.program, two.manifest.program);
  const store = openStore(t, directory);
  const [first, second] = [store.loadManifest(one.ref.digest), store.loadManifest(two.ref.digest)];
  assert.equal(first.plan, second.plan);
  assert.equal(first.code, second.code);
  assert.deepEqual([first, second], [one.manifest, two.manifest]);
  assert.throws(() => Object.assign(first.plan, { instances: [] }), TypeError);
  const shared = readFileSync(objectPath(directory, first.program), 'utf8');
  assert.equal(shared, canonicalJson({ format: SNAPSHOT_FORMAT, plan: first.plan, code: first.code }));
  const own = readFileSync(objectPath(directory, one.ref), 'utf8');
  const { format, program, codeDigest, state, component } = first;
  assert.equal(own, canonicalJson({ format, program, codeDigest, state, component }));
});

test('loadManifest() keeps as many programs as it may, and reads the others again', async (t) => {
  const store = openStore(t, temporaryDirectory(t), unsyncedOps);
  const { manifest } = await putSnapshot(store);
  const digests: string[] = [];
  for (let release = 0; release < 65; release++) {
    const modules = [{ name: `release ${release}` }, { name: 'adapter' }];
    digests.push((await store.putManifest({ ...manifest, plan: { ...manifest.plan, modules } })).digest);
  }
  const plans = digests.map((digest) => store.loadManifest(digest).plan);
  const again = (index: number): unknown => store.loadManifest(digests[index] ?? '').plan;
  assert.equal(again(64), plans[64]);
  assert.notEqual(again(0), plans[0]);
  assert.deepEqual(again(0), plans[0]);
});

test('a program that is missing or damaged is told with the snapshot that needs it', async (t) => {
  const directory = temporaryDirectory(t);
  const builder = openStore(t, directory);
  const { ref, manifest } = await putSnapshot(builder);
  await builder.setRef('hello', ref.digest, 'hello.js');
  const path = objectPath(directory, manifest.program);
  const tells = ['link plan and code list of snapshot "hello"', ref.digest, manifest.program.digest, path];
  damage(path, flipBit);
  assert.throws(() => openStore(t, directory).loadManifest(ref.digest), thawError('STORE_OBJECT_CORRUPT', ...tells));
  rmSync(path);
  const store = openStore(t, directory);
  assert.throws(() => store.loadManifest(ref.digest), thawError('STORE_OBJECT_MISSING', ...tells));
  // Who has read it can still serve, but a name must not stand for what another process cannot read.
  builder.loadManifest(ref.digest);
  const check = thawError('STORE_OBJECT_MISSING', 'link plan and code list of snapshot "other"', path);
  await assert.rejects(builder.setRef('other', ref.digest, 'hello.js'), check);
  await putSnapshot(store);
  assert.deepEqual(store.loadManifest(ref.digest), manifest);
});

test('a program that is not one is told with its object and the snapshot that needs it', async (t) => {
  const store = openStore(t);
  const { manifest } = await putSnapshot(store);
  const { plan, code, ...stored } = manifest;
  const cases: readonly (readonly [text: string, ...tells: string[]])[] = [
    ['\0asm', 'JSON'],
    [canonicalJson({ format: SNAPSHOT_FORMAT, plan }), 'field code: expected a value'],
    [canonicalJson({ format: 1, plan, code }), 'format 1', 'thaw build <input>'],
    [
      canonicalJson({ format: SNAPSHOT_FORMAT, plan: { ...plan, exports: {} }, code }),
      'field plan.exports: expected a list',
    ],
    [canonicalJson({ format: SNAPSHOT_FORMAT, plan: { ...plan, exports: [] }, code }), 'field codeDigest'],
  ];
  for (const [text, ...tells] of cases) {
    const program = await store.putObject(bytesOf(text));
    const { digest } = await store.putObject(bytesOf(canonicalJson({ ...stored, program })));
    const objects = tells.includes('field codeDigest') ? [digest] : [digest, program.digest];
    assert.throws(() => store.loadManifest(digest), thawError('STORE_MANIFEST_INVALID', ...objects, ...tells), text);
  }
});

test('loadManifest() holds the size of a program against the manifest, also when it has read the program', async (t) => {
  const store = openStore(t);
  const { ref, manifest } = await putSnapshot(store);
  store.loadManifest(ref.digest);
  const { plan: _plan, code: _code, ...stored } = manifest;
  const program = { ...stored.program, bytes: 7 };
  const { digest } = await store.putObject(bytesOf(canonicalJson({ ...stored, program })));
  assert.throws(() => store.loadManifest(digest), thawError('STORE_OBJECT_CORRUPT', 'expected 7 bytes', digest));
});

test('messages name a snapshot by the names that it has by then', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const { ref } = await putSnapshot(store);
  const refs = join(directory, 'refs');
  damage(objectPath(directory, ref), flipBit);
  const content = JSON.stringify({ digest: ref.digest, createdAt: '2026-01-01T00:00:00.000Z', source: 'a.js' });
  const load = (): unknown => store.loadManifest(ref.digest);
  // With a directory that has rested, and that has just changed.
  for (const [name, ms] of [
    ['one', 60_000],
    ['two', 0],
    ['three', 50_000],
  ] as const) {
    writeFileSync(join(refs, `${name}.json`), content);
    age(refs, ms);
    assert.throws(load, thawError('STORE_OBJECT_CORRUPT', `"${name}"`));
    assert.throws(load, thawError('STORE_OBJECT_CORRUPT', `"${name}"`));
  }
});

test('putManifest() refuses what loadManifest() would refuse', async (t) => {
  const store = openStore(t);
  const { manifest } = await putSnapshot(store);
  await assert.rejects(
    store.putManifest({ ...manifest, codeDigest: '0'.repeat(64) }),
    thawError('STORE_MANIFEST_INVALID', 'codeDigest'),
  );
});

test('loadManifest() of another format names the command that makes it anew', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const { manifest } = await putSnapshot(store);
  const { digest } = await store.putObject(bytesOf(canonicalJson({ ...manifest, format: 1 })));
  assert.throws(
    () => store.loadManifest(digest),
    thawError('STORE_MANIFEST_INVALID', 'format 1', 'thaw build <input>'),
  );
  const ref = { digest, createdAt: '2026-01-01T00:00:00.000Z', source: 'apps/hello.js' };
  writeFileSync(join(directory, 'refs', 'hello.json'), JSON.stringify(ref));
  assert.throws(
    () => store.loadManifest(digest),
    thawError('STORE_MANIFEST_INVALID', 'snapshot "hello"', 'thaw build apps/hello.js --name hello'),
  );
});

test('loadManifest() refuses an object that is no manifest', async (t) => {
  const store = openStore(t);
  const code = await store.putObject(bytesOf('\0asm'));
  assert.throws(() => store.loadManifest(code.digest), thawError('STORE_MANIFEST_INVALID', code.digest));
  const image = await store.putObject(new Uint8Array(16 * 1024 * 1024 + 1));
  assert.throws(() => store.loadManifest(image.digest), thawError('STORE_MANIFEST_INVALID', '16777217 bytes are over'));
});

test('a damaged ref file is named, and can be removed', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const path = join(directory, 'refs', 'hello.json');
  for (const content of ['', '{"digest":"00"}', '{"digest":']) {
    writeFileSync(path, content);
    assert.throws(() => store.resolve('hello'), thawError('STORE_REF_INVALID', '"hello"', path));
    assert.throws(() => store.listRefs(), thawError('STORE_REF_INVALID', path));
  }
  await store.removeRef('hello');
  assert.deepEqual(store.listRefs(), []);
});

test('open() says where there is no store, and makes one when asked', (t) => {
  const directory = join(temporaryDirectory(t), 'deep', 'store');
  assert.throws(() => SnapshotStore.open(directory, { create: false }), thawError('STORE_NOT_FOUND', directory));
  SnapshotStore.open(directory, { create: true }).close();
  assert.deepEqual(SnapshotStore.open(directory, { create: false }).listRefs(), []);
  const file = join(dirname(directory), 'file');
  writeFileSync(file, '');
  assert.throws(() => SnapshotStore.open(file, { create: true }), thawError('STORE_IO_FAILED', file));
});

test('a store whose empty directories were lost on the way can be read and written', async (t) => {
  const directory = temporaryDirectory(t);
  const { ref } = await putSnapshot(openStore(t, directory));
  rmSync(join(directory, 'tmp'), { recursive: true });
  const store = SnapshotStore.open(directory, { create: false });
  await store.setRef('hello', ref.digest, 'hello.js');
  assert.equal(store.resolve('hello'), ref.digest);
});
