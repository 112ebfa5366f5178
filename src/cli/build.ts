import { basename, dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { buildSnapshot } from '../build/build.ts';
import { displayPath } from '../build/bundle.ts';
import { isEngineName } from '../build/engine.ts';
import { ThawError } from '../errors.ts';
import { checkName } from '../snapshot/refs.ts';
import { SnapshotStore } from '../snapshot/store.ts';
import { type JsonFlag, type StoreFlags, addJsonOption, addStoreOption, storeDirectory } from './options.ts';
import { grouped, note, print, printJson, readableBytes, readableMs, showProgress, table } from './output.ts';
import { type SnapshotFacts, factsOf } from './snapshot-facts.ts';

type BuildFlags = StoreFlags &
  JsonFlag & {
    readonly name?: string | undefined;
    readonly wit?: string | undefined;
    readonly world?: string | undefined;
    readonly initFunc?: string | undefined;
  };

const EXAMPLES = `Examples:
  thaw build app.ts                                        an app, as the snapshot "app"
  thaw build hello.wasm --name greeter                     a component that exports wasi:http/incoming-handler
  thaw build core.wasm --wit wit --world guest             a core module, initialised by Wizer
  thaw build core.wasm --wit wit --world guest --init-func setup
`;

export function define(command: Command): void {
  command
    .argument('<input>', 'a JavaScript or TypeScript file, a component, or a core module')
    .option('--name <name>', 'name of the snapshot (default: that of the file)')
    .option('--wit <dir>', 'for a core module: directory or file with its WIT')
    .option('--world <world>', 'for a core module: the world that it implements')
    .option(
      '--init-func <name>',
      'for a core module: the export for Wizer to run (default: wizer-initialize, if there)',
    )
    .addHelpText('before', EXAMPLES)
    .action(build);
  addJsonOption(addStoreOption(command));
}

/** What was built, as `--json` prints it. */
type BuildResult = SnapshotFacts & {
  readonly name: string;
  readonly digest: string;
  readonly input: 'javascript' | 'component' | 'core-module';
  readonly store: string;
  readonly elapsedMs: number;
};

async function build(input: string, flags: BuildFlags): Promise<void> {
  const startedAt = performance.now();
  const { wit, world, initFunc } = flags;
  const name = chooseName(input, flags.name);
  const store = SnapshotStore.open(storeDirectory(flags), { create: true });
  const progress = showProgress(name);
  const { built, digest, manifest } = await buildSnapshot(input, store, { wit, world, initFunc, progress });
  await store.setRef(name, digest, sourceText(input, flags));
  if (built.kind === 'javascript' && built.output !== '')
    note(`the app printed at build time:\n${built.output.trimEnd()}`);
  const result: BuildResult = {
    name,
    digest,
    input: built.kind,
    store: store.directory,
    elapsedMs: Math.round(performance.now() - startedAt),
    ...factsOf(manifest),
  };
  if (flags.json === true) printJson(result);
  else print(resultLines(result));
}

/** The name to give, held against the rules before anything is built. */
function chooseName(input: string, given: string | undefined): string {
  const name = given ?? nameFromPath(input);
  if (given === undefined && name === '') {
    throw new ThawError('STORE_NAME_INVALID', `no name can be made of ${input}: choose one with --name`);
  }
  checkName(name);
  if (isEngineName(name)) {
    throw new ThawError(
      'STORE_NAME_INVALID',
      `"${name}" begins as the names that thaw gives to engines: choose another with --name`,
    );
  }
  return name;
}

/**
 * The name that a snapshot gets from its source: that of the file without extension, or of the directory for an index
 * file, with what a name cannot have made hyphens. May be empty.
 */
function nameFromPath(path: string): string {
  // Resolved, because what is wrong with `.` is that it is a directory, and not its name.
  const stem = basename(resolve(path)).replace(/\.[^.]*$/, '');
  const chosen = stem === 'index' ? basename(dirname(resolve(path))) : stem;
  return chosen
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .replace(/-+$/, '')
    .slice(0, 64);
}

/** What follows `thaw build` to build this again, for people and messages. */
function sourceText(input: string, { wit, world, initFunc }: BuildFlags): string {
  const options = [
    ['--wit', wit],
    ['--world', world],
    ['--init-func', initFunc],
  ] as const;
  const given = options.flatMap(([flag, value]) => (value === undefined ? [] : [flag, shellWord(value)]));
  return [shellWord(displayPath(input)), ...given].join(' ');
}

const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;

function resultLines(result: BuildResult): string[] {
  const { name, digest, codeDigest, componentBytes, codeBytes, elapsedMs } = result;
  return [
    name,
    ...table([
      ['  digest', digest],
      ['  code', codeDigest],
      ['  start', result.kind === 'restorable' ? 'restored in place' : 'a new instance for each request'],
      ...result.reasons.map((reason) => ['    because', reason]),
      ['  memory', memoryText(result)],
      ['  sizes', `component ${readableBytes(componentBytes)}, code ${readableBytes(codeBytes)}${imageText(result)}`],
      ['  time', readableMs(elapsedMs)],
    ]),
  ];
}

function memoryText({ memory }: SnapshotFacts): string {
  if (memory === null) return 'not frozen';
  const { bytes, imagePages, nonZeroPages } = memory;
  return `${readableBytes(bytes)}: ${grouped(nonZeroPages)} of ${grouped(imagePages)} pages of 4 KiB are not zero`;
}

function imageText({ memory, imageBytes, deltaBytes }: SnapshotFacts): string {
  if (memory === null) return '';
  const image = `, image ${readableBytes(imageBytes)}`;
  return deltaBytes === 0 ? image : `${image} shared, and ${readableBytes(deltaBytes)} of its own`;
}
