import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ThawError, messageOf } from '../errors.ts';
import { type CoreModule, parseModule } from '../wasm/module.ts';
import type { Progress } from './componentize.ts';
import { calledImport } from './init-errors.ts';
import { runTool } from './run-tool.ts';
import { withScratch } from './scratch.ts';
import type { Tools } from './tools.ts';

/** Wizer 11's default, which its own README gives as something else. */
const DEFAULT_INIT_FUNC = 'wizer-initialize';

/** What the world of C and Rust calls before WASI 0.2; jco's adapter translates it. */
const PREVIEW1 = 'wasi_snapshot_preview1';

export type CoreModuleOptions = {
  /** The directory or file with the WIT. */
  readonly wit: string;
  readonly world: string;
  /** The export for Wizer to run. Without it `wizer-initialize` is run if the module has it. */
  readonly initFunc?: string | undefined;
};

const functionExports = (module: CoreModule): string[] =>
  module.exports.filter(({ kind }) => kind === 'func').map(({ name }) => name);

/** The export that Wizer is to run, or null when there is nothing to initialise. */
function chooseInitFunc(module: CoreModule, asked: string | undefined): string | null {
  const exports = functionExports(module);
  if (asked === undefined) return exports.includes(DEFAULT_INIT_FUNC) ? DEFAULT_INIT_FUNC : null;
  if (exports.includes(asked)) return asked;
  const have = exports.length === 0 ? 'no functions' : exports.join(', ');
  throw new ThawError(
    'BUILD_OPTION_INVALID',
    `--init-func ${asked}: the module does not export it; it exports ${have}`,
  );
}

const importsPreview1 = (module: CoreModule): boolean => module.imports.some(({ module: owner }) => owner === PREVIEW1);

function wizerError(initFunc: string, stderr: string): ThawError {
  const called = calledImport(stderr);
  if (called !== undefined) {
    return new ThawError('BUILD_INIT_CALLS_IMPORT', `${initFunc} calls ${called.interface} ${called.func}`);
  }
  return new ThawError('BUILD_TOOL_FAILED', `Wizer, running ${initFunc}: ${stderr.trim()}`);
}

/** Runs Wizer: the module after its init function, which is no longer exported. */
async function initialise(bytes: Uint8Array, initFunc: string, allowWasi: boolean, tools: Tools): Promise<Uint8Array> {
  const wizer = await tools('@bytecodealliance/wizer');
  return withScratch(async (scratch) => {
    const [input, output] = [join(scratch.dir, 'in.wasm'), join(scratch.dir, 'out.wasm')];
    await writeFile(input, bytes);
    const wasi = allowWasi ? ['--allow-wasi', '--inherit-stdio=false'] : [];
    const run = await runTool(scratch, wizer.default, [...wasi, '--init-func', initFunc, '-o', output, input]);
    if (run.status !== 0) throw wizerError(initFunc, run.stderr || `ended by ${run.signal}`);
    return readFile(output);
  });
}

/** Waits for a step of jco's. Throws BUILD_TOOL_FAILED, which says what the step was, when it fails. */
async function step<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw new ThawError('BUILD_TOOL_FAILED', `${what}: ${messageOf(cause)}`, { cause });
  }
}

/** Embeds the world into the module and makes a component of it, with the preview1 adapter when it needs one. */
async function wrap(
  bytes: Uint8Array,
  options: CoreModuleOptions,
  preview1: boolean,
  tools: Tools,
): Promise<Uint8Array> {
  const jco = await tools('@bytecodealliance/jco');
  const embedded = await step(
    `embedding world ${options.world} of ${options.wit}`,
    jco.componentEmbed({ binary: bytes, witPath: options.wit, world: options.world }),
  );
  const adapters: [string, Uint8Array][] = preview1
    ? [[PREVIEW1, await readFile(jco.preview1AdapterReactorPath())]]
    : [];
  return step('making a component of the module', jco.componentNew(embedded, adapters));
}

/**
 * Builds a component from a core module that implements a WIT world: initialised by Wizer if it has an init function,
 * wrapped by jco.
 *
 * @returns the component's bytes, and the function that Wizer ran, null when there was none
 * @throws ThawError BUILD_OPTION_INVALID, BUILD_INPUT_MISSING, BUILD_INIT_CALLS_IMPORT, BUILD_TOOLS_MISSING,
 *   BUILD_TOOL_FAILED; WASM_MALFORMED, WASM_UNSUPPORTED
 */
export async function componentFromCoreModule(
  bytes: Uint8Array,
  options: CoreModuleOptions,
  tools: Tools,
  progress: Progress,
): Promise<{ readonly component: Uint8Array; readonly initFunc: string | null }> {
  const module = parseModule(bytes);
  const initFunc = chooseInitFunc(module, options.initFunc);
  await access(options.wit).catch((cause: unknown) => {
    throw new ThawError('BUILD_INPUT_MISSING', `reading the WIT: ${messageOf(cause)}`, { cause });
  });
  const preview1 = importsPreview1(module);
  if (initFunc !== null) progress(`running ${initFunc} with Wizer`);
  const initialised = initFunc === null ? bytes : await initialise(bytes, initFunc, preview1, tools);
  progress('making a component');
  return { component: await wrap(initialised, options, preview1, tools), initFunc };
}
