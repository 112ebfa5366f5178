/**
 * A process of its own for componentize-js, which blocks for seconds, gives the app's output to the process's stdout,
 * and leaves files behind when it fails. Runs in the scratch directory, on what componentize.ts put there.
 * Argument: the program to run in place of Wizer; wizer-shim without one.
 */
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildTools } from './tools.ts';
import { JAVASCRIPT_WORLD_NAME } from './wit.ts';

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** componentize-js brings a Wizer of its own, which is there on more platforms than the one that thaw asks for. */
async function wizerOfComponentize(): Promise<string> {
  const require = createRequire(import.meta.resolve('@bytecodealliance/componentize-js'));
  const wizer = (await import(pathToFileURL(require.resolve('@bytecodealliance/wizer')).href)) as { default: string };
  return wizer.default;
}

const WIZER_SHIM = fileURLToPath(new URL(`./wizer-shim${extname(import.meta.url)}`, import.meta.url));

/** An executable that runs a shim, which is given the path of Wizer first. */
async function writeShim(path: string, shim: string): Promise<void> {
  const command = [process.execPath, shim, await wizerOfComponentize()].map(quote).join(' ');
  await writeFile(path, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
}

try {
  const { componentize } = await buildTools()('@bytecodealliance/componentize-js');
  await writeShim('wizer', process.argv[2] ?? WIZER_SHIM);
  const { component } = await componentize({
    sourcePath: 'app.js',
    // @ts-expect-error: missing in its types; the name in stack traces
    sourceName: 'app.js',
    witPath: 'wit',
    worldName: JAVASCRIPT_WORLD_NAME,
    wizerBin: './wizer',
    env: {},
  });
  await writeFile('app.wasm', component);
} catch (error) {
  // The message alone: componentize-js raises plain errors whose stack says nothing about the app.
  process.stderr.write(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
