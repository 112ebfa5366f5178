import type { Command } from 'commander';
import { SnapshotStore } from '../snapshot/store.ts';

export type StoreFlags = { readonly store?: string | undefined };
export type JsonFlag = { readonly json?: true | undefined };

const DEFAULT_STORE = 'snapshots';

export const addStoreOption = (command: Command): Command =>
  command.option('--store <dir>', `directory of the snapshots (default: THAW_STORE, or ${DEFAULT_STORE})`);

export const addJsonOption = (command: Command): Command => command.option('--json', 'print JSON');

/** The flag over the environment over the default; an empty variable counts as absent. */
export const storeDirectory = ({ store }: StoreFlags): string => store ?? (process.env['THAW_STORE'] || DEFAULT_STORE);

/** The store that is there. @throws ThawError STORE_NOT_FOUND */
export const openStore = (flags: StoreFlags): SnapshotStore =>
  SnapshotStore.open(storeDirectory(flags), { create: false });
