import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { freeze } from '../../src/build/freeze.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import type { Digest } from '../../src/wasm/plan.ts';
import { unsyncedOps } from '../snapshot/support.ts';
import { buildGuest, type GuestName } from './build.ts';

const SRC = join(import.meta.dirname, '../../src');
const CACHE = join(import.meta.dirname, '../.cache/frozen');

/** A digest of all that can change a snapshot: thaw itself, and the guest. */
async function cacheKey(component: Uint8Array): Promise<string> {
  const hash = createHash('sha256').update(component);
  const names = await readdir(SRC, { recursive: true });
  for (const name of names.filter((name) => name.endsWith('.ts')).toSorted()) {
    hash.update(name).update(await readFile(join(SRC, name)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** The one snapshot of a store of the cache, or null where the store is not there. */
async function digestIn(directory: string, name: GuestName): Promise<Digest | null> {
  const there = await readdir(directory).catch(() => []);
  if (there.length === 0) return null;
  const store = SnapshotStore.open(directory, { create: false, ops: unsyncedOps });
  try {
    return store.resolve(name);
  } finally {
    store.close();
  }
}

/** Freezes a guest into a store of its own, which then takes its place. Whoever comes first, the bytes are the same. */
async function freezeInto(directory: string, name: GuestName, component: Uint8Array): Promise<Digest> {
  const own = await mkdtemp(`${directory}.`);
  const store = SnapshotStore.open(own, { create: true, ops: unsyncedOps });
  const { digest } = await freeze(component, store);
  await store.setRef(name, digest, 'a test');
  store.close();
  for (const old of await readdir(CACHE)) {
    const isOlder = old.startsWith(`${name}-`) && old.length === `${name}-`.length + 16;
    if (isOlder && join(CACHE, old) !== directory) await rm(join(CACHE, old), { recursive: true, force: true });
  }
  await rename(own, directory).catch(() => rm(own, { recursive: true, force: true }));
  return digest;
}

/**
 * Puts the snapshot of a guest into a store. Freezing one with an engine takes a second of work, and fifteen files of
 * tests begin with it: it is done once for each state of the sources.
 */
export async function freezeGuest(name: GuestName, store: SnapshotStore): Promise<Digest> {
  const component = await buildGuest(name);
  await mkdir(CACHE, { recursive: true });
  const directory = join(CACHE, `${name}-${await cacheKey(component)}`);
  const digest = (await digestIn(directory, name)) ?? (await freezeInto(directory, name, component));
  // Copies: tests damage the objects of their stores.
  await cp(join(directory, 'objects'), join(store.directory, 'objects'), { recursive: true });
  return digest;
}
