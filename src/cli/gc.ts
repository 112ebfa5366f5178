import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { ThawError } from '../errors.ts';
import { isDigest } from '../snapshot/digest.ts';
import { GC_GRACE_MS, type GcReport } from '../snapshot/gc.ts';
import type { Digest } from '../wasm/plan.ts';
import { DEFAULT_CONFIG } from './config-options.ts';
import { type JsonFlag, type StoreFlags, addJsonOption, addStoreOption, openStore } from './options.ts';
import { plural, print, printJson, readableBytes, shortDigest } from './output.ts';

type GcFlags = StoreFlags & JsonFlag & { readonly verify?: true | undefined; readonly config?: string | undefined };

const EXAMPLES = `Examples:
  thaw gc                remove what neither a name nor the config leads to
  thaw gc --verify       hash every object, and remove the damaged ones too
`;

export function define(command: Command): void {
  command
    .option('--verify', 'also hash every object, and remove those that are not what was written')
    .option(
      '--config <path>',
      `keep the snapshots whose digests this config names (default: ${DEFAULT_CONFIG}, if there)`,
    )
    .addHelpText('before', EXAMPLES)
    .addHelpText(
      'after',
      `\nObjects younger than ${GC_GRACE_MS / 60_000} minutes are kept: a build may be about to name them.`,
    )
    .action(gc);
  addJsonOption(addStoreOption(command));
}

async function gc(flags: GcFlags): Promise<void> {
  const store = openStore(flags);
  const report = await store.gc({ verify: flags.verify === true, roots: configDigests(flags.config) });
  if (flags.json === true) printJson(toJson(report));
  else print(reportLines(report));
  const { sweep, corrupt, missing } = report;
  // Somebody has to build something again.
  if (sweep.kind === 'skipped' || [...corrupt, ...missing].some(({ neededBy }) => neededBy.length > 0)) {
    process.exitCode = 1;
  }
}

/** A broken config is an error: what it means to keep is not known. */
function configDigests(path: string | undefined): Digest[] {
  try {
    const { routes } = loadConfig(path ?? DEFAULT_CONFIG, { env: process.env });
    return routes.map(({ snapshot }) => snapshot).filter(isDigest);
  } catch (error) {
    if (path === undefined && error instanceof ThawError && error.code === 'CONFIG_NOT_FOUND') return [];
    throw error;
  }
}

function toJson({ sweep, ...rest }: GcReport): Record<string, unknown> {
  if (sweep.kind === 'done') return { sweep, ...rest };
  const unreadable = sweep.unreadable.map(({ name, error: { code, message } }) => ({ name, code, message }));
  return { sweep: { kind: sweep.kind, unreadable }, ...rest };
}

const diskBytes = (objects: readonly { readonly diskBytes: number }[]): string =>
  readableBytes(objects.reduce((sum, object) => sum + object.diskBytes, 0));

function reportLines({ sweep, corrupt, missing, temporaries }: GcReport): string[] {
  const lines: string[] = [];
  if (sweep.kind === 'done') {
    const { removed, young } = sweep;
    lines.push(`removed ${plural(removed.length, 'object')}, ${diskBytes(removed)}`);
    if (young.length > 0) {
      lines.push(`kept ${plural(young.length, 'object')}, ${diskBytes(young)}, that nobody needs but that are young`);
    }
  } else {
    lines.push('removed nothing for being unneeded, because what these need cannot be read:');
    lines.push(...sweep.unreadable.map(({ name, error }) => `  ${name}: ${error.message}`));
  }
  if (temporaries > 0) lines.push(`removed ${plural(temporaries, 'unfinished file')}`);
  lines.push(...corrupt.map((loss) => `removed the damaged object ${lossText(loss)}`));
  lines.push(...missing.map((loss) => `missing: object ${lossText(loss)}`));
  return lines;
}

const lossText = ({ digest, neededBy }: GcReport['missing'][number]): string =>
  neededBy.length === 0
    ? `${shortDigest(digest)}, which nobody needs`
    : `${shortDigest(digest)}: build ${neededBy.join(', ')} again`;
