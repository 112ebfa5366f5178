import type { SnapshotNames } from '../config/snapshots.ts';
import { ThawError } from '../errors.ts';
import { firstPages, type SnapshotState } from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import type { Digest, LinkPlan } from '../wasm/plan.ts';

/** What a name in a config stands for. The plan is the same object for all snapshots of one program. */
export type FoundSnapshot = {
  readonly digest: Digest;
  readonly plan: LinkPlan;
  readonly firstPages: number;
  readonly start: SnapshotState['kind'];
};

/**
 * Whether it names a snapshot for good. The first digits of a digest do not: they may begin another one tomorrow, and
 * `thaw gc` keeps what a config names by its whole digest.
 */
const isLasting = (nameOrDigest: string, digest: Digest, store: SnapshotStore): boolean =>
  nameOrDigest === digest ||
  !digest.startsWith(nameOrDigest) ||
  store.listRefs().some(({ name }) => name === nameOrDigest);

/** What a config check asks of a store. `find` throws when the snapshot is there and damaged. */
export const snapshotNames = (store: SnapshotStore): SnapshotNames<FoundSnapshot> => ({
  find: (nameOrDigest) => {
    try {
      const digest = store.resolve(nameOrDigest);
      if (!isLasting(nameOrDigest, digest, store)) return null;
      const manifest = store.loadManifest(digest);
      return { digest, plan: manifest.plan, firstPages: firstPages(manifest), start: manifest.state.kind };
    } catch (error) {
      if (error instanceof ThawError && error.code === 'STORE_NOT_FOUND') return null;
      throw error;
    }
  },
  names: () => store.listRefs().map(({ name }) => name),
});
