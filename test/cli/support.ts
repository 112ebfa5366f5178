import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { type GuestName, buildGuest } from '../guests/build.ts';

const LAUNCHER = join(import.meta.dirname, '../../bin/thaw.js');

type Options = {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The Node that runs the launcher; that of the tests unless given. */
  readonly node?: string;
};

/** What one run of `thaw` did. `code` is null when a signal ended it. */
export type Run = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Stripping the types of the sources anew takes half of the time of a run. */
export const COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');

/** An environment in which nothing from outside is set but the path. */
const environment = (env: Options['env'] = {}): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '',
  NODE_COMPILE_CACHE: COMPILE_CACHE,
  ...env,
});

/** A directory of the test's own, gone when it ends. */
export async function scratch(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'thaw-cli-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts the real command line. */
export function start(args: readonly string[], { cwd, env, node = process.execPath }: Options): ChildProcess {
  return spawn(node, [LAUNCHER, ...args], { cwd, env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Waits until a child ends, and takes down its output. */
export async function finish(child: ChildProcess): Promise<Run> {
  assert.ok(child.stdout && child.stderr);
  const exit = once(child, 'close');
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await exit) as [number | null];
  return { code, stdout, stderr };
}

/** Runs the real command line to its end. */
export const thaw = (args: readonly string[], options: Options): Promise<Run> => finish(start(args, options));

/** Runs it, expects success, and reads the JSON on stdout. */
export async function thawJson(args: readonly string[], options: Options): Promise<unknown> {
  const { code, stdout, stderr } = await thaw([...args, '--json'], options);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Puts a guest's component into a file of the directory. */
export async function putGuest(directory: string, file: string, name: GuestName): Promise<string> {
  const path = join(directory, file);
  await writeFile(path, await buildGuest(name));
  return path;
}

/** A node that serves. `stderr` grows as it speaks. */
type Serving = {
  readonly child: ChildProcess;
  readonly url: string;
  readonly adminUrl: string;
  readonly ended: Promise<Run>;
};

/** Starts `serve` or `up` and waits for its two lines. Whatever the test does, the node ends with it. */
export async function serving(t: TestContext, args: readonly string[], options: Options): Promise<Serving> {
  const child = start([...args, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'], options);
  t.after(() => child.kill('SIGKILL'));
  const { promise, resolve, reject } = Promise.withResolvers<{ url: string; adminUrl: string }>();
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    const [, url, adminUrl] = /^listening on (http:\/\/\S+)\nadmin on (http:\/\/\S+)\n/m.exec(said) ?? [];
    if (url !== undefined && adminUrl !== undefined) resolve({ url, adminUrl });
  });
  const ended = finish(child);
  void ended.then(({ code, stderr }) => reject(new Error(`thaw ended with ${code} before it served: ${stderr}`)));
  return { child, ended, ...(await promise) };
}
