import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { ConnectionCounts, createConnectionMemory } from '../../src/http/connections.ts';
import { createListener, type Listener, type ListenerInput } from '../../src/http/listener.ts';

/** A listener with a handler of the test's, and its port. */
async function listening(handle: ListenerInput['handle']): Promise<Listener & { readonly port: number }> {
  const limits = { connections: 0, connectionsPerAddress: 0 };
  const connections = new ConnectionCounts(createConnectionMemory(), limits);
  const listener = createListener({ connections, log: pino({ enabled: false }), longestWallMs: 1000, handle });
  after(() => listener.server.close().closeAllConnections());
  await once(listener.server.listen(0, '127.0.0.1'), 'listening');
  return { ...listener, port: (listener.server.address() as AddressInfo).port };
}

type Client = { readonly socket: Socket; readonly received: () => string };

async function client(port: number): Promise<Client> {
  const socket = connect(port, '127.0.0.1')
    .setEncoding('latin1')
    .on('error', () => {});
  after(() => socket.destroy());
  let received = '';
  socket.on('data', (chunk: string) => (received += chunk));
  await once(socket, 'connect');
  return { socket, received: () => received };
}

async function eventually(what: string, check: () => boolean): Promise<void> {
  for (let round = 0; !check(); round++) {
    assert.ok(round < 1000, what);
    await sleep(5);
  }
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: a.test\r\n\r\n`;

/** More than Node puts into one string with the head. */
const BODY = Buffer.alloc(20_000, 'x');

test('a client that waits behind another request to send its body is told so before the response, not in it', async () => {
  const { port } = await listening((request, response, onAccepted) => {
    onAccepted?.();
    if (request.url === '/first') setTimeout(() => response.end(), 50);
    else if (request.url === '/at-once') response.end(BODY);
    else request.on('end', () => response.end(BODY)).resume();
  });
  for (const path of ['/at-once', '/when-read']) {
    const { socket, received } = await client(port);
    socket.write(
      `${get('/first')}POST ${path} HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n`,
    );
    await eventually('the client is told', () => received().includes('100 Continue'));
    socket.write('abc');
    await eventually('the body arrives', () => received().endsWith('x'.repeat(BODY.length)));
    const heads = received().slice(0, -BODY.length).split('\r\n\r\n');
    assert.deepEqual(
      heads.map((head) => head.split('\r\n')[0]),
      ['HTTP/1.1 200 OK', 'HTTP/1.1 100 Continue', 'HTTP/1.1 200 OK', ''],
    );
    socket.destroy();
  }
});

test('requests without end behind the last response of a connection are not kept', async () => {
  let handled = 0;
  const { port } = await listening((_request, response) => {
    handled++;
    response.shouldKeepAlive = false;
  });
  const { socket } = await client(port);
  socket.write(get('/last') + get('/behind').repeat(500));
  await sleep(200);
  assert.equal(socket.closed, false);
  socket.write(get('/behind').repeat(1000));
  await eventually('the connection is closed', () => socket.closed);
  assert.equal(handled, 1);
});

test('what is under way when a drain begins is the last of its connection, unless its head is out', async () => {
  const held = new Map<string, ServerResponse>();
  const { port, lastResponses } = await listening((request, response) => {
    held.set(request.url ?? '', response);
    if (request.url === '/begun') response.writeHead(200).flushHeaders();
  });
  const clients = await Promise.all([client(port), client(port)]);
  clients[0].socket.write(get('/first') + get('/second'));
  clients[1].socket.write(get('/begun'));
  await eventually('all have come', () => held.size === 3);
  lastResponses();
  for (const response of held.values()) response.end('done');
  await eventually('the connection is closed', () => clients[0].socket.closed);
  const [pipelined, begun] = clients.map(({ received }) => received());
  assert.match(pipelined ?? '', /^[^]*keep-alive\r\n[^]*done[^]*connection: close\r\n[^]*done$/i);
  assert.match(begun ?? '', /connection: keep-alive\r\n/i);
  assert.equal(clients[1].socket.closed, false);
});
