/** Collection: what no name leads to is removed, unless it is young; damaged objects too, when asked to verify. */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ThawError } from '../errors.ts';
import type { Digest } from '../wasm/plan.ts';
import { sha256OfFile } from './digest.ts';
import { errnoOf, storeError } from './file-ops.ts';
import { objectsOf } from './manifest.ts';
import type { ObjectRef } from './manifest.ts';
import type { ManifestFiles } from './manifests.ts';
import { listDirectory } from './objects.ts';
import type { ObjectEntry, ObjectFiles } from './objects.ts';
import type { RefFiles } from './refs.ts';
import { makeScratch, scratchPath } from './write-file.ts';
import type { Scratch } from './write-file.ts';

/**
 * How long what nobody refers to is spared. A build writes its objects and then the name; between the first and the last
 * lie the writes of some 30 MB, a minute on the slowest SD card (0.5 MB/s). An hour is that sixty times over, for clocks
 * that are set and machines that are suspended, and what it costs is disk space for an hour.
 */
export const GC_GRACE_MS = 3_600_000;

export type GcOptions = {
  /** Hash every object and remove those whose content is not what was written. */
  readonly verify?: boolean;
  /** Manifests to keep beside those that have names: the digests that a config names. */
  readonly roots?: readonly Digest[];
  readonly graceMs?: number;
};

/** `bytes` is the length, `diskBytes` what the removal gives back to the disk. */
type Collected = ObjectRef & { readonly diskBytes: number };

/** An object that snapshots need and the store does not have, whole: `neededBy` has names, or digests of roots. */
type Loss = { readonly digest: Digest; readonly neededBy: readonly string[] };

export type GcReport = {
  /**
   * `skipped`: a manifest cannot be read, so nobody knows what it needs; nothing was removed for being unreachable.
   * `young` would have been removed, were they older than the grace period.
   */
  readonly sweep:
    | { readonly kind: 'done'; readonly removed: readonly Collected[]; readonly young: readonly Collected[] }
    | {
        readonly kind: 'skipped';
        readonly unreadable: readonly { readonly name: string; readonly error: ThawError }[];
      };
  /** Found damaged, and removed. Empty unless verifying. */
  readonly corrupt: readonly Loss[];
  /** Needed, and not there to begin with. */
  readonly missing: readonly Loss[];
  /** Files that a write left unfinished longer ago than the grace period, removed. */
  readonly temporaries: number;
};

export type GcStore = {
  readonly objects: ObjectFiles;
  readonly refs: RefFiles;
  readonly scratch: Scratch;
  readonly manifests: ManifestFiles;
};

type Marks = { readonly neededBy: Map<Digest, Set<string>>; readonly unreadable: { name: string; error: ThawError }[] };

export async function collectGarbage(store: GcStore, options: GcOptions): Promise<GcReport> {
  const { verify = false, roots = [], graceMs = GC_GRACE_MS } = options;
  await makeScratch(store.scratch);
  const { neededBy, unreadable } = mark(store, roots);
  const lossOf = (digest: Digest): Loss => ({ digest, neededBy: [...(neededBy.get(digest) ?? [])] });
  const entries = store.objects.list();
  const present = new Set(entries.map(({ digest }) => digest));
  const missing = [...neededBy.keys()].filter((digest) => !present.has(digest)).map(lossOf);

  const corrupt: Loss[] = [];
  const removed: Collected[] = [];
  const young: Collected[] = [];
  const isOld = (path: string): boolean => Date.now() - statSync(path).mtimeMs >= graceMs;
  for (const entry of entries) {
    if (verify && (await removeIf(store, entry, (path) => !isWhole(path, entry))) === 'removed') {
      corrupt.push(lossOf(entry.digest));
    } else if (unreadable.length === 0 && !neededBy.has(entry.digest)) {
      const { digest, bytes, diskBytes } = entry;
      const outcome = await removeIf(store, entry, isOld);
      if (outcome !== 'gone') (outcome === 'removed' ? removed : young).push({ digest, bytes, diskBytes });
    }
  }
  return {
    sweep: unreadable.length === 0 ? { kind: 'done', removed, young } : { kind: 'skipped', unreadable },
    corrupt,
    missing,
    temporaries: await removeTemporaries(store.scratch, isOld),
  };
}

function mark({ refs, manifests }: GcStore, roots: readonly Digest[]): Marks {
  const marks: Marks = { neededBy: new Map(), unreadable: [] };
  const need = (digest: Digest, name: string): void => {
    const names = marks.neededBy.get(digest);
    if (names === undefined) marks.neededBy.set(digest, new Set([name]));
    else names.add(name);
  };
  const markManifest = (name: string, digestOf: () => Digest | undefined): void => {
    try {
      const digest = digestOf();
      if (digest === undefined) return;
      need(digest, name);
      const stored = manifests.read(digest);
      // Before the join, which fails when the program is damaged: the report must say who needed it.
      need(stored.program.digest, name);
      for (const { ref } of objectsOf(manifests.join(digest, stored))) need(ref.digest, name);
    } catch (error) {
      if (!(error instanceof ThawError)) throw error;
      marks.unreadable.push({ name, error });
    }
  };
  for (const name of refs.names()) markManifest(name, () => refs.get(name)?.digest);
  for (const digest of roots) markManifest(digest, () => digest);
  return marks;
}

/**
 * Removes an object for which `condition` holds, without losing one that another process puts at this moment: the file
 * is moved aside first, where a put no longer finds it and writes its own, and the condition is asked again there. If it
 * does not hold any more, the file was put again just before the move, and goes back.
 */
async function removeIf(
  { scratch }: GcStore,
  { path }: ObjectEntry,
  condition: (path: string) => boolean,
): Promise<'removed' | 'kept' | 'gone'> {
  const { ops } = scratch;
  const aside = scratchPath(scratch);
  try {
    if (!condition(path)) return 'kept';
    await ops.rename(path, aside);
    if (!condition(aside)) {
      await ops.rename(aside, path);
      return 'kept';
    }
    await ops.unlink(aside);
    // The directory stays, empty or not: a put may be about to use it.
    await ops.syncDirectory(dirname(path));
    return 'removed';
  } catch (error) {
    // Another collection had it first.
    if (errnoOf(error) === 'ENOENT') return 'gone';
    throw storeError(error, `removing ${path} (first moved to ${aside})`);
  }
}

function isWhole(path: string, { digest }: ObjectRef): boolean {
  const fd = openSync(path, 'r');
  try {
    return sha256OfFile(fd, fstatSync(fd).size) === digest;
  } finally {
    closeSync(fd);
  }
}

/** A write that goes on has touched its file within the grace period. */
async function removeTemporaries({ ops, directory }: Scratch, isOld: (path: string) => boolean): Promise<number> {
  let removed = 0;
  for (const name of listDirectory(directory)) {
    const path = join(directory, name);
    try {
      if (!isOld(path)) continue;
      await ops.unlink(path);
      removed++;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw storeError(error, `removing ${path}`);
    }
  }
  return removed;
}
