import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildComponent } from '../../src/build/input.ts';
import { buildTools } from '../../src/build/tools.ts';
import { writeWit } from '../../src/build/wit.ts';

/**
 * The guests that tests run, built from source on first use:
 * - `js-kitchen`, `js-tiny`, `js-sender`: JavaScript apps with the same engine
 * - `as-table`, `as-plain`: an AssemblyScript module with and without Wizer
 * - `as-scribe`: does to its instance what the path says, and answers with its state; comes in three variants
 * - `as-hostile`: takes as much of its host as it can get
 * - `wat-two`: the memory belongs to another core module than the handler
 * - `wat-tableset`: the same, and it changes its table while it runs, so it cannot be restored
 * - `wat-preview1`: goes through the preview1 adapter
 */
export const GUEST_NAMES = [
  'js-kitchen',
  'js-tiny',
  'js-sender',
  'as-table',
  'as-plain',
  'as-scribe',
  'as-hostile',
  'wat-two',
  'wat-tableset',
  'wat-preview1',
] as const;

export type GuestName = (typeof GUEST_NAMES)[number];

const SOURCES = import.meta.dirname;
const BUILD = join(SOURCES, '../../src/build');
const CACHE = join(SOURCES, '../.cache/guests');
/** The benches run it, too. */
const TWO = join(SOURCES, '../../bench/apps/two.wat');

/** The world of the guests that are core modules: all that one of them imports. wit-component leaves out the rest. */
const GUEST_WORLD = `
package thaw:guests;

world guest {
  import wasi:http/types@0.2.10;
  import wasi:io/streams@0.2.10;
  import wasi:io/poll@0.2.10;
  import wasi:clocks/monotonic-clock@0.2.10;
  import wasi:random/random@0.2.10;
  import wasi:http/outgoing-handler@0.2.10;
  import wasi:cli/stdout@0.2.10;
  import wasi:cli/exit@0.2.10;
  export wasi:http/incoming-handler@0.2.10;
}
`;

const tools = buildTools();
const source = (...path: string[]): Promise<string> => readFile(join(SOURCES, ...path), 'utf8');

/** The AssemblyScript modules that are guests. They have the others in common. */
type AsEntry = 'app' | 'scribe' | 'hostile';

/**
 * Compiles an AssemblyScript app in `dir`. Its exports have the names of the source; see `asModule`. The compiler runs
 * as a process because the types of its API declare globals of their own.
 */
async function compileAssemblyScript(entry: AsEntry, dir: string): Promise<Uint8Array> {
  for (const name of [entry, 'http', 'wasi']) {
    await copyFile(join(SOURCES, 'as', `${name}.as`), join(dir, `${name}.ts`));
  }
  const compiler = fileURLToPath(new URL('../bin/asc.js', import.meta.resolve('assemblyscript/asc')));
  const options = ['--runtime', 'stub', '--use', 'abort=', '--noAssert', '-O3', '--outFile', 'app.wasm'];
  await promisify(execFile)(process.execPath, [compiler, `${entry}.ts`, ...options], { cwd: dir });
  return readFile(join(dir, 'app.wasm'));
}

/**
 * The AssemblyScript app as a core module. AssemblyScript has no export names with colons, so they are put into the
 * text. Without `initFunc` its `initialize` is not exported, and nothing can run it but the app.
 */
async function asModule(entry: AsEntry, initFunc: string | null, dir: string): Promise<Uint8Array> {
  const jco = await tools('@bytecodealliance/jco');
  const wat = await jco.print(await compileAssemblyScript(entry, dir));
  return jco.parse(
    wat
      .replace('(export "handle"', '(export "wasi:http/incoming-handler@0.2.10#handle"')
      .replace(/\(export "initialize" (\(func [^)]*\))\)/, initFunc === null ? '' : `(export "${initFunc}" $1)`),
  );
}

/** A core module made a component the way a user would. */
async function fromModule(module: Uint8Array, dir: string): Promise<Uint8Array> {
  const input = join(dir, 'guest.wasm');
  const wit = join(dir, 'wit');
  await writeFile(input, module);
  await writeWit(wit, GUEST_WORLD, tools);
  return (await buildComponent(input, { wit, world: 'guest' })).component;
}

const parseWat = async (wat: string): Promise<Uint8Array> => (await tools('@bytecodealliance/jco')).parse(wat);

const BUILDERS: Record<GuestName, (dir: string) => Promise<Uint8Array>> = {
  'js-kitchen': async () => (await buildComponent(join(SOURCES, 'js/kitchen.js'))).component,
  'js-tiny': async () => (await buildComponent(join(SOURCES, 'js/tiny.js'))).component,
  'js-sender': async () => (await buildComponent(join(SOURCES, 'js/sender.js'))).component,
  'as-table': async (dir) => fromModule(await asModule('app', 'wizer-initialize', dir), dir),
  'as-plain': async (dir) => fromModule(await asModule('app', null, dir), dir),
  'as-scribe': async (dir) => fromModule(await asModule('scribe', null, dir), dir),
  'as-hostile': async (dir) => fromModule(await asModule('hostile', null, dir), dir),
  'wat-two': async () => parseWat(await readFile(TWO, 'utf8')),
  'wat-tableset': async () => {
    const wat = await readFile(TWO, 'utf8');
    return parseWat(wat.replace(';; @tableset', '(table.set $calls (i32.const 0) (table.get $calls (i32.const 1)))'));
  },
  'wat-preview1': async (dir) => fromModule(await parseWat(await source('wat/preview1.wat')), dir),
};

/** Those of thaw's own modules that decide what a guest's bytes are. */
const BUILD_MODULES = [
  'bundle.ts',
  'componentize.ts',
  'componentize-child.ts',
  'core-module.ts',
  'guest/entry.ts',
  'guest/guard.ts',
  'steady-init.ts',
  'wit.ts',
  'wizer-shim.ts',
];

/** A digest of all that can change a guest: sources, thaw's build, versions of the tools. */
async function cacheKey(): Promise<string> {
  const hash = createHash('sha256').update(await readFile(join(SOURCES, '../../package.json')));
  const guests = ['as', 'js', 'wat'].map(async (folder) => {
    const names = await readdir(join(SOURCES, folder));
    return names.toSorted().map((name) => join(SOURCES, folder, name));
  });
  const files = (await Promise.all(guests)).flat();
  for (const file of [...files, ...BUILD_MODULES.map((name) => join(BUILD, name)), TWO, import.meta.filename]) {
    hash.update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}

const readIfThere = (path: string): Promise<Uint8Array | null> => readFile(path).catch(() => null);

/** A lock whose owner died is taken over after this: ten times what the slowest guest takes on a busy machine. */
const STALE_LOCK_MS = 600_000;
const POLL_MS = 50;

/** Makes the lock, a directory, or says that somebody else has it. */
async function tryLock(lock: string): Promise<boolean> {
  try {
    await mkdir(lock);
    return true;
  } catch {
    const age = await stat(lock).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > STALE_LOCK_MS) await rm(lock, { recursive: true, force: true });
    return false;
  }
}

async function buildInto(path: string, name: GuestName): Promise<Uint8Array> {
  const dir = await mkdtemp(join(tmpdir(), 'thaw-guest-'));
  try {
    const component = await BUILDERS[name](dir);
    // Written beside its place and renamed, so that nobody reads half of it.
    await writeFile(`${path}.new`, component);
    await rename(`${path}.new`, path);
    return component;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Guests of earlier sources. */
async function removeOlder(path: string, name: GuestName): Promise<void> {
  for (const entry of await readdir(CACHE)) {
    const old = entry.startsWith(`${name}-`) && entry.endsWith('.wasm') && join(CACHE, entry) !== path;
    if (old) await rm(join(CACHE, entry), { force: true });
  }
}

/**
 * The component of a guest. Built once, whatever the number of test processes: the first that asks builds, the others
 * wait for it.
 */
export async function buildGuest(name: GuestName): Promise<Uint8Array> {
  await mkdir(CACHE, { recursive: true });
  const path = join(CACHE, `${name}-${await cacheKey()}.wasm`);
  const lock = `${path}.lock`;
  for (;;) {
    const built = await readIfThere(path);
    if (built !== null) return built;
    if (await tryLock(lock)) break;
    await sleep(POLL_MS);
  }
  try {
    // It may have been finished between the look and the lock.
    const component = (await readIfThere(path)) ?? (await buildInto(path, name));
    await removeOlder(path, name);
    return component;
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}
