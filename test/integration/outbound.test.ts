import assert from 'node:assert/strict';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { concurrently, eventually, freezeGuests, hostRoute, serve } from './support.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** A server that guests may or may not reach, and how many connections it saw. */
class Peer {
  connections = 0;
  /** Those that are open now. */
  readonly sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket: Socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.sockets.delete(socket));
    });
    after(() => {
      server.close();
      for (const socket of this.sockets) socket.destroy();
    });
  }

  static async http(handler: Handler): Promise<Peer> {
    return new Peer(await listening(createHttpServer((request, response) => void handler(request, response))));
  }

  /** One that does not speak HTTP, or badly. */
  static async tcp(onConnection: (socket: Socket) => void): Promise<Peer> {
    return new Peer(await listening(createTcpServer(onConnection)));
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
}

function listening(server: Server): Promise<Server> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** What `/drip` waits for before the end of its body. */
const dripped = Promise.withResolvers<void>();

const upstream = await Peer.http(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url as string, 'http://peer.test');
  if (pathname === '/echo') {
    const body = await text(request);
    response.writeHead(203, { 'x-peer': 'here', 'set-cookie': ['a=1', 'b=2'] });
    response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.rawHeaders, body }));
  } else if (pathname === '/drip') {
    response.write('first ');
    await dripped.promise;
    response.end('second');
  } else if (pathname === '/large') {
    response.end(Buffer.alloc(Number(searchParams.get('bytes')), 'y'));
  } else {
    response.writeHead(Number(searchParams.get('code') ?? 404));
    response.end();
  }
});
const forbidden = await Peer.http((_request, response) => void response.end('nobody may see this'));
/** Reads the request and slams the door. */
const resetting = await Peer.tcp((socket) => socket.once('data', () => socket.resetAndDestroy()));
const garbling = await Peer.tcp((socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n')));
/** Never answers. */
const silent = await Peer.tcp((socket) => socket.resume());
/** Sends a head and the beginning of a body. */
const stalling = await Peer.tcp((socket) =>
  socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\na beginning')),
);
/** Promises more than it sends. */
const short = await Peer.tcp((socket) =>
  socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ntoo little')),
);
/** An address on which nobody listens: it was free a moment ago. */
const refusing = await (async () => {
  const server = await listening(createTcpServer());
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
})();

const store = await freezeGuests(['js-kitchen']);
const allowed = [upstream, resetting, garbling, short, silent, stalling].map(({ origin }) => origin);
const node = await serve(
  {
    threads: 1,
    routes: [
      hostRoute('js.test', 'js-kitchen', { allowed_outbound_hosts: [...allowed, refusing] }),
      hostRoute('closed.test', 'js-kitchen'),
      hostRoute('short.test', 'js-kitchen', { allowed_outbound_hosts: allowed, limits: { wall: '500ms' } }),
    ],
  },
  { store },
);

const through = (url: string): string => `/fetch?url=${encodeURIComponent(url)}`;

type Seen = { readonly method: string; readonly url: string; readonly headers: string[]; readonly body: string };

const valuesOf = ({ headers }: Seen, wanted: string): string[] =>
  headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === wanted);

test('method, path, headers, body and status go out and come back', async () => {
  const response = await node.send(through(`${upstream.origin}/echo?a=1&b=%20`), {
    method: 'PUT',
    host: 'js.test',
    headers: { 'x-one': '1', 'content-type': 'text/plain; charset=utf-8', cookie: 'c=3' },
    body: 'a body with ümlauts',
  });
  assert.equal(response.status, 203);
  assert.equal(response.headers['x-peer'], 'here');
  assert.deepEqual(response.headers['set-cookie'], ['a=1', 'b=2']);
  const seen = JSON.parse(response.text) as Seen;
  assert.equal(seen.method, 'PUT');
  assert.equal(seen.url, '/echo?a=1&b=%20');
  assert.equal(seen.body, 'a body with ümlauts');
  assert.deepEqual(valuesOf(seen, 'x-one'), ['1']);
  assert.deepEqual(valuesOf(seen, 'content-type'), ['text/plain; charset=utf-8']);
  assert.deepEqual(valuesOf(seen, 'host'), [upstream.origin.slice('http://'.length)]);
});

test('a GET goes out without a body', async () => {
  const { text } = await node.send(through(`${upstream.origin}/echo`), { host: 'js.test' });
  const seen = JSON.parse(text) as Seen;
  assert.equal(seen.method, 'GET');
  assert.deepEqual(valuesOf(seen, 'transfer-encoding'), []);
  assert.deepEqual(valuesOf(seen, 'content-length'), []);
});

test('statuses without a body come back', async () => {
  for (const code of [204, 304, 404, 500]) {
    const { status, text } = await node.send(through(`${upstream.origin}/status?code=${code}`), { host: 'js.test' });
    assert.deepEqual([status, text], [code, '']);
  }
});

test('requests at the same time get each its own answer', async () => {
  const answers = await concurrently(100, 20, async (index) => {
    const { text } = await node.send(through(`${upstream.origin}/echo`), {
      method: 'POST',
      host: 'js.test',
      body: `body ${index}`,
    });
    return (JSON.parse(text) as Seen).body;
  });
  assert.deepEqual(
    answers,
    answers.map((_, index) => `body ${index}`),
  );
});

test('connections to a server are used again', async () => {
  const before = upstream.connections;
  for (let index = 0; index < 20; index++) {
    const { status } = await node.send(through(`${upstream.origin}/echo`), { host: 'js.test' });
    assert.equal(status, 203);
  }
  assert.ok(upstream.connections - before <= 1, `${upstream.connections - before} new connections for 20 requests`);
});

test('a response body streams: its first part is there before its last', async () => {
  const response = await node.open(through(`${upstream.origin}/drip`), { host: 'js.test' });
  const parts: string[] = [];
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part.toString());
    // The last would never come if the first did not come alone.
    dripped.resolve();
  }
  assert.deepEqual([parts[0], parts.join('')], ['first ', 'first second']);
});

test('a large response body comes back whole', async () => {
  const { text } = await node.send(through(`${upstream.origin}/large?bytes=5000000`), { host: 'js.test' });
  assert.equal(text.length, 5_000_000);
  assert.equal(text.replaceAll('y', ''), '');
});

/** The guest's `fetch` rejects: it does not catch that, so its client is told nothing but that it failed. */
async function assertRejected(url: string, host = 'js.test'): Promise<void> {
  const { status, text } = await node.send(through(url), { host });
  assert.deepEqual([status, text], [500, 'Internal Server Error\n']);
}

test('a host that is not allowed is refused, and no connection is opened', async () => {
  const forbiddenPort = new URL(forbidden.origin).port;
  const before = upstream.connections;
  for (const [url, host] of [
    [forbidden.origin, 'js.test'],
    [`http://localhost:${forbiddenPort}`, 'js.test'],
    [`http://[::ffff:127.0.0.1]:${forbiddenPort}`, 'js.test'],
    [forbidden.origin, 'closed.test'],
    // Allowed for another route.
    [upstream.origin, 'closed.test'],
    // Another scheme.
    [upstream.origin.replace('http:', 'https:'), 'js.test'],
  ] as const) {
    await assertRejected(`${url}/echo`, host);
  }
  assert.equal(forbidden.connections, 0);
  assert.equal(upstream.connections, before);
});

test('a server that fails is an error for the guest, and the node serves on', async () => {
  for (const origin of [refusing, resetting.origin, garbling.origin]) await assertRejected(`${origin}/`);
  const { status } = await node.send('/hello', { host: 'js.test' });
  assert.equal(status, 200);
});

test('a response that ends before its Content-Length does not look whole to the client', async () => {
  await assert.rejects(node.send(through(`${short.origin}/`), { host: 'js.test' }), { code: 'ECONNRESET' });
});

test('a request that its wall time ends lets go of its connection to the server', async () => {
  const { status } = await node.send(through(`${silent.origin}/`), { host: 'short.test' });
  assert.equal(status, 504);
  await assert.rejects(node.send(through(`${stalling.origin}/`), { host: 'short.test' }), { code: 'ECONNRESET' });
  assert.deepEqual([silent.connections, stalling.connections], [1, 1]);
  await eventually('the connections are closed', () => silent.sockets.size + stalling.sockets.size === 0);
});
