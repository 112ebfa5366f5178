import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleApp } from '../../src/build/bundle.ts';
import { runComponentize } from '../../src/build/componentize.ts';
import { ENGINE_APP } from '../../src/build/engine.ts';
import { withScratch } from '../../src/build/scratch.ts';
import { buildTools } from '../../src/build/tools.ts';
import { cachedFile, type Tell } from '../support/components.ts';

/**
 * The JavaScript engine without a snapshot: the core module that componentize-js would give to Wizer, made a component,
 * and what its initialisation reads. It is the same for all apps, as thaw gives them all one world; an app adds its source.
 */

/** What capture-shim.ts leaves in the scratch directory. */
export const ENGINE_FILE = 'engine.wasm';
export const INPUTS_FILE = 'inputs.json';

export type EngineInputs = {
  /** The engine's command line, which it reads from stdin. The bindings are in /thaw, the app in /. */
  readonly stdin: string;
  /** `NAME=value` */
  readonly environment: readonly string[];
  /** The script that componentize-js generates for the world: /thaw/initializer.js. */
  readonly bindings: string;
};

/** The export that Wizer would run. */
export const ENGINE_INIT = 'componentize.wizer';

const PREVIEW1 = 'wasi_snapshot_preview1';
const SHIM = fileURLToPath(new URL(`./capture-shim${extname(import.meta.url)}`, import.meta.url));

const tools = buildTools();

/**
 * The engine as two files: its component, and {@link EngineInputs} as JSON. Kept, as building it takes seconds.
 * @throws ThawError BUILD_TOOLS_MISSING, BUILD_TOOL_FAILED
 */
export async function engineFiles(tell: Tell): Promise<{ readonly component: string; readonly inputs: string }> {
  const { code } = await bundleApp(ENGINE_APP, tools);
  const from = [code, await readFile(SHIM), await readFile(import.meta.filename)];
  let captured: ReturnType<typeof capture> | null = null;
  const capturedOnce = (): ReturnType<typeof capture> => {
    if (captured === null) tell('building the engine without a snapshot');
    return (captured ??= capture(code));
  };
  return {
    component: await cachedFile('uninitialised.wasm', from, async () => (await capturedOnce()).component),
    inputs: await cachedFile('uninitialised.json', from, async () => (await capturedOnce()).inputs),
  };
}

async function capture(code: string): Promise<{ readonly component: Uint8Array; readonly inputs: Uint8Array }> {
  const jco = await tools('@bytecodealliance/jco');
  const { engine, inputs } = await withScratch(async (scratch) => {
    const { status, stderr } = await runComponentize(scratch, code, tools, { shim: SHIM });
    if (status !== 0) throw new Error(`componentize-js, asked for the engine without a snapshot: ${stderr}`);
    return {
      engine: await readFile(join(scratch.dir, ENGINE_FILE)),
      inputs: await readFile(join(scratch.dir, INPUTS_FILE)),
    };
  });
  const adapter = await readFile(jco.preview1AdapterReactorPath());
  return { component: await jco.componentNew(engine, [[PREVIEW1, adapter]]), inputs };
}
