import { WASM_PAGE_BYTES } from '../snapshot/manifest.ts';
import type { Problem } from './problem.ts';
import { throwProblems } from './problem.ts';
import type { EdgeConfig } from './schema.ts';
import { didYouMean } from './suggest.ts';
import { formatSize } from './units.ts';

/** What a store says about names. Either may answer at once or later. */
export type SnapshotNames = {
  /** True when the name, or the digest, can be loaded. */
  readonly has: (nameOrDigest: string) => boolean | Promise<boolean>;
  readonly names: () => readonly string[] | Promise<readonly string[]>;
  /** Pages of linear memory that an instance begins with. Asked only of what there is. */
  readonly firstPages: (nameOrDigest: string) => number | Promise<number>;
};

/**
 * Checks that every route's snapshot exists, and begins with no more memory than the route allows.
 * @throws ConfigError with one CONFIG_SNAPSHOT_MISSING or CONFIG_INVALID for each route where that is not so.
 */
export const checkSnapshots = async (config: EdgeConfig, store: SnapshotNames): Promise<void> => {
  await checkExistence(config, store);
  await checkMemory(config, store);
};

const checkMemory = async (config: EdgeConfig, store: SnapshotNames): Promise<void> => {
  const problems: Problem[] = [];
  for (const { id, snapshot, limits, source } of config.routes) {
    const pages = await store.firstPages(snapshot);
    const bytes = pages * WASM_PAGE_BYTES;
    if (bytes <= limits.memoryBytes) continue;
    const message = `the route ${JSON.stringify(id)} has limits.memory ${formatSize(limits.memoryBytes)}, but its snapshot ${JSON.stringify(snapshot)} begins with ${formatSize(bytes)} (${pages} pages): allow it more, or build it with less`;
    problems.push({ code: 'CONFIG_INVALID', where: `${source.file}:${source.line}`, message });
  }
  throwProblems(problems);
};

const checkExistence = async (config: EdgeConfig, store: SnapshotNames): Promise<void> => {
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
