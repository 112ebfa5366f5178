import type { Problem } from './problem.ts';
import { throwProblems } from './problem.ts';
import type { EdgeConfig } from './schema.ts';
import { didYouMean } from './suggest.ts';

/** What a store says about names. Either may answer at once or later. */
export type SnapshotNames = {
  /** True when the name, or the digest, can be loaded. */
  readonly has: (nameOrDigest: string) => boolean | Promise<boolean>;
  readonly names: () => readonly string[] | Promise<readonly string[]>;
};

/**
 * Checks that every route's snapshot exists.
 * @throws ConfigError with one CONFIG_SNAPSHOT_MISSING for each route whose snapshot does not.
 */
export const checkSnapshots = async (config: EdgeConfig, store: SnapshotNames): Promise<void> => {
  const wanted = new Set(config.routes.map(({ snapshot }) => snapshot));
  const missing = new Set<string>();
  for (const snapshot of wanted) if (!(await store.has(snapshot))) missing.add(snapshot);
  if (missing.size === 0) return;
  const names = await store.names();
  const problems = config.routes.flatMap(({ id, snapshot, source }): readonly Problem[] => {
    if (!missing.has(snapshot)) return [];
    const hint = didYouMean(snapshot, names);
    const message = `the route ${JSON.stringify(id)} names the snapshot ${JSON.stringify(snapshot)}, which the store does not have${hint}`;
    return [{ code: 'CONFIG_SNAPSHOT_MISSING', where: `${source.file}:${source.line}`, message }];
  });
  throwProblems(problems);
};
