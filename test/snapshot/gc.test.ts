import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GC_GRACE_MS } from '../../src/snapshot/gc.ts';
import type { GcReport } from '../../src/snapshot/gc.ts';
import { objectsOf } from '../../src/snapshot/manifest.ts';
import type { Manifest, ObjectRef } from '../../src/snapshot/manifest.ts';
import {
  age,
  bytesOf,
  damage,
  flipBit,
  objectPath,
  openStore,
  putSnapshot,
  temporaryDirectory,
  thawError,
  watchedOps,
} from './support.ts';

const OLD = GC_GRACE_MS + 60_000;

function ageSnapshot(directory: string, { ref, manifest }: { ref: ObjectRef; manifest: Manifest }): void {
  for (const needed of [ref, ...objectsOf(manifest).map(({ ref }) => ref)]) age(objectPath(directory, needed), OLD);
}

const digestsOf = (list: readonly ObjectRef[]): string[] => list.map(({ digest }) => digest).toSorted();

function sweepOf(report: GcReport): { removed: string[]; young: string[] } {
  assert.equal(report.sweep.kind, 'done');
  return { removed: digestsOf(report.sweep.removed), young: digestsOf(report.sweep.young) };
}

test('gc() removes what no name leads to and keeps what two snapshots share', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const [kept, dropped] = [await putSnapshot(store, 'kept'), await putSnapshot(store, 'dropped')];
  await store.setRef('kept', kept.ref.digest, 'kept.js');
  await store.setRef('dropped', dropped.ref.digest, 'dropped.js');
  for (const snapshot of [kept, dropped]) ageSnapshot(directory, snapshot);
  assert.deepEqual(sweepOf(await store.gc()), { removed: [], young: [] });
  await store.removeRef('dropped');

  const report = await store.gc();
  const shared = new Set(objectsOf(kept.manifest).map(({ ref }) => ref.digest));
  const own = [dropped.ref, ...objectsOf(dropped.manifest).map(({ ref }) => ref)].filter(
    ({ digest }) => !shared.has(digest),
  );
  assert.equal(own.length, 2);
  assert.deepEqual(sweepOf(report), { removed: own.map(({ digest }) => digest).toSorted(), young: [] });
  for (const ref of own) assert.ok(!existsSync(objectPath(directory, ref)));
  for (const { ref } of objectsOf(store.loadManifest(kept.ref.digest))) store.readObject(ref);
  assert.deepEqual([report.corrupt, report.missing, report.temporaries], [[], [], 0]);
});

test('gc() spares what is young: another process may be about to name it', async (t) => {
  const store = openStore(t);
  const { ref } = await putSnapshot(store);
  assert.equal(sweepOf(await store.gc()).young.length, 6);
  await store.setRef('hello', ref.digest, 'hello.js');
  assert.deepEqual(sweepOf(await store.gc({ graceMs: 0 })), { removed: [], young: [] });
});

test('gc() spares old objects that a build has put again, or that were named anew', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const snapshot = await putSnapshot(store);
  ageSnapshot(directory, snapshot);
  await putSnapshot(store);
  assert.deepEqual(sweepOf(await store.gc()).removed, []);
  ageSnapshot(directory, snapshot);
  await store.setRef('hello', snapshot.ref.digest, 'hello.js');
  await store.removeRef('hello');
  assert.deepEqual(sweepOf(await store.gc()).removed, []);
});

test('gc() does not lose an object that is put at the moment of its removal', async (t) => {
  const directory = temporaryDirectory(t);
  const builder = openStore(t, directory);
  const ref = await builder.putObject(bytesOf('code'));
  const path = objectPath(directory, ref);
  age(path, OLD);
  // The rename happens after the build has looked, found the object and touched it.
  let races = 0;
  const collector = openStore(
    t,
    directory,
    watchedOps((operation) => {
      if (operation === 'rename' && races++ === 0) age(path, 0);
    }),
  );
  assert.deepEqual(sweepOf(await collector.gc()), { removed: [], young: [ref.digest] });
  assert.equal(races, 2);
  assert.deepEqual(builder.readObject(ref), bytesOf('code'));
});

test('gc() keeps the roots it is given', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const snapshot = await putSnapshot(store);
  ageSnapshot(directory, snapshot);
  assert.deepEqual(sweepOf(await store.gc({ roots: [snapshot.ref.digest] })), { removed: [], young: [] });
  assert.equal(sweepOf(await store.gc()).removed.length, 6);
});

test('gc() removes nothing when it cannot tell what a snapshot needs', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const snapshot = await putSnapshot(store);
  await store.setRef('hello', snapshot.ref.digest, 'hello.js');
  ageSnapshot(directory, snapshot);
  damage(objectPath(directory, snapshot.ref), flipBit);
  writeFileSync(join(directory, 'refs', 'bad.json'), '{}');
  const { sweep } = await store.gc({ graceMs: 0 });
  assert.equal(sweep.kind, 'skipped');
  const [bad, hello] = sweep.unreadable;
  assert.ok(bad?.name === 'bad' && thawError('STORE_REF_INVALID')(bad.error));
  assert.ok(hello?.name === 'hello' && thawError('STORE_OBJECT_CORRUPT', '"hello"')(hello.error));
  for (const { ref } of objectsOf(snapshot.manifest)) store.readObject(ref);
});

test('gc({ verify }) removes damaged objects and says who needs them', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const snapshot = await putSnapshot(store);
  await store.setRef('hello', snapshot.ref.digest, 'hello.js');
  await store.setRef('other', snapshot.ref.digest, 'hello.js');
  const [main, adapter] = snapshot.manifest.code;
  assert.ok(main !== undefined && adapter !== undefined);
  damage(objectPath(directory, main), flipBit);
  const { program } = snapshot.manifest;
  damage(objectPath(directory, program), (bytes) => bytes.subarray(1));
  rmSync(objectPath(directory, adapter));

  const neededBy = ['hello', 'other'];
  // A store that has read the program before the damage knows what else is needed, another does not.
  store.loadManifest(snapshot.ref.digest);
  const report = await store.gc({ verify: true });
  assert.deepEqual(
    report.corrupt.toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
    [main.digest, program.digest].toSorted().map((digest) => ({ digest, neededBy })),
  );
  assert.deepEqual(report.missing, [{ digest: adapter.digest, neededBy }]);
  assert.ok(!existsSync(objectPath(directory, main)));
  await putSnapshot(store);
  const { corrupt, missing } = await store.gc({ verify: true });
  assert.deepEqual([corrupt, missing], [[], []]);
});

test('gc({ verify }) says who needs a damaged program, and spares what it may have named', async (t) => {
  const directory = temporaryDirectory(t);
  const builder = openStore(t, directory);
  const { ref, manifest } = await putSnapshot(builder);
  await builder.setRef('hello', ref.digest, 'hello.js');
  ageSnapshot(directory, { ref, manifest });
  damage(objectPath(directory, manifest.program), flipBit);
  const store = openStore(t, directory);
  const report = await store.gc({ verify: true, graceMs: 0 });
  assert.deepEqual(report.corrupt, [{ digest: manifest.program.digest, neededBy: ['hello'] }]);
  assert.equal(report.sweep.kind, 'skipped');
  const [hello] = report.sweep.unreadable;
  assert.ok(hello !== undefined && thawError('STORE_OBJECT_CORRUPT', manifest.program.digest, '"hello"')(hello.error));
  assert.deepEqual((await store.gc()).missing, [{ digest: manifest.program.digest, neededBy: ['hello'] }]);
  await putSnapshot(store);
  assert.deepEqual(sweepOf(await store.gc({ verify: true, graceMs: 0 })), { removed: [], young: [] });
});

test('gc() removes stale temporary files only', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const [stale, running] = ['1-stale', '2-running'].map((name) => join(directory, 'tmp', name));
  assert.ok(stale !== undefined && running !== undefined);
  writeFileSync(stale, 'half');
  writeFileSync(running, 'half');
  age(stale, OLD);
  assert.equal((await store.gc()).temporaries, 1);
  assert.deepEqual([existsSync(stale), existsSync(running)], [false, true]);
});

test('gc() leaves alone what is not its own', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  const foreign = join(directory, 'objects', 'README');
  writeFileSync(foreign, '');
  age(foreign, OLD);
  await store.gc({ verify: true, graceMs: 0 });
  assert.ok(existsSync(foreign));
});
