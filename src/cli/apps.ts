import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import type { EdgeConfig } from '../config/schema.ts';
import { ThawError, messageOf } from '../errors.ts';
import { readPackageJson } from '../package.ts';
import { SNAPSHOT_FORMAT } from '../snapshot/manifest.ts';

/** Sources of apps lie here, beside the config: `apps/hello.js` or `apps/hello/index.ts` for the snapshot `hello`. */
const APPS_DIRECTORY = 'apps';

const EXTENSIONS = ['.js', '.mjs', '.ts', '.mts', '.jsx', '.tsx', '.wasm'];

/** An app that a route names. `sources` is a digest of all that it may be built from. */
export type App = { readonly name: string; readonly input: string; readonly sources: string };

/** 16 hex digits: an edit that goes unnoticed is one in 2^64. */
const SOURCES_DIGITS = 16;

/**
 * The apps beside a config that its routes name, in the order of their names. Other files of the directory are what apps
 * may import; each app is built anew when one of them changes. `node_modules` and names with a leading dot do not count.
 *
 * @throws ThawError CONFIG_INVALID when there are two sources for one name, BUILD_INPUT_MISSING when one cannot be read
 */
export function findApps(configPath: string, { routes }: EdgeConfig): App[] {
  const isDirectory = statSync(configPath).isDirectory();
  const directory = join(isDirectory ? configPath : dirname(configPath), APPS_DIRECTORY);
  const names = [...new Set(routes.map(({ snapshot }) => snapshot))].toSorted();
  const files = listFiles(directory);
  const known = new Set(files);
  const inputs = names.flatMap((name) => {
    const input = findInput(directory, name, known);
    return input === null ? [] : [{ name, input }];
  });
  const ownerOf = (file: string): string | undefined => inputs.find(({ input }) => owns(input, file))?.input;
  return inputs.map(({ name, input }) => {
    const sources = files.filter((file) => [input, undefined].includes(ownerOf(file)));
    return { name, input, sources: digestOf(directory, sources) };
  });
}

/** What `read` gives, which asks the file system about `path`. */
function reading<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new ThawError('BUILD_INPUT_MISSING', `reading ${path}: ${messageOf(cause)}`, { cause });
  }
}

function listFiles(directory: string): string[] {
  const stat = reading(directory, () => statSync(directory, { throwIfNoEntry: false }));
  if (stat?.isDirectory() !== true) return [];
  return reading(directory, () => readdirSync(directory, { withFileTypes: true }))
    .filter(({ name }) => !name.startsWith('.') && name !== 'node_modules')
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return listFiles(path);
      return entry.isFile() ? [path] : [];
    })
    .toSorted();
}

function findInput(directory: string, name: string, files: ReadonlySet<string>): string | null {
  const candidates = EXTENSIONS.flatMap((extension) => [
    join(directory, `${name}${extension}`),
    join(directory, name, `index${extension}`),
  ]);
  const [input, other] = candidates.filter((path) => files.has(path));
  if (other !== undefined) {
    throw new ThawError('CONFIG_INVALID', `the snapshot "${name}" has two sources, ${input} and ${other}: keep one`);
  }
  return input ?? null;
}

/** An app owns its file; one that is an index owns all that is beside and below it. */
function owns(input: string, file: string): boolean {
  if (file === input) return true;
  return /[/\\]index\.[^.]+$/.test(input) && file.startsWith(dirname(input) + sep);
}

/** Names and contents, and what builds them: thaw, its tools and its format. */
function digestOf(directory: string, files: readonly string[]): string {
  const hash = createHash('sha256').update(`${SNAPSHOT_FORMAT}\n`).update(builderVersions());
  for (const file of files) {
    const content = reading(file, () => readFileSync(file));
    hash.update(`${relative(directory, file)}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex').slice(0, SOURCES_DIGITS);
}

function builderVersions(): string {
  const { version, optionalDependencies } = readPackageJson();
  return JSON.stringify([version, optionalDependencies]);
}
