import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../src/package.ts';
import { Child } from './child.ts';

const BIN = join(PACKAGE_ROOT, 'bin/thaw.js');

/** What a route of the config may have here. */
type Route = {
  readonly route: string;
  readonly snapshot: string;
  readonly host?: string;
  readonly limits?: Readonly<Record<string, string | number>>;
};

export type ThawInput = {
  readonly name?: string;
  /** Of the store. The config is written beside it. */
  readonly store: string;
  readonly routes: readonly Route[];
  readonly threads?: number;
  readonly pool?: { readonly slots?: number; readonly memory?: string };
  /** A command that runs the node: `taskset -c 0`. */
  readonly prefix?: readonly string[];
  /** Flags for Node: `--cpu-prof`. */
  readonly nodeFlags?: readonly string[];
};

/** A `thaw serve` on loopback, with ports of its own. */
export type ServedThaw = AsyncDisposable & {
  readonly child: Child;
  readonly url: URL;
  readonly adminUrl: URL;
  /** From the start of the process until it served, in milliseconds. */
  readonly readyMs: number;
};

let configs = 0;

/** Only warnings are logged: benches do not measure the log. */
const ENVIRONMENT = { THAW_LOG_LEVEL: 'error' };

export async function serveThaw(input: ThawInput): Promise<ServedThaw> {
  const { name = 'thaw', store, routes, threads = 1, pool = {}, prefix = [], nodeFlags = [] } = input;
  const config = join(store, `bench-${process.pid}-${++configs}.json`);
  writeFileSync(config, JSON.stringify({ threads, pool, routes }));
  const serve = [BIN, 'serve', '--config', config, '--store', store];
  const listeners = ['--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
  const begun = performance.now();
  const command = [...prefix, process.execPath, ...nodeFlags, ...serve, ...listeners];
  const child = new Child({ name, command, env: ENVIRONMENT });
  const [, url] = await child.line(/^listening on (\S+)$/);
  const [, adminUrl] = await child.line(/^admin on (\S+)$/);
  const readyMs = performance.now() - begun;
  return {
    child,
    url: new URL(url as string),
    adminUrl: new URL(adminUrl as string),
    readyMs,
    [Symbol.asyncDispose]: () => child.stop(),
  };
}
