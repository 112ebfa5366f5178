import type { SnapshotNames } from '../config/snapshots.ts';
import { ThawError } from '../errors.ts';
import { firstPages } from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';

/** What a config check asks of a store. `has` throws when the snapshot is there and damaged. */
export const snapshotNames = (store: SnapshotStore): SnapshotNames => ({
  has: (nameOrDigest) => {
    try {
      store.loadManifest(store.resolve(nameOrDigest));
      return true;
    } catch (error) {
      if (error instanceof ThawError && error.code === 'STORE_NOT_FOUND') return false;
      throw error;
    }
  },
  firstPages: (nameOrDigest) => firstPages(store.loadManifest(store.resolve(nameOrDigest))),
  names: () => store.listRefs().map(({ name }) => name),
});
