import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Child } from '../child.ts';
import { shownCommand } from '../shown.ts';
import {
  FRESH,
  SHOWN_PORT,
  freePort,
  served,
  serverDirectory,
  type Contender,
  type Found,
  type Served,
} from './contender.ts';

/** `jco serve`, of thaw's own build tools: the component transpiled to JavaScript bindings and core modules, on Node. */

/** `none` is its default: one instance for all requests. */
export type JcoIsolation = 'none' | 'instance' | 'worker';

/**
 * Workers that `worker` keeps ready. Its default of 50 takes 2.6 GB for a JavaScript app, and ten seconds of one core to
 * start: fewer are kinder to jco's first answer and memory, and its throughput is that of making them either way.
 */
const WORKERS = 8;

const FLAGS: Readonly<Record<JcoIsolation, readonly string[]>> = {
  none: [],
  instance: ['--isolate-requests', 'instance'],
  worker: ['--isolate-requests', 'worker', '--isolate-worker-pool-size', String(WORKERS)],
};

/** jco's package does not export its package.json; it lies above its entry. */
function packageOf(entry: string): string {
  const directory = dirname(entry);
  return existsSync(join(directory, 'package.json')) ? directory : packageOf(directory);
}

function findJco(): { readonly cli: string; readonly version: string } | null {
  try {
    const directory = packageOf(createRequire(import.meta.url).resolve('@bytecodealliance/jco'));
    const { version, bin } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
      readonly version: string;
      readonly bin: { readonly jco: string };
    };
    return { cli: join(directory, bin.jco), version };
  } catch {
    return null;
  }
}

const serve = (isolation: JcoIsolation, port: number, component: string): string[] => [
  'serve',
  ...FLAGS[isolation],
  '--host',
  '127.0.0.1',
  '--port',
  String(port),
  component,
];

const nameOf = (isolation: JcoIsolation): string =>
  isolation === 'none' ? 'jco serve' : `jco serve --isolate-requests ${isolation}`;

/** A server that listens. @throws when jco is not installed, or does not start */
export async function serveJco(
  component: string,
  isolation: JcoIsolation,
  prefix: readonly string[] = [],
): Promise<Served> {
  const jco = findJco();
  if (jco === null) throw new Error('@bytecodealliance/jco is not installed');
  const directory = serverDirectory('jco');
  const port = await freePort();
  // It names what it generates after the file, and the name must be one of JavaScript.
  const named = join(directory.path, 'hello.wasm');
  copyFileSync(component, named);
  const [, ...flags] = serve(isolation, port, named);
  const command = [...prefix, process.execPath, jco.cli, 'serve', '--jco-dir', join(directory.path, 'jco'), ...flags];
  const child = new Child({ name: nameOf(isolation), command });
  await child.line(/^Server listening @/);
  return served(child, port, directory.remove);
}

function find(isolation: JcoIsolation): Found {
  const jco = findJco();
  if (jco === null) return { kind: 'missing', reason: 'not installed: npm install --include=optional' };
  return {
    kind: 'found',
    version: jco.version,
    command: shownCommand(['jco', ...serve(isolation, SHOWN_PORT, 'hello.wasm')]),
    prepare:
      async ({ component }) =>
      (prefix) =>
        serveJco(component, isolation, prefix),
  };
}

const contender = (isolation: JcoIsolation, shares: string): Contender => ({
  name: nameOf(isolation),
  shares,
  isFresh: isolation !== 'none',
  find: () => find(isolation),
});

export const JCO: readonly Contender[] = [
  contender('none', 'all: one instance serves every request'),
  contender('instance', FRESH),
  contender('worker', `${FRESH}, in a worker of its own`),
];
