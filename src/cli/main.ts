import { Command } from 'commander';
import { readPackageJson } from '../package.ts';
import { complain } from './output.ts';
import { reportError } from './report-error.ts';

type CommandModule = { readonly define: (command: Command) => void };

/** A command's own file is loaded when it is asked for: `serve` shall start without the build, `ls` without either. */
const COMMANDS: readonly {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}[] = [
  {
    name: 'build',
    summary: 'freeze an app, a component or a core module into a snapshot',
    load: () => import('./build.ts'),
  },
  { name: 'inspect', summary: 'show what is in a snapshot or a component', load: () => import('./inspect.ts') },
  { name: 'ls', summary: 'list the snapshots in the store', load: () => import('./ls.ts') },
  { name: 'rm', summary: 'forget names of snapshots', load: () => import('./rm.ts') },
  { name: 'gc', summary: 'remove what no name leads to from the store', load: () => import('./gc.ts') },
  { name: 'check', summary: 'check a config and the snapshots that it names', load: () => import('./check.ts') },
  { name: 'serve', summary: 'serve the routes of a config', load: () => import('./serve.ts') },
  { name: 'up', summary: 'build the apps beside a config, then serve it', load: () => import('./up.ts') },
  { name: 'bench', summary: 'measure how fast apps start on this machine', load: () => import('./bench.ts') },
  { name: 'doctor', summary: 'show what this machine can do for thaw', load: () => import('./doctor.ts') },
];

const EXAMPLES = `Examples:
  thaw build app.js          freeze an app into the snapshot "app"
  thaw up                    build the apps of edge-config and serve them
  thaw ls                    list the snapshots
`;

/** The command line, with those commands whole that `args` may be about; the others have their name and summary. */
async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('thaw')
    .description('Serve HTTP with WebAssembly components frozen into snapshots.')
    .version(readPackageJson().version)
    .addHelpText('before', EXAMPLES)
    .showHelpAfterError('See thaw --help.')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'thaw:')) })
    .exitOverride();
  for (const { name, summary, load } of COMMANDS) {
    const command = program.command(name).description(summary).showHelpAfterError(`See thaw ${name} --help.`);
    if (args.includes(name)) (await load()).define(command);
  }
  return program;
}

/** Whoever reads our output may stop reading, as `head` does: no reason to complain. A disk that is full is one. */
function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    complain(`writing to stdout: ${error.message}`, 'What was written is not whole: have it written elsewhere.');
    process.exit(1);
  });
  // Nobody can be told, and a node serves whether its messages are read or not.
  process.stderr.on('error', () => {});
}

async function main(args: readonly string[]): Promise<void> {
  endWithReader();
  try {
    await (await createProgram(args)).parseAsync(args, { from: 'user' });
  } catch (error) {
    // A listener that opened before the other failed would hold the process.
    process.exit(reportError(error));
  }
}

await main(process.argv.slice(2));
