import { constants } from 'node:os';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { BenchOptions, SuiteName } from '../../bench/run.ts';
import { ThawError } from '../errors.ts';
import { type JsonFlag, addJsonOption } from './options.ts';
import { note, print, printJson, showProgress } from './output.ts';

type BenchFlags = JsonFlag & {
  readonly suite: SuiteName | 'all';
  readonly app?: string | undefined;
  readonly path?: string | undefined;
  readonly peers: string;
  readonly quick?: true | undefined;
  readonly out: string;
};

const SUITES: readonly SuiteName[] = ['startup', 'throughput', 'density'];

const EXAMPLES = `Examples:
  thaw bench --quick                        all suites, in under three minutes on two cores
  thaw bench --suite startup --app app.js   where the start of an app goes, and what to do about it
  thaw bench --peers none --out report      no other servers; the report in the directory "report"
`;

export function define(command: Command): void {
  command
    .addOption(new Option('--suite <name>', 'what to measure').choices([...SUITES, 'all']).default('all'))
    .option('--app <file>', 'an app or a component of yours, in place of the apps of the startup suite')
    .option('--path <path>', 'for --app: the path that requests ask for (default: /)')
    .option('--peers <names>', 'other servers: auto for those found here, none, or a list with commas', 'auto')
    .option('--quick', 'fewer and shorter rounds')
    .option('--out <dir>', 'directory for report.html, report.json and report.md', 'bench-report')
    .addHelpText('before', EXAMPLES)
    .action(bench);
  addJsonOption(command);
}

async function bench(flags: BenchFlags): Promise<void> {
  const options = readOptions(flags);
  endOnSignal();
  // The benches are no part of the node: nothing of them is loaded before they are asked for.
  const { expectedMinutes, runBench } = await import('../../bench/run.ts');
  const { headlineText } = await import('../../bench/headline.ts');
  note(`This takes about ${minutesText(expectedMinutes(options))}, and longer where apps must be built first.`);
  const { report, files, failed } = await runBench(options);
  if (flags.json === true) printJson(report);
  else print(headlineText(report).split('\n'));
  note(`Report: ${files.join(', ')}`);
  if (failed > 0) process.exitCode = 1;
}

function readOptions({ suite, app, path, peers, quick, out }: BenchFlags): BenchOptions {
  if (path !== undefined && app === undefined) throw new ThawError('USAGE', '--path is for an app given with --app');
  if (path !== undefined && !path.startsWith('/')) {
    throw new ThawError('USAGE', `--path ${path}: the path of a request begins with /`);
  }
  const suites = suite === 'all' ? SUITES : [suite];
  if (app !== undefined && !suites.includes('startup')) {
    throw new ThawError('USAGE', `--app is for the startup suite, not for ${suite}`);
  }
  return {
    suites,
    app: app === undefined ? null : { source: resolve(app), path: path ?? '/' },
    peers: peerChoice(peers),
    quick: quick === true,
    out,
    command: toldCommand(process.argv.slice(2)),
    progress: showProgress('bench'),
    note,
  };
}

/** The command as the report tells it. Where it was put has no part in what it says, and is nobody's business. */
function toldCommand(args: readonly string[]): string {
  const told = args.filter((arg, index) => !arg.startsWith('--out') && args[index - 1] !== '--out');
  return ['thaw', ...told].join(' ');
}

function peerChoice(text: string): BenchOptions['peers'] {
  if (text === 'auto' || text === 'none') return text;
  const names = text.split(',').map((name) => name.trim());
  if (names.includes('')) throw new ThawError('USAGE', `--peers ${text}: there is an empty name in the list`);
  return names;
}

/** By `exit`, so that all who wait for it stop their processes and remove their files. */
function endOnSignal(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  }
}

const minutesText = (minutes: number): string =>
  minutes < 1 ? `${Math.ceil(minutes * 6) * 10} seconds` : `${Math.round(minutes)} minute${minutes < 1.5 ? '' : 's'}`;
