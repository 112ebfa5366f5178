import { type Command, Option } from 'commander';
import type { LocatedConfig } from '../config/load.ts';
import { checkSnapshots } from '../config/snapshots.ts';
import { createLogger } from '../log.ts';
import { formatSummary } from '../metrics/exposition.ts';
import { writeHlog } from '../metrics/hlog.ts';
import { EdgeNode } from '../node.ts';
import { RESTORE_TIERS, type RestoreTier } from '../runtime/slot-memory.ts';
import { closedHosts } from './closed-hosts.ts';
import { type ConfigFlags, DEFAULT_CONFIG, addConfigOption, readConfig } from './config-options.ts';
import { addConfiguredStoreOption, openStoreAt } from './options.ts';
import { note, plural } from './output.ts';
import { untilStopped } from './stop.ts';
import { snapshotNames } from './snapshot-names.ts';

export type ServeFlags = ConfigFlags & {
  readonly summary?: true | undefined;
  readonly hlog?: string | undefined;
  readonly restoreTier?: RestoreTier | undefined;
};

const EXAMPLES = `Examples:
  thaw serve                                       the routes of ${DEFAULT_CONFIG}/edge.yaml and ${DEFAULT_CONFIG}/routes/
  thaw serve --config site.yaml --listen 0.0.0.0:80
  thaw serve --summary --hlog starts               at the end, report how long each start took
`;

const ENVIRONMENT = `
Environment: THAW_LISTEN, THAW_ADMIN, THAW_STORE, THAW_THREADS, THAW_DRAIN, THAW_POOL_MEMORY and
THAW_POOL_SLOTS stand over the config, flags over both. THAW_LOG_LEVEL is trace, debug, info (default),
warn, error, fatal or silent.

Ctrl-C or SIGTERM lets the requests under way finish and exits with 0; a further one, more than a second later, exits at
once. The config is read at the start: SIGHUP does not read it again, but ends the node at once.`;

export function define(command: Command): void {
  command
    .addHelpText('before', EXAMPLES)
    .action(async (flags: ServeFlags) => serveUntilStopped(readConfig(flags), flags));
  addServeOptions(command);
}

/** The options that `serve` and `up` have in common. */
export function addServeOptions(command: Command): void {
  addConfigOption(command)
    .option('--listen <address:port>', 'where to serve; port 0 takes a free one')
    .option('--admin <address:port>', 'where to serve health, routes and start times')
    .option('--threads <n>', 'threads that serve: auto (one for each core), or a number');
  addConfiguredStoreOption(command)
    .option('--summary', 'at the end, print a table of the starts on stdout')
    .option('--hlog <dir>', 'at the end, write histograms of the starts as .hlog files')
    .addOption(new Option('--restore-tier <tier>', 'how to restore (default: the best here)').choices(RESTORE_TIERS))
    .addHelpText('after', ENVIRONMENT);
}

/** Serves until SIGINT or SIGTERM, drains, reports, and ends the process with 0. */
export async function serveUntilStopped(located: LocatedConfig, flags: ServeFlags): Promise<void> {
  const { config } = located;
  const log = createLogger();
  const store = openStoreAt(config.store);
  const snapshots = await checkSnapshots(config, snapshotNames(store));
  for (const { where, message } of closedHosts(located)) log.warn({ where }, message);
  const node = new EdgeNode({ config, snapshots, log, restoreTier: flags.restoreTier });
  const { url, adminUrl } = await node.listen();
  const stopped = untilStopped();
  note(`listening on ${url}`);
  note(`admin on ${adminUrl}`);
  await stopped;
  const cutOff = await node.close();
  if (cutOff > 0) note(`${plural(cutOff, 'request')} did not end within the drain time and were cut off`);
  await report(node, flags);
  // Guests that were cut off may still wait for something.
  process.exit(0);
}

async function report(node: EdgeNode, { summary, hlog }: ServeFlags): Promise<void> {
  const histograms = await node.startup();
  if (summary === true) process.stdout.write(formatSummary(histograms, process.stdout.columns));
  if (hlog !== undefined) await writeHlog(histograms, hlog);
}
