import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleApp } from '../../src/build/bundle.ts';
import { buildComponent } from '../../src/build/input.ts';
import { withScratch } from '../../src/build/scratch.ts';
import { buildTools } from '../../src/build/tools.ts';
import { writeWit } from '../../src/build/wit.ts';
import { PACKAGE_ROOT, readPackageJson } from '../../src/package.ts';

/** The components that benches run. Building one takes seconds, so it is kept until what it was made from changes. */

/** Sources of the bench's own apps; those of a name are `<name>.js` or `<name>.wat`. */
export const APPS = join(PACKAGE_ROOT, 'bench/apps');

/** The build's own modules, compiled or not, which decide what a component is like. */
const BUILD = fileURLToPath(new URL('../../src/build', import.meta.url));

/** Kept of 10 MB each; those that were not used for longest go. */
const MOST_KEPT = 32;

/**
 * Where what can be made again is kept: in a checkout beside the benches, else where caches belong, since the package's
 * own directory may be somebody else's.
 */
export const cachePath = (name: string): string =>
  existsSync(join(PACKAGE_ROOT, 'src'))
    ? join(PACKAGE_ROOT, 'bench/out', name)
    : join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'thaw', name);

const tools = buildTools();

/** Says on stderr what takes long. */
export type Tell = (text: string) => void;

const tellOnStderr: Tell = (text) => void process.stderr.write(`${text}\n`);

/**
 * A file that is made when it is not there.
 *
 * @param name with its extension
 * @param from all that decides what is in it, thaw's build and the versions of the tools apart
 */
export async function cachedFile(
  name: string,
  from: readonly (string | Uint8Array)[],
  make: () => Promise<Uint8Array>,
): Promise<string> {
  const directory = cachePath('components');
  const extension = extname(name);
  const path = join(directory, `${basename(name, extension)}-${keyOf(from)}${extension}`);
  if (existsSync(path)) {
    const now = new Date();
    utimesSync(path, now, now);
    return path;
  }
  const bytes = await make();
  mkdirSync(directory, { recursive: true });
  // Renamed into place: no bench finds half of it.
  writeFileSync(`${path}.${process.pid}`, bytes);
  renameSync(`${path}.${process.pid}`, path);
  forgetOldest(directory);
  return path;
}

function keyOf(from: readonly (string | Uint8Array)[]): string {
  const { version, optionalDependencies } = readPackageJson();
  const hash = createHash('sha256').update(JSON.stringify([version, optionalDependencies]));
  const names = readdirSync(BUILD, { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((name) => name.endsWith(extname(import.meta.url))).toSorted()) {
    hash.update(name).update(readFileSync(join(BUILD, name)));
  }
  for (const part of from) hash.update(`${part.length}\0`).update(part);
  return hash.digest('hex').slice(0, 16);
}

function forgetOldest(directory: string): void {
  const files = readdirSync(directory).map((name) => join(directory, name));
  const byAge = files.toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const path of byAge.slice(MOST_KEPT)) rmSync(path, { force: true });
}

/**
 * The component of an app in JavaScript or TypeScript, as a file.
 * @throws ThawError as {@link buildComponent}
 */
export async function componentFile(source: string, tell = tellOnStderr): Promise<string> {
  const { code } = await bundleApp(source, tools);
  return cachedFile(`${basename(source, extname(source))}.wasm`, [code], async () => {
    tell(`building ${basename(source)}`);
    return (await buildComponent(source, { tools })).component;
  });
}

/** The component of a JavaScript app of bench/apps, as a file. */
export const appComponent = (name: string, tell?: Tell): Promise<string> =>
  componentFile(join(APPS, `${name}.js`), tell);

/** All that the core modules of bench/apps import. wit-component leaves out what one of them does not. */
const WORLD_NAME = 'guest';
const WORLD = `
package thaw:bench;

world ${WORLD_NAME} {
  import wasi:http/types@0.2.10;
  import wasi:io/streams@0.2.10;
  import wasi:cli/exit@0.2.10;
  export wasi:http/incoming-handler@0.2.10;
}
`;

export type WatOptions = {
  /** The export that Wizer runs; without one the module is as it is. */
  readonly initFunc?: string;
  /** Changes the text: another module from one source. */
  readonly change?: (text: string) => string;
};

/** The component of a guest of bench/apps that is text: a component, or a core module for {@link WORLD}. As a file. */
export async function watComponent(name: string, { initFunc, change = String }: WatOptions = {}): Promise<string> {
  const text = change(await readFile(join(APPS, `${name}.wat`), 'utf8'));
  return cachedFile(`${name}.wasm`, [text, initFunc ?? '', WORLD], async () => {
    const jco = await tools('@bytecodealliance/jco');
    const bytes = await jco.parse(text);
    if (/^\(component/m.test(text)) return bytes;
    return withScratch(async ({ dir }) => {
      const [input, wit] = [join(dir, 'guest.wasm'), join(dir, 'wit')];
      await writeFile(input, bytes);
      await writeWit(wit, WORLD, tools);
      return (await buildComponent(input, { wit, world: WORLD_NAME, initFunc, tools })).component;
    });
  });
}
