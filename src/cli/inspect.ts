import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { ThawError, messageOf } from '../errors.ts';
import { describePlan, planLines } from '../wasm/describe.ts';
import { type Inspection, inspectPrepared, inspectSnapshot } from './inspection.ts';
import { type JsonFlag, type StoreFlags, addJsonOption, addStoreOption, openStore } from './options.ts';
import { grouped, list, plural, print, printJson, readableBytes, table } from './output.ts';

const EXAMPLES = `Examples:
  thaw inspect hello            a snapshot, by name
  thaw inspect 3fb1a08c         or by the first digits of its digest, eight at least
  thaw inspect ./hello.wasm     a component in a file; nothing is stored
`;

export function define(command: Command): void {
  command
    .argument('<what>', 'a name or a digest in the store; or a file: what ends in .wasm or has a slash')
    .addHelpText('before', EXAMPLES)
    .action(inspect);
  addJsonOption(addStoreOption(command));
}

async function inspect(what: string, flags: StoreFlags & JsonFlag): Promise<void> {
  const inspection = isPath(what) ? await inspectFile(what) : inspectName(what, flags);
  if (flags.json === true) printJson(inspection);
  else print(inspectionLines(inspection));
}

const isPath = (what: string): boolean => /[/\\]|\.wasm$/.test(what);

function inspectName(what: string, flags: StoreFlags): Inspection {
  const store = openStore(flags);
  const digest = store.resolve(what);
  return inspectSnapshot(store, digest, store.loadManifest(digest));
}

async function inspectFile(path: string): Promise<Inspection> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new ThawError('BUILD_INPUT_MISSING', `reading ${path}: ${messageOf(cause)}`, { cause });
  }
  const { prepare } = await import('../build/freeze.ts');
  return inspectPrepared(path, bytes, await prepare(bytes));
}

/** Nothing when there is nothing to say. */
const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['', title, ...lines];

function inspectionLines(inspection: Inspection): string[] {
  const { source, component, exports, imports, modules, memories, globals, plan } = inspection;
  return [
    ...headLines(inspection),
    ...section('world', [
      ...exports.flatMap((exported) => list(`  export ${exported.interface}`, exported.functions)),
      ...imports.flatMap(({ interface: name, functions }) =>
        functions.length === 0 ? [`  import ${name}, nothing of it used`] : list(`  import ${name}`, functions),
      ),
    ]),
    ...section('core modules', modules.map(moduleText)),
    ...section(source.kind === 'snapshot' ? 'memories, frozen' : 'memories, initialised', memories.map(memoryText)),
    ...section(
      'mutable globals',
      globals.map(({ instance, name, type, value }) => `  ${name} of instance ${instance}: ${type} ${value}`),
    ),
    '',
    ...planLines(describePlan(plan)),
    ...section(
      'made with',
      component.producers.map((producer) => `  ${producer}`),
    ),
  ];
}

function headLines({ source, component, start }: Inspection): string[] {
  const startRows =
    start.kind === 'restorable'
      ? [['  start', 'restored in place']]
      : [['  start', 'a new instance for each request'], ...start.reasons.map((reason) => ['    because', reason])];
  const componentRows = [['  component', `${component.digest}, ${readableBytes(component.bytes)}`]];
  if (source.kind === 'file') return [source.path, ...table([...startRows, ...componentRows])];
  const digests = [
    ['  digest', source.digest],
    ['  code', source.codeDigest],
  ];
  const title = source.names.length === 0 ? 'a snapshot without a name' : source.names.join(', ');
  return [title, ...table([...startRows, ...digests, ...componentRows])];
}

function moduleText({ name, bytes, functions, tables }: Inspection['modules'][number], index: number): string {
  const tablesText = tables.length === 0 ? '' : `, ${tables.map(grouped).join(' + ')} table entries`;
  return `  ${index} ${name}: ${readableBytes(bytes)}, ${plural(functions, 'function')}${tablesText}`;
}

function memoryText({
  instance,
  index,
  bytes,
  imagePages,
  nonZeroPages,
  deltaPages,
  maxPages,
}: Inspection['memories'][number]): string {
  const pages = `${grouped(nonZeroPages)} of ${grouped(imagePages)} pages of 4 KiB are not zero`;
  const delta = deltaPages === null || deltaPages === 0 ? '' : `, ${grouped(deltaPages)} of its own`;
  const max = maxPages === null ? '' : `; may grow to ${plural(maxPages, 'page')} of 64 KiB`;
  return `  memory ${index} of instance ${instance}: ${readableBytes(bytes)}, ${pages}${delta}${max}`;
}
