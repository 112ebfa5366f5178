import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../src/package.ts';

/** Where the numbers come from: no two machines measure alike, nor one that is busy and one that is not. */
export type Machine = {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly architecture: string;
  readonly node: string;
  readonly v8: string;
  /** Of a checkout, with `-dirty` when it has changes; `unknown` for an installed package. */
  readonly commit: string;
  readonly packages: Readonly<Record<string, string>>;
};

/** The packages whose versions decide the numbers. */
const PACKAGES = ['@bytecodealliance/jco', '@bytecodealliance/componentize-js', '@bytecodealliance/wizer', 'koffi'];

export const describeMachine = (): Machine => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryBytes: totalmem(),
  kernel: release(),
  architecture: process.arch,
  node: process.version,
  v8: process.versions.v8,
  commit: commit(),
  packages: Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
});

/** Load averages over 1, 5 and 15 minutes, to two decimals. */
export const loadAverage = (): number[] => loadavg().map((load) => Math.round(load * 100) / 100);

function commit(): string {
  // An installed package lies in somebody else's repository.
  if (!existsSync(join(PACKAGE_ROOT, '.git'))) return 'unknown';
  try {
    const git = ['describe', '--always', '--dirty', '--abbrev=12'];
    return execFileSync('git', git, {
      cwd: PACKAGE_ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}

/** The version of the package that an import of thaw's would find. */
function versionOf(name: string): string {
  const directories = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const file = directories.map((directory) => join(directory, name, 'package.json')).find(existsSync);
  if (file === undefined) return 'not installed';
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
