import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atExit } from '../at-exit.ts';
import type { Child } from '../child.ts';

/** A server that runs, or is about to: nobody has asked it yet. */
export type Served = AsyncDisposable & { readonly child: Child; readonly url: URL };

/** @param prefix a command that runs the server: `taskset --cpu-list 0` */
export type Start = (prefix: readonly string[]) => Promise<Served>;

/** What every server serves: bench/apps/hello.js, which says hello to a path. */
export type HelloApp = {
  /** The module. */
  readonly source: string;
  /** Its component. */
  readonly component: string;
  /** A store that has its snapshot under the name `hello`. */
  readonly store: string;
};

/** The right answer of {@link HelloApp}. */
export const helloTo = (path: string): string => `Hello ${path}`;

export type Found =
  | {
      readonly kind: 'found';
      readonly version: string;
      /** As it could be typed. */
      readonly command: string;
      /** Does what is done once, before any start: compiling ahead of time. */
      readonly prepare: (app: HelloApp) => Promise<Start>;
    }
  | { readonly kind: 'missing'; readonly reason: string };

/** One way of running one server. */
export type Contender = {
  readonly name: string;
  /** What one request can see of another. */
  readonly shares: string;
  readonly isFresh: boolean;
  readonly find: () => Found;
};

export const FRESH = 'nothing: fresh state for every request';

/** What stands for the port in commands that are shown. */
export const SHOWN_PORT = 8080;

/** A port that was free just now: not all servers say which one they took when asked for port 0. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('a listener on loopback has a port');
  return address.port;
}

/** A directory for a server's files. `remove` runs at the latest when the process ends. */
export function serverDirectory(name: string): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), `thaw-bench-${name}-`));
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  const forget = atExit(remove);
  return {
    path,
    remove: () => {
      forget();
      remove();
    },
  };
}

/** @param remove what is done when the server has ended */
export const served = (child: Child, port: number, remove: () => void = () => {}): Served => ({
  child,
  url: new URL(`http://127.0.0.1:${port}`),
  [Symbol.asyncDispose]: async () => {
    await child.stop();
    remove();
  },
});
