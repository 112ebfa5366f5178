import type { Command } from 'commander';
import { ThawError } from '../errors.ts';
import { type StoreFlags, addStoreOption, openStore } from './options.ts';
import { print } from './output.ts';
import { reportError } from './report-error.ts';

const EXAMPLES = `Examples:
  thaw rm hello
  thaw rm hello greeter && thaw gc     forget two names, then free what nobody needs any more
`;

export function define(command: Command): void {
  command
    .argument('<name...>', 'the names to forget; their objects stay in the store until thaw gc')
    .addHelpText('before', EXAMPLES)
    .action(rm);
  addStoreOption(command);
}

/** Each name on its own, as `rm` of files does: one that is not there keeps no other from being removed. */
async function rm(names: readonly string[], flags: StoreFlags): Promise<void> {
  const store = openStore(flags);
  for (const name of new Set(names)) {
    try {
      await store.removeRef(name);
      print([`removed ${name}`]);
    } catch (error) {
      if (!(error instanceof ThawError)) throw error;
      process.exitCode = reportError(error);
    }
  }
}
