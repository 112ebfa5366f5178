import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

/** Where the numbers come from: no two machines measure alike, nor one that is busy and one that is not. */
export type Machine = {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly architecture: string;
  readonly node: string;
  readonly v8: string;
  /** The checkout, with `-dirty` when it has changes. */
  readonly commit: string;
  readonly packages: Readonly<Record<string, string>>;
};

/** The packages whose versions decide the numbers. */
const PACKAGES = ['@bytecodealliance/jco', '@bytecodealliance/componentize-js', '@bytecodealliance/wizer', 'koffi'];

const ROOT = join(import.meta.dirname, '../..');

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
  try {
    const git = ['describe', '--always', '--dirty', '--abbrev=12'];
    return execFileSync('git', git, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}

function versionOf(name: string): string {
  try {
    const text = readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8');
    return (JSON.parse(text) as { version: string }).version;
  } catch {
    return 'not installed';
  }
}
