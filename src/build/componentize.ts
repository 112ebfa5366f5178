import { readFile, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ThawError } from '../errors.ts';
import { bundleApp, displayPath } from './bundle.ts';
import { initError } from './init-errors.ts';
import { runTool, type ToolRun } from './run-tool.ts';
import { withScratch, type Scratch } from './scratch.ts';
import type { Tools } from './tools.ts';
import { JAVASCRIPT_WORLD, writeWit } from './wit.ts';

/** Told what is being done, in words for a person: `bundling`. */
export type Progress = (step: string) => void;

/** A hundred times what a build takes on a small machine: an app whose top level never ends must not hold it for ever. */
const INIT_TIMEOUT_MS = 300_000;

/** The last line that guest/entry.ts prints. */
const READY = 'thaw:ready\n';

const CHILD = fileURLToPath(new URL(`./componentize-child${extname(import.meta.url)}`, import.meta.url));

/**
 * Runs componentize-js on a bundle, in a process and a directory of its own. The component is `app.wasm` there.
 *
 * @param shim the program that stands in for Wizer, unless it is wizer-shim
 */
export async function runComponentize(
  scratch: Scratch,
  code: string,
  tools: Tools,
  { timeoutMs = INIT_TIMEOUT_MS, shim }: { readonly timeoutMs?: number; readonly shim?: string } = {},
): Promise<ToolRun> {
  await writeFile(join(scratch.dir, 'app.js'), code);
  await writeWit(join(scratch.dir, 'wit'), JAVASCRIPT_WORLD, tools);
  const args = shim === undefined ? [CHILD] : [CHILD, shim];
  return runTool(scratch, process.execPath, args, { env: { TMPDIR: scratch.dir }, timeoutMs });
}

/**
 * Builds a component from an app in JavaScript or TypeScript: bundle, then componentize-js, which evaluates the app's
 * top level in the engine and has Wizer freeze it.
 *
 * @param input absolute path of the app's file
 * @param timeoutMs how long the top level may take
 * @returns the component's bytes, and what the app printed while its top level ran
 * @throws ThawError BUILD_SOURCE_ERROR, BUILD_NO_HANDLER, BUILD_INIT_FAILED, BUILD_INIT_RANDOM,
 *   BUILD_INIT_CALLS_IMPORT, BUILD_TOOLS_MISSING, BUILD_TOOL_FAILED
 */
export async function componentizeApp(
  input: string,
  tools: Tools,
  progress: Progress,
  timeoutMs = INIT_TIMEOUT_MS,
): Promise<{ readonly component: Uint8Array; readonly output: string }> {
  progress('bundling');
  const { code, map } = await bundleApp(input, tools);
  await tools('@bytecodealliance/componentize-js');
  return withScratch(async (scratch) => {
    progress('running the top level and freezing it with Wizer');
    const run = await runComponentize(scratch, code, tools, { timeoutMs });
    if (run.timedOut) {
      const limit = `${timeoutMs / 1000} s`;
      throw new ThawError('BUILD_INIT_FAILED', `the top level of ${displayPath(input)} did not end within ${limit}`);
    }
    if (run.status !== 0) throw initError(input, run.stderr || `ended by ${run.signal}`, map);
    if (!run.stdout.endsWith(READY)) {
      throw new ThawError(
        'BUILD_INIT_FAILED',
        `the top level of ${displayPath(input)} awaits something that does not happen at build time`,
      );
    }
    return { component: await readFile(join(scratch.dir, 'app.wasm')), output: run.stdout.slice(0, -READY.length) };
  });
}
