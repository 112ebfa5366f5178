import type { SnapshotStore } from '../snapshot/store.ts';
import { ENGINE_APP, engineLayers } from './engine.ts';
import { freeze, type Frozen } from './freeze.ts';
import { buildComponent, type BuildOptions, type BuiltComponent } from './input.ts';

/** A snapshot, and what it was made from. */
export type BuiltSnapshot = Frozen & { readonly built: BuiltComponent };

/**
 * From what the user has to a snapshot in the store: the component is built, decoded, instrumented, captured, laid over
 * its engine and stored. Gives it no name.
 *
 * @throws ThawError BUILD_*, and those of freezing and of the store
 */
export async function buildSnapshot(
  inputPath: string,
  store: SnapshotStore,
  options: BuildOptions = {},
): Promise<BuiltSnapshot> {
  const { progress = () => {} } = options;
  const built = await buildComponent(inputPath, options);
  const buildEngine = async (): Promise<Uint8Array> => {
    progress('building the engine that JavaScript apps share, once');
    return (await buildComponent(ENGINE_APP, { tools: options.tools })).component;
  };
  progress('freezing');
  const baseOf = engineLayers(store, built.kind === 'javascript' ? buildEngine : null);
  return { built, ...(await freeze(built.component, store, { baseOf })) };
}
