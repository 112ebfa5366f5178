import { WASM_PAGE_BYTES } from '../snapshot/manifest.ts';
import type { Problem } from './problem.ts';
import { throwProblems } from './problem.ts';
import type { EdgeConfig, RouteConfig } from './schema.ts';
import { didYouMean } from './suggest.ts';
import { formatSize } from './units.ts';

/** What a config must know of a snapshot. */
type NamedSnapshot = {
  /** Pages of linear memory that an instance begins with. */
  readonly firstPages: number;
};

/** What a store says about names. Either may answer at once or later. */
export type SnapshotNames<Found extends NamedSnapshot> = {
  /** What the name, or the digest, stands for; null when there is no such. Asked once for each. */
  readonly find: (nameOrDigest: string) => Found | null | Promise<Found | null>;
  readonly names: () => readonly string[] | Promise<readonly string[]>;
};

/**
 * Checks that every route's snapshot exists, and begins with no more memory than the route allows.
 * @returns what was found, by the names that routes use
 * @throws ConfigError with one CONFIG_SNAPSHOT_MISSING or CONFIG_INVALID for each route where that is not so.
 */
export const checkSnapshots = async <Found extends NamedSnapshot>(
  config: EdgeConfig,
  store: SnapshotNames<Found>,
): Promise<ReadonlyMap<string, Found>> => {
  const found = new Map<string, Found>();
  for (const name of new Set(config.routes.map(({ snapshot }) => snapshot))) {
    const snapshot = await store.find(name);
    if (snapshot !== null) found.set(name, snapshot);
  }
  const missing = config.routes.filter(({ snapshot }) => !found.has(snapshot));
  throwProblems([
    ...(missing.length === 0 ? [] : missingProblems(missing, await store.names())),
    ...config.routes.flatMap((route) => memoryProblem(route, found.get(route.snapshot)?.firstPages ?? 0)),
  ]);
  return found;
};

/** What `thaw ls` shows of a digest, and `thaw inspect` takes. */
const DIGEST_START = /^[0-9a-f]{8,63}$/;

const missingProblems = (routes: readonly RouteConfig[], names: readonly string[]): readonly Problem[] =>
  routes.map(({ id, snapshot, source }) => {
    const hint = DIGEST_START.test(snapshot)
      ? '; a digest is written with all of its 64 digits, which thaw inspect shows'
      : didYouMean(snapshot, names);
    const message = `the route ${JSON.stringify(id)} names the snapshot ${JSON.stringify(snapshot)}, which the store does not have${hint}`;
    return { code: 'CONFIG_SNAPSHOT_MISSING', where: `${source.file}:${source.line}`, message };
  });

const memoryProblem = ({ id, snapshot, limits, source }: RouteConfig, pages: number): readonly Problem[] => {
  const bytes = pages * WASM_PAGE_BYTES;
  if (bytes <= limits.memoryBytes) return [];
  const message = `the route ${JSON.stringify(id)} has limits.memory ${formatSize(limits.memoryBytes)}, but its snapshot ${JSON.stringify(snapshot)} begins with ${formatSize(bytes)} (${pages} pages): allow it more, or build it with less`;
  return [{ code: 'CONFIG_INVALID', where: `${source.file}:${source.line}`, message }];
};
