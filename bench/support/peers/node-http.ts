import { Child } from '../child.ts';
import { shownCommand } from '../shown.ts';
import { SHOWN_PORT, freePort, served, type Contender, type Served } from './contender.ts';

/** What node:http does with nothing behind it: the most that a server on it could reach. */

const handler = (port: number): string => `require("node:http").createServer((request, response) => {
  const body = "Hello " + request.url;
  response.writeHead(200, { "content-type": "text/plain", "content-length": body.length }).end(body);
}).listen(${port}, "127.0.0.1")`;

async function serveNodeHttp(prefix: readonly string[]): Promise<Served> {
  const port = await freePort();
  return served(
    new Child({ name: 'node:http', command: [...prefix, process.execPath, '--eval', handler(port)] }),
    port,
  );
}

export const NODE_HTTP: Contender = {
  name: 'node:http',
  shares: 'all: one process, no sandbox',
  isFresh: false,
  find: () => ({
    kind: 'found',
    version: process.version,
    command: shownCommand(['node', '--eval', handler(SHOWN_PORT).replaceAll(/\s*\n\s*/g, ' ')]),
    prepare: async () => serveNodeHttp,
  }),
};
