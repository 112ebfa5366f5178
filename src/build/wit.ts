import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ThawError, messageOf } from '../errors.ts';
import type { Tools } from './tools.ts';

/** The one version whose incoming-handler the JavaScript engine exports (componentize-js 0.22). */
const ENGINE_WASI = '0.2.10';

/** The newest WASI 0.2 that jco 1.35 bundles whole. Between the two versions only documentation differs. */
const BUNDLED_WASI = '0.2.12';

/** The import behind the handler's `env`. */
export const ENVIRONMENT = `wasi:cli/environment@${ENGINE_WASI}`;

/** Those of WASI's packages that a wasi:http/proxy component can import, in jco's spelling. */
const PACKAGES = ['wasi-cli', 'wasi-clocks', 'wasi-http', 'wasi-io', 'wasi-random'];

/**
 * The world of every JavaScript app. The engine adds what its own features import; `wasi:cli/environment` is there for
 * the handler's `env`. All apps share one world because it shapes the engine's code, which is to be the same for all.
 */
export const JAVASCRIPT_WORLD = `
package thaw:app;

world app {
  import ${ENVIRONMENT};
  export wasi:http/incoming-handler@${ENGINE_WASI};
}
`;

/** The name of the world in `JAVASCRIPT_WORLD`. */
export const JAVASCRIPT_WORLD_NAME = 'app';

/** Worlds are left out: `wasi:cli/imports` includes packages that no proxy needs and that are not written. */
const toEngineVersion = (wit: string): string =>
  wit.replace(/^world [^{]*\{[^}]*\}\n?/gm, '').replaceAll(`@${BUNDLED_WASI}`, `@${ENGINE_WASI}`);

/**
 * Writes a WIT directory to `dir`: `world`, a WIT package that may use WASI 0.2.10, and under `deps` the WASI packages
 * of a proxy. Their text is jco's copy of the official one, read from where jco is installed.
 *
 * @throws ThawError BUILD_TOOLS_MISSING without jco, BUILD_TOOL_FAILED when jco does not have the files.
 */
export async function writeWit(dir: string, world: string, tools: Tools): Promise<void> {
  const jco = await tools('@bytecodealliance/jco');
  const bundled = new URL(`./wit/builtin/${BUNDLED_WASI}/`, jco.preview1AdapterReactorPath());
  const writePackage = async (name: string): Promise<void> => {
    const source = new URL(`${name}/package.wit`, bundled);
    const wit = await readFile(source, 'utf8').catch((cause: unknown) => {
      throw new ThawError('BUILD_TOOL_FAILED', `reading the WIT that jco brings: ${messageOf(cause)}`, { cause });
    });
    await mkdir(join(dir, 'deps', name), { recursive: true });
    await writeFile(join(dir, 'deps', name, 'package.wit'), toEngineVersion(wit));
  };
  await Promise.all(PACKAGES.map(writePackage));
  await writeFile(join(dir, 'world.wit'), world);
}
