import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ThawError, invariant } from '../errors.ts';
import type { Manifest } from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import type { Digest } from '../wasm/plan.ts';
import type { BaseImage, FreezeOptions } from './freeze.ts';
import { freeze } from './freeze.ts';

/**
 * The engine under JavaScript apps: a snapshot of an app that does nothing. Its image is the base layer of every app of
 * the same code, so that an app costs only the pages in which it differs. It is built from a source of thaw's own, so it
 * is the same on every machine for the same engine.
 */

/** Engines are named apart from apps by this prefix. */
const ENGINE_PREFIX = 'engine-';

/** 16 hex digits tell 2^64 engines apart. */
const engineName = (codeDigest: Digest): string => `${ENGINE_PREFIX}${codeDigest.slice(0, 16)}`;

export const isEngineName = (name: string): boolean => name.startsWith(ENGINE_PREFIX);

/** The app that does nothing, beside this file. */
export const ENGINE_APP = fileURLToPath(new URL(`./guest/engine-app${extname(import.meta.url)}`, import.meta.url));

/**
 * Base layers for freezing: those of the engine with the same code, which is built when the store does not have it.
 *
 * @param build makes the component of {@link ENGINE_APP}; null when the app did not come through the same tools,
 *   so that an engine is used where there is one, but not built
 */
export function engineLayers(
  store: SnapshotStore,
  build: (() => Promise<Uint8Array>) | null,
): NonNullable<FreezeOptions['baseOf']> {
  return async (codeDigest) => {
    const known = findEngine(store, codeDigest);
    if (known !== null) return layersOf(store.loadManifest(known), store);
    if (build === null) return undefined;
    const engine = await freeze(await build(), store);
    await store.setRef(engineName(engine.manifest.codeDigest), engine.digest, 'engine');
    return engine.manifest.codeDigest === codeDigest ? layersOf(engine.manifest, store) : undefined;
  };
}

/** The snapshot of the engine with this code, or null. */
function findEngine(store: SnapshotStore, codeDigest: Digest): Digest | null {
  try {
    return store.resolve(engineName(codeDigest));
  } catch (error) {
    if (error instanceof ThawError && error.code === 'STORE_NOT_FOUND') return null;
    throw error;
  }
}

function layersOf({ state }: Manifest, store: SnapshotStore): (BaseImage | null)[] {
  invariant(state.kind === 'restorable', 'an engine is restorable');
  return state.memories.map(({ base }) =>
    base === null ? null : { ref: base, bytes: store.readObject(base, 'base layer of the engine') },
  );
}
