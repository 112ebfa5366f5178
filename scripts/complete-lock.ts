import { readFileSync, writeFileSync } from 'node:fs';

/**
 * Completes package-lock.json: `node scripts/complete-lock.ts`, after every `npm install` that changes it.
 *
 * Packages with native parts name one optional dependency per platform. npm leaves those that it could not fetch out of
 * the lock, some were never published for a platform (wizer 11 for arm64), and then `npm ci` of npm 11 refuses the lock as
 * out of date. An entry with version, os and cpu is all that `npm ci` needs to pass over a package of another platform,
 * and to go on without one of this platform that cannot be had.
 */

type Entry = {
  version?: string;
  optional?: boolean;
  dev?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
};

const FILE = new URL('../package-lock.json', import.meta.url);
const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const PROCESSORS = ['arm64', 'arm', 'x64', 'ia32', 'ppc64', 'riscv64', 's390x', 'wasm32'];

/** What the platform packages of this ecosystem say in their names: `binding-linux-arm64-musl`. */
function platformOf(name: string): Pick<Entry, 'os' | 'cpu' | 'libc'> {
  const words = name.split(/[/.-]/);
  const os = SYSTEMS.find((system) => words.includes(system));
  const cpu = PROCESSORS.find((processor) => words.includes(processor));
  const libc = words.some((word) => word.startsWith('musl'))
    ? 'musl'
    : words.some((word) => word.startsWith('gnu'))
      ? 'glibc'
      : undefined;
  return {
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(libc === undefined || os !== 'linux' ? {} : { libc: [libc] }),
    ...(os === undefined ? {} : { os: [os] }),
  };
}

/** Where `name` would be found from the package at `from`, as Node looks for it. */
function resolve(packages: Record<string, Entry>, from: string, name: string): Entry | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    const found = packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`];
    if (found !== undefined || at === '') return found;
  }
}

const lock = JSON.parse(readFileSync(FILE, 'utf8')) as { packages: Record<string, Entry> };
const { packages } = lock;
let added = 0;
for (const [path, entry] of Object.entries(packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const found = resolve(packages, path, name);
    if (found !== undefined && (found.version === version || !/^\d/.test(version))) continue;
    const root = `node_modules/${name}`;
    const place = packages[root] === undefined ? root : `${path}/${root}`;
    packages[place] = { version, ...platformOf(name), optional: true, ...(entry.dev === true ? { dev: true } : {}) };
    added++;
  }
}
lock.packages = Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} platform packages added`);
