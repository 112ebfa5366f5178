import { LRUCache } from 'lru-cache';
import { ThawError } from '../errors.ts';
import type { Manifest, SnapshotState } from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import type { Digest, GlobalState, LiftedExport, LinkPlan } from '../wasm/plan.ts';
import { ImageLoader, type MemoryImage } from './image.ts';
import type { MemoryKey } from './instantiate.ts';
import { WaitHistory } from './wait-history.ts';

/** The interface that thaw calls, at any 0.2 version. */
const HANDLER_INTERFACE = 'wasi:http/incoming-handler';
const HANDLER_FUNC = 'handle';

/** The handler of a component's plan. @throws ThawError WRONG_WORLD */
export function handlerOf(plan: LinkPlan): LiftedExport {
  const handler = plan.exports.find(
    (exported) => exported.interface === HANDLER_INTERFACE && exported.func === HANDLER_FUNC,
  );
  if (handler !== undefined && /^0\.2\.\d+$/.test(handler.version)) return handler;
  const found = plan.exports.map(
    ({ interface: name, version, func }) => `${name}${version === '' ? '' : `@${version}`} ${func}`,
  );
  const list = found.length === 0 ? 'nothing' : found.slice(0, 8).join(', ');
  throw new ThawError(
    'WRONG_WORLD',
    `the component does not export ${HANDLER_INTERFACE}@0.2 ${HANDLER_FUNC}; it exports ${list}`,
  );
}

/** The memories that one instance of a plan needs, and their images where it is restored. */
export type RestorableState = {
  readonly kind: 'restorable';
  readonly images: readonly { readonly key: MemoryKey; readonly image: MemoryImage }[];
  readonly globals: readonly GlobalState[];
};

/** A snapshot as the runtime holds it: checked, its images open. Code is compiled apart, once per code digest. */
export type LoadedSnapshot = {
  readonly digest: Digest;
  readonly manifest: Manifest;
  readonly handler: LiftedExport;
  readonly state: RestorableState | Extract<SnapshotState, { kind: 'fresh' }>;
  /** Of this thread. */
  readonly waits: WaitHistory;
};

/** What is known about snapshots and kept, in bytes, beside the deltas: some 500 apps. */
const KNOWN_BYTES = 8 * 1024 * 1024;

/** What V8 takes for a snapshot without its images, about. */
const SNAPSHOT_BYTES = 2048;

/** Manifests kept; one takes some 3 KB. */
const MANIFEST_CACHE = 10_000;

/** Loads snapshots and keeps those used last. What it has verified once it does not hash again. */
export class SnapshotLoader {
  readonly #store: SnapshotStore;
  readonly #images: ImageLoader;
  readonly #manifests = new LRUCache<Digest, Manifest>({ max: MANIFEST_CACHE });
  readonly #loaded = new LRUCache<Digest, LoadedSnapshot>({ maxSize: KNOWN_BYTES, sizeCalculation: ownBytes });

  constructor(store: SnapshotStore) {
    this.#store = store;
    this.#images = new ImageLoader(store);
  }

  /** @throws ThawError STORE_*, WRONG_WORLD */
  load(digest: Digest): LoadedSnapshot {
    let snapshot = this.#loaded.get(digest);
    if (snapshot === undefined) {
      const manifest = this.#manifest(digest);
      const [handler, state] = [handlerOf(manifest.plan), this.#state(manifest, digest)];
      snapshot = { digest, manifest, handler, state, waits: new WaitHistory() };
      this.#loaded.set(digest, snapshot);
    }
    return snapshot;
  }

  #manifest(digest: Digest): Manifest {
    let manifest = this.#manifests.get(digest);
    if (manifest === undefined) {
      manifest = this.#store.loadManifest(digest);
      this.#manifests.set(digest, manifest);
    }
    return manifest;
  }

  #state({ state }: Manifest, digest: Digest): LoadedSnapshot['state'] {
    if (state.kind === 'fresh') return state;
    const images = state.memories.map((memory) => ({
      key: { instance: memory.instance, index: memory.index },
      image: this.#images.load(memory, `snapshot ${digest.slice(0, 12)}`),
    }));
    return { kind: 'restorable', images, globals: state.globals };
  }
}

const ownBytes = ({ state }: LoadedSnapshot): number =>
  state.kind === 'fresh'
    ? SNAPSHOT_BYTES
    : state.images.reduce((sum, { image }) => sum + image.ownBytes, SNAPSHOT_BYTES);
