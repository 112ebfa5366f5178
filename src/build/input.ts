import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { ThawError, messageOf } from '../errors.ts';
import { displayPath } from './bundle.ts';
import { type Progress, componentizeApp } from './componentize.ts';
import { componentFromCoreModule } from './core-module.ts';
import { type Tools, buildTools } from './tools.ts';

export type BuildOptions = {
  /** For a core module: the directory or file with the WIT, and the world in it that the module implements. */
  readonly wit?: string | undefined;
  readonly world?: string | undefined;
  /** For a core module: the export that Wizer runs. */
  readonly initFunc?: string | undefined;
  readonly progress?: Progress | undefined;
  readonly tools?: Tools | undefined;
};

/** A component, and what it was made from. */
export type BuiltComponent = { readonly component: Uint8Array } & (
  | { readonly kind: 'component' }
  /** `output` is what the app printed while its top level ran. */
  | { readonly kind: 'javascript'; readonly output: string }
  /** `initFunc` is the function that Wizer ran, null when there was none. */
  | { readonly kind: 'core-module'; readonly initFunc: string | null }
);

export type InputKind = BuiltComponent['kind'];

const SOURCE_EXTENSIONS = ['.js', '.mjs', '.cjs', '.jsx', '.ts', '.mts', '.cts', '.tsx'];

/** "\0asm", then a version: 1 in layer 0 is a core module, 13 in layer 1 a component. */
const startsWith = (bytes: Uint8Array, prefix: readonly number[]): boolean =>
  prefix.every((byte, index) => bytes[index] === byte);
const MAGIC = [0x00, 0x61, 0x73, 0x6d];
const CORE_MODULE = [...MAGIC, 0x01, 0x00, 0x00, 0x00];
const COMPONENT = [...MAGIC, 0x0d, 0x00, 0x01, 0x00];

async function readInput(path: string, shown: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a directory; name the file to build'
          : messageOf(cause);
    throw new ThawError('BUILD_INPUT_MISSING', `reading ${shown}: ${why}`, { cause });
  }
}

/** What the bytes are, whatever the file is called; sources are known by their extension only. */
function inputKind(bytes: Uint8Array, path: string, shown: string): InputKind {
  if (bytes.length === 0) throw new ThawError('NOT_A_COMPONENT', `${shown} is empty`);
  if (startsWith(bytes, COMPONENT)) return 'component';
  if (startsWith(bytes, CORE_MODULE)) return 'core-module';
  if (startsWith(bytes, MAGIC)) {
    const version = Buffer.from(bytes.subarray(4, 8)).toString('hex');
    throw new ThawError('WASM_UNSUPPORTED', `${shown} is WebAssembly of the unknown version ${version}`);
  }
  const extension = extname(path);
  if (SOURCE_EXTENSIONS.includes(extension)) return 'javascript';
  if (extension === '.wat') {
    throw new ThawError(
      'NOT_A_COMPONENT',
      `${shown} is WebAssembly text; make it binary first: npx jco parse ${shown}`,
    );
  }
  const sources = SOURCE_EXTENSIONS.join(', ');
  throw new ThawError('NOT_A_COMPONENT', `${shown} is neither WebAssembly nor source in a file called ${sources}`);
}

/**
 * What a file is, from what is in it; sources are known by their names.
 * @throws ThawError BUILD_INPUT_MISSING, NOT_A_COMPONENT, WASM_UNSUPPORTED
 */
export async function kindOfFile(inputPath: string): Promise<InputKind> {
  const path = resolve(inputPath);
  const shown = displayPath(path);
  return inputKind(await readInput(path, shown), path, shown);
}

function refuseCoreModuleOptions(kind: InputKind, shown: string, options: BuildOptions): void {
  const given = (['wit', 'world', 'initFunc'] as const).find((name) => options[name] !== undefined);
  if (given === undefined) return;
  const flag = { wit: '--wit', world: '--world', initFunc: '--init-func' }[given];
  const what = kind === 'component' ? 'a component already' : 'JavaScript, whose world thaw knows';
  throw new ThawError('BUILD_OPTION_INVALID', `${flag} is for core modules, and ${shown} is ${what}`);
}

/**
 * Makes a component of what the user has: an app in JavaScript or TypeScript, a core module with its WIT, or a
 * component, which is returned as it is. No check here that it exports the right world: decoding does that.
 *
 * @throws ThawError BUILD_INPUT_MISSING, NOT_A_COMPONENT, BUILD_OPTION_INVALID, and those of the kind's own build
 */
export async function buildComponent(inputPath: string, options: BuildOptions = {}): Promise<BuiltComponent> {
  const path = resolve(inputPath);
  const shown = displayPath(path);
  const { tools = buildTools(), progress = () => {} } = options;
  const bytes = await readInput(path, shown);
  const kind = inputKind(bytes, path, shown);
  if (kind !== 'core-module') refuseCoreModuleOptions(kind, shown, options);
  switch (kind) {
    case 'component':
      return { kind, component: bytes };
    case 'javascript':
      return { kind, ...(await componentizeApp(path, tools, progress)) };
    case 'core-module': {
      const { wit, world, initFunc } = options;
      if (wit === undefined || world === undefined) {
        const missing = [wit === undefined ? '--wit' : '', world === undefined ? '--world' : '']
          .filter(Boolean)
          .join(' and ');
        throw new ThawError(
          'BUILD_OPTION_INVALID',
          `${shown} is a core module, which does not say what its imports and exports mean: give ${missing} too`,
        );
      }
      const built = await componentFromCoreModule(bytes, { wit: resolve(wit), world, initFunc }, tools, progress);
      return { kind, ...built };
    }
  }
}
