import type { Command } from 'commander';
import { ConfigError } from '../config/problem.ts';
import type { RouteConfig } from '../config/schema.ts';
import { checkSnapshots } from '../config/snapshots.ts';
import { formatDuration, formatSize } from '../config/units.ts';
import { ThawError, invariant } from '../errors.ts';
import { isDigest } from '../snapshot/digest.ts';
import { type Warning, closedHosts } from './closed-hosts.ts';
import { type ConfigFlags, DEFAULT_CONFIG, addConfigOption, readConfig } from './config-options.ts';
import { type JsonFlag, addConfiguredStoreOption, addJsonOption, openStoreAt } from './options.ts';
import { note, plural, print, printJson, shortDigest, table } from './output.ts';
import { snapshotNames } from './snapshot-names.ts';

const EXAMPLES = `Examples:
  thaw check                        the config in ${DEFAULT_CONFIG}
  thaw check --config site.yaml     another one
`;

export function define(command: Command): void {
  command.addHelpText('before', EXAMPLES).action(check);
  addJsonOption(addConfiguredStoreOption(addConfigOption(command)));
}

/** A route and the snapshot that it would serve. */
type CheckedRoute = {
  readonly route: RouteConfig;
  readonly digest: string;
  readonly start: 'restorable' | 'fresh';
};

type Checked = { readonly routes: readonly CheckedRoute[]; readonly warnings: readonly Warning[] };

async function check(flags: ConfigFlags & JsonFlag): Promise<void> {
  let checked: Checked;
  try {
    checked = await checkAll(flags);
  } catch (error) {
    if (flags.json !== true || !(error instanceof ThawError)) throw error;
    printJson({ ok: false, problems: problemsOf(error) });
    process.exitCode = 1;
    return;
  }
  const { routes, warnings } = checked;
  if (flags.json === true) {
    printJson({ ok: true, routes: routes.map(toJson), warnings });
    return;
  }
  for (const { where, message } of warnings) note(`${where}: warning: ${message}`);
  const hints = warnings.length === 0 ? '' : `, ${plural(warnings.length, 'warning')}`;
  print([...routeTable(routes), '', `${plural(routes.length, 'route')}, no problems${hints}`]);
}

/** @throws ConfigError with all problems, or ThawError STORE_* */
async function checkAll(flags: ConfigFlags): Promise<Checked> {
  const located = readConfig(flags);
  const { config } = located;
  const store = openStoreAt(config.store);
  const found = await checkSnapshots(config, snapshotNames(store));
  const routes = config.routes.map((route): CheckedRoute => {
    const snapshot = found.get(route.snapshot);
    invariant(snapshot !== undefined, `the snapshot of route ${route.id} was found`);
    return { route, digest: snapshot.digest, start: snapshot.start };
  });
  return { routes, warnings: closedHosts(located) };
}

const problemsOf = (error: ThawError): readonly { code: string; where: string | null; message: string }[] =>
  error instanceof ConfigError ? error.problems : [{ code: error.code, where: null, message: error.message }];

function toJson({ route, digest, start }: CheckedRoute): Record<string, unknown> {
  const { id, host, route: path, methods, snapshot, env, allowedOutboundHosts, limits, source } = route;
  const outbound = allowedOutboundHosts.map(({ text }) => text);
  return { id, host, path, methods, snapshot, digest, start, env, allowedOutboundHosts: outbound, limits, source };
}

function routeTable(routes: readonly CheckedRoute[]): string[] {
  const head = [
    'HOST',
    'ROUTE',
    'METHODS',
    'SNAPSHOT',
    'DIGEST',
    'START',
    'CPU',
    'MEMORY',
    'BODY',
    'WALL',
    'AT ONCE',
    'OUTBOUND',
  ];
  return table([head, ...routes.map(toCells)], [6, 7, 8, 9, 10]);
}

function toCells({ route, digest, start }: CheckedRoute): string[] {
  const { host, route: path, methods, snapshot, limits, allowedOutboundHosts } = route;
  const { cpuMs, memoryBytes, requestBodyBytes, wallMs, concurrency } = limits;
  return [
    host ?? 'any',
    path,
    methods?.join(',') ?? 'all',
    isDigest(snapshot) ? shortDigest(snapshot) : snapshot,
    shortDigest(digest),
    start,
    formatDuration(cpuMs),
    formatSize(memoryBytes),
    formatSize(requestBodyBytes),
    formatDuration(wallMs),
    String(concurrency),
    allowedOutboundHosts.length === 0 ? 'nowhere' : allowedOutboundHosts.map(({ text }) => text).join(' '),
  ];
}
