import type { Command } from 'commander';
import { ThawError } from '../errors.ts';
import { withStoreErrors } from '../snapshot/file-ops.ts';
import { SnapshotStore } from '../snapshot/store.ts';

export type StoreFlags = { readonly store?: string | undefined };
export type JsonFlag = { readonly json?: true | undefined };

const DEFAULT_STORE = 'snapshots';

export const addStoreOption = (command: Command): Command =>
  command.option('--store <dir>', `directory of the snapshots (default: THAW_STORE, or ${DEFAULT_STORE})`);

/** The same for commands that read a config, which may name the store, too. */
export const addConfiguredStoreOption = (command: Command): Command =>
  command.option(
    '--store <dir>',
    `directory of the snapshots (default: THAW_STORE, store in the config, or ${DEFAULT_STORE})`,
  );

export const addJsonOption = (command: Command): Command => command.option('--json', 'print JSON');

/**
 * The flag over the environment over the default; an empty variable counts as absent.
 * @throws ThawError USAGE for an empty flag: a shell makes one of a variable that is not set
 */
export function storeDirectory({ store }: StoreFlags): string {
  if (store === '') throw new ThawError('USAGE', '--store is empty: name a directory');
  return store ?? (process.env['THAW_STORE'] || DEFAULT_STORE);
}

/** The store that is there. @throws ThawError STORE_NOT_FOUND, STORE_UNWRITABLE or STORE_IO_FAILED when it cannot be looked at */
export const openStoreAt = (directory: string): SnapshotStore =>
  withStoreErrors(`opening the store ${directory}`, () => SnapshotStore.open(directory, { create: false }));

/** The store that the flags name. @throws ThawError as `storeDirectory` and `openStoreAt` */
export const openStore = (flags: StoreFlags): SnapshotStore => openStoreAt(storeDirectory(flags));
