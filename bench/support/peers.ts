import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child } from './child.ts';
import { getOnce } from './load.ts';

/** The servers that thaw is held against, each with the handler of bench/apps/hello.js or what comes to the same. */

export type Peer = AsyncDisposable & { readonly child: Child; readonly url: URL };

const PEERS = join(import.meta.dirname, '../peers');
const HELLO = join(import.meta.dirname, '../apps/hello.js');
const WORKERD = join(PEERS, 'node_modules/.bin/workerd');

/** From the start of a server until it answers. */
const START_MS = 60_000;

/** A port that was free just now. jco and workerd do not say which they took when asked for port 0. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('a listener on loopback has a port');
  return address.port;
}

/** Waits until a connection is accepted and answered, whatever the answer. */
async function untilItAnswers(child: Child, url: URL): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    try {
      await getOnce(url, '/');
      return;
    } catch (error) {
      if (!child.isRunning || performance.now() > deadline) {
        throw new Error(`${child.name} does not answer:\n${child.output}`, { cause: error });
      }
      await sleep(50);
    }
  }
}

const peer = (child: Child, url: URL, clean: () => void): Peer => ({
  child,
  url,
  [Symbol.asyncDispose]: async () => {
    await child.stop();
    clean();
  },
});

export const hasWorkerd = (): boolean => existsSync(WORKERD);

/** @param prefix a command that runs it: `taskset -c 0` */
export async function serveWorkerd(prefix: readonly string[] = []): Promise<Peer> {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-workerd-'));
  const port = await freePort();
  const config = join(directory, 'config.capnp');
  // Cap'n Proto looks for what it embeds beside the config.
  copyFileSync(HELLO, join(directory, 'hello.js'));
  writeFileSync(
    config,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .hello)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const hello :Workerd.Worker = (
  modules = [(name = "hello.js", esModule = embed "hello.js")],
  compatibilityDate = "2026-01-01"
);
`,
  );
  const child = new Child({ name: 'workerd', command: [...prefix, WORKERD, 'serve', config] });
  const url = new URL(`http://127.0.0.1:${port}`);
  await untilItAnswers(child, url);
  return peer(child, url, () => rmSync(directory, { recursive: true, force: true }));
}

/** What node:http does with nothing behind it: the most that thaw could reach on it. */
const BARE = `
  require('node:http').createServer((request, response) => {
    const body = 'Hello ' + request.url;
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length });
    response.end(body);
  }).listen(0, '127.0.0.1', function () { console.log('port ' + this.address().port); });
`;

export async function serveBareNode(prefix: readonly string[] = []): Promise<Peer> {
  const child = new Child({ name: 'node:http', command: [...prefix, process.execPath, '--eval', BARE] });
  const [, port] = await child.line(/^port (\d+)$/);
  return peer(child, new URL(`http://127.0.0.1:${port}`), () => {});
}

/** `null` is jco's default: one instance for all requests. */
export type JcoIsolation = 'instance' | null;

/** `jco serve` of a component. */
export async function serveJco(component: string, isolation: JcoIsolation): Promise<Peer> {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-jco-'));
  const port = await freePort();
  const jco = fileURLToPath(new URL('./jco.js', import.meta.resolve('@bytecodealliance/jco')));
  const isolate = isolation === null ? [] : ['--isolate-requests', isolation];
  const listen = ['--host', '127.0.0.1', '--port', String(port), '--jco-dir', directory];
  const child = new Child({
    name: `jco serve${isolation === null ? '' : ` --isolate-requests ${isolation}`}`,
    command: [process.execPath, jco, 'serve', ...isolate, ...listen, component],
  });
  await child.line(/^Server listening @/);
  return peer(child, new URL(`http://127.0.0.1:${port}`), () => rmSync(directory, { recursive: true, force: true }));
}
