import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { invariant, messageOf, ThawError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import type { ConfigOverrides, Override } from './overrides.ts';
import { applyOverrides, collectOverrides } from './overrides.ts';
import type { Problem } from './problem.ts';
import { throwProblems } from './problem.ts';
import { duplicateRoutes, literalHosts, toRouteConfig } from './routes.ts';
import type { LiteralHost, LocatedRoute } from './routes.ts';
import { CONFIG_SCHEMA, ROUTES_FILE_SCHEMA } from './schema.ts';
import type { EdgeConfig, ResolvedConfig, ResolvedRoute, RouteConfig } from './schema.ts';
import type { Path, Reading, Source } from './source.ts';
import { isRecord, readSource, whereIs } from './source.ts';
import { formatSize } from './units.ts';
import { check } from './validate.ts';
import type { FileSchema, Finding } from './validate.ts';

const MAIN_FILES = ['edge.yaml', 'edge.yml', 'edge.json'] as const;
const ROUTES_DIRECTORY = 'routes';

/** What editors leave beside a file (`.x.yaml.swp`, `x.yaml~`) and what Kubernetes mounts (`..data`) is no config. */
const ROUTES_FILE = /^[^.].*\.(yaml|yml|json)$/;

/** 10,000 routes with all their keys are about 3 MB. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

const EXAMPLE = 'routes:\n  - route: /hello/...\n    snapshot: hello';

type Files = {
  readonly main: string;
  readonly routes: readonly string[];
  /** Where to write routes, for the message when there are none. */
  readonly places: string;
};

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

const list = (directory: string): readonly string[] => {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw new ThawError('CONFIG_NOT_FOUND', `reading the directory ${directory}: ${messageOf(error)}`, {
      cause: error,
    });
  }
};

/** Undefined when there is nothing. */
const statOf = (path: string): Stats | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new ThawError('CONFIG_NOT_FOUND', `reading ${path}: ${messageOf(error)}`, { cause: error });
  }
};

const filesOf = (path: string): Files => {
  const stat = statOf(path);
  if (stat === undefined) throw new ThawError('CONFIG_NOT_FOUND', `there is no config at ${path}`);
  if (!stat.isDirectory()) return { main: path, routes: [], places: path };
  const names = list(path);
  const [main, other] = MAIN_FILES.filter((name) => names.includes(name));
  if (main === undefined)
    throw new ThawError('CONFIG_NOT_FOUND', `the directory ${path} has no ${MAIN_FILES.join(', ')}`);
  if (other !== undefined)
    throw new ThawError('CONFIG_INVALID', `the directory ${path} has both ${main} and ${other}: keep one`);
  const directory = join(path, ROUTES_DIRECTORY);
  const routes = list(directory)
    .filter((name) => ROUTES_FILE.test(name))
    .toSorted()
    .map((name) => join(directory, name));
  return { main: join(path, main), routes, places: `${join(path, main)} and ${directory}/` };
};

/** The source, or why there is none. */
const readFile = (file: string): Reading => {
  const fail = (code: ErrorCode, message: string): Reading => ({
    source: null,
    problems: [{ code, where: file, message }],
  });
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    return fail('CONFIG_NOT_FOUND', `cannot be read: ${messageOf(error)}`);
  }
  if (bytes.byteLength <= MAX_FILE_BYTES) return readSource(file, bytes);
  return fail(
    'CONFIG_INVALID',
    `the file has ${bytes.byteLength} bytes, over the limit of ${formatSize(MAX_FILE_BYTES)}`,
  );
};

const startsWith = (path: Path, prefix: Path): boolean => prefix.every((step, index) => path[index] === step);

const toProblem = (source: Source, { path, part, code, message }: Finding, overrides: readonly Override[]): Problem => {
  const override = overrides.find((candidate) => startsWith(path, candidate.path));
  return { code, message, where: override?.origin ?? whereIs(source, path, part) };
};

/** What one file says: its value where it is sound, and what is wrong with it. */
type Part = {
  readonly source: Source | null;
  readonly value: unknown;
  readonly routes: readonly LocatedRoute[];
  readonly problems: readonly Problem[];
};

/** Holds because `check` promises the shape where it found nothing: the one place that trusts it, with the next. */
const isSoundRoute = (_route: unknown, hasFindings: boolean): _route is ResolvedRoute => !hasFindings;

const isSoundConfig = (_config: unknown, problems: readonly Problem[]): _config is ResolvedConfig =>
  problems.length === 0;

const routesOf = (source: Source, resolved: unknown, findings: readonly Finding[]): readonly LocatedRoute[] => {
  const routes = isRecord(resolved) ? resolved['routes'] : undefined;
  if (!Array.isArray(routes)) return [];
  const unsound = new Set(findings.map(({ path }) => path[1]));
  return routes.flatMap((route: unknown, index) => {
    if (!isSoundRoute(route, unsound.has(index))) return [];
    const { line, column } = source.find(['routes', index], 'value');
    const place = (path: Path): string => whereIs(source, ['routes', index, ...path], 'value');
    return [{ route, file: source.file, line, column, whereIs: place }];
  });
};

const readPart = (file: string, schema: FileSchema, overrides: readonly Override[]): Part => {
  const { source, problems } = readFile(file);
  if (source === null) return { source, value: null, routes: [], problems };
  // A main file of comments only is one in which everything has its default; other files have no other purpose.
  const content = schema === CONFIG_SCHEMA ? applyOverrides(source.value ?? {}, overrides) : source.value;
  if (content === null) {
    const message = 'the file is empty: list routes in it, or remove it';
    const where = whereIs(source, [], 'value');
    return { source, value: null, routes: [], problems: [{ code: 'CONFIG_INVALID', where, message }] };
  }
  const { value, findings } = check(schema, content);
  const offset = ({ path, part }: Finding): number => source.find(path, part).offset;
  const ordered = findings.toSorted((a, b) => offset(a) - offset(b));
  return {
    source,
    value,
    routes: routesOf(source, value, findings),
    problems: ordered.map((finding) => toProblem(source, finding, overrides)),
  };
};

const noRoutes = ({ main, places }: Files): Problem => ({
  code: 'CONFIG_INVALID',
  where: `${main}:1:1`,
  message: `no routes: a node without one serves nothing. Write one into ${places}, for example\n${EXAMPLE}`,
});

/** Problems that only a sound config can have. */
const conflicts = (
  { listen, admin }: ResolvedConfig,
  source: Source,
  overrides: readonly Override[],
): readonly Problem[] => {
  if (listen.port === 0 || listen.port !== admin.port || listen.host !== admin.host) return [];
  const message = `admin is the same address as listen: give it another port than ${admin.port}`;
  return [toProblem(source, { path: ['admin'], part: 'value', code: 'CONFIG_INVALID', message }, overrides)];
};

/** In a file, relative to that file; from outside and by default, relative to the working directory. */
const storePath = (store: string, source: Source, overrides: readonly Override[]): string => {
  const fromFile =
    isRecord(source.value) && 'store' in source.value && overrides.every(({ path }) => path[0] !== 'store');
  return fromFile && !isAbsolute(store) ? join(dirname(source.file), store) : store;
};

const toEdgeConfig = (config: ResolvedConfig, store: string, routes: readonly RouteConfig[]): EdgeConfig => ({
  listen: config.listen,
  admin: config.admin,
  store,
  pool: { memoryBytes: config.pool.memory, slots: config.pool.slots },
  outbound: {
    allowedNetworks: config.outbound.allowed_networks,
    blockedNetworks: config.outbound.blocked_networks,
  },
  limits: {
    connections: config.limits.connections,
    connectionsPerAddress: config.limits.connections_per_address,
    concurrency: config.limits.concurrency,
  },
  threads: config.threads,
  drainMs: config.drain,
  routes,
});

/** A sound config, and those outbound hosts of its routes that are addresses or networks. */
export type LocatedConfig = { readonly config: EdgeConfig; readonly literalHosts: readonly LiteralHost[] };

/**
 * Reads a config: a directory with edge.yaml, edge.yml or edge.json and perhaps routes/*.yaml (.yml, .json), or one
 * file, which then is all of it. Flags win over the environment, which wins over the files; everything has a default
 * but routes.
 * @throws ConfigError (a ThawError) with all that is wrong, each with file, line and column.
 * @throws CONFIG_NOT_FOUND when there is no such file.
 */
export const loadLocatedConfig = (path: string, overrides: ConfigOverrides = {}): LocatedConfig => {
  const files = filesOf(path);
  const outside = collectOverrides(overrides);
  const main = readPart(files.main, CONFIG_SCHEMA, outside);
  const parts = [main, ...files.routes.map((file) => readPart(file, ROUTES_FILE_SCHEMA, []))];
  const routes = parts.flatMap((part) => part.routes);
  throwProblems([...parts.flatMap(({ problems }) => problems), ...duplicateRoutes(routes)]);
  if (routes.length === 0) throwProblems([noRoutes(files)]);
  const { source, value: config } = main;
  invariant(source !== null && isSoundConfig(config, main.problems), 'problems were thrown');
  throwProblems(conflicts(config, source, outside));
  return {
    config: toEdgeConfig(config, storePath(config.store, source, outside), routes.map(toRouteConfig)),
    literalHosts: routes.flatMap(literalHosts),
  };
};

/** The config alone, see {@link loadLocatedConfig}. */
export const loadConfig = (path: string, overrides: ConfigOverrides = {}): EdgeConfig =>
  loadLocatedConfig(path, overrides).config;
