import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freezeGuests, hostRoute, serve, type ServedNode } from './support.ts';

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'));

/** A server on all addresses of this machine. It answers when it has had so many requests in work, and took a while. */
let connections = 0;
let inWork = 0;
let mostInWork = 0;
let expected = 1;
const hadExpected = (): boolean => mostInWork >= expected;
const peer = createServer(async (_request: IncomingMessage, response: ServerResponse) => {
  mostInWork = Math.max(mostInWork, ++inWork);
  for (let looks = 0; !hadExpected() && looks < 200; looks++) await sleep(10);
  // One more than expected would come now.
  await sleep(30);
  inWork--;
  response.end();
});
peer.on('connection', () => connections++);
await new Promise<void>((resolve) => peer.listen(0, hasIPv6 ? '::' : '0.0.0.0', resolve));
const { port } = peer.address() as AddressInfo;
after(() => {
  peer.close();
  peer.closeAllConnections();
});

const store = await freezeGuests(['js-sender']);

const anywhere = { allowed_outbound_hosts: ['*://*:*'] };
const routes = [
  hostRoute('any.test', 'js-sender', anywhere),
  hostRoute('named.test', 'js-sender', { allowed_outbound_hosts: [`http://127.0.0.1:${port}`, 'http://10.0.0.0/8:*'] }),
  hostRoute('few.test', 'js-sender', { ...anywhere, limits: { outboundRequests: 3, outboundConcurrency: 2 } }),
];
const closed = await serve({ threads: 1, outbound: {}, routes }, { store });
const opened = await serve({ threads: 1, outbound: { allowed_networks: ['127.0.0.0/8', '::1'] }, routes }, { store });

type Asked = { readonly url: string; readonly host?: string; readonly count?: number };

async function ends(node: ServedNode, { url, host = 'any.test', count = 1 }: Asked): Promise<(number | 'error')[]> {
  const { status, text } = await node.send(`/?url=${encodeURIComponent(url)}&count=${count}`, { host });
  assert.equal(status, 200, text);
  return JSON.parse(text) as (number | 'error')[];
}

/** As the app writes them: the engine's URL parser comes before the node's. */
const HOSTS = [
  '127.0.0.1 127.0.0.1. 127.1 2130706433 017700000001 0x7f000001 0177.0.0.1 0x7f.1 user@127.0.0.1 localhost LOCALHOST.',
  '１２７.０.０.１ 127。0。0。1 0 0.0.0.0 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::7f00:1]',
  '[2002:7f00:1::] [fe80::1] [fe80::1%25lo] 169.254.169.254 2852039166 [fd00:ec2::254] 10.0.0.1 192.168.1.1',
].flatMap((line) => line.split(' '));

test('a route that allows every host reaches nothing that is not public, however it is written', async () => {
  for (const host of HOSTS) {
    const begun = performance.now();
    assert.deepEqual(await ends(closed, { url: `http://${host}:${port}/` }), ['error'], host);
    // What is refused is not tried: nothing waits for an answer from there.
    assert.ok(performance.now() - begun < 1000, host);
  }
  assert.equal(connections, 0);
});

test('the operator stands above the routes that name a closed address or network themselves', async () => {
  const host = 'named.test';
  assert.deepEqual(await ends(closed, { url: `http://127.0.0.1:${port}/`, host }), ['error']);
  assert.deepEqual(await ends(closed, { url: `http://10.0.0.1:${port}/`, host }), ['error']);
  assert.equal(connections, 0);
});

test('what the operator opens is reached, by address and by name', async () => {
  const hosts = ['127.0.0.1', '127.1', 'localhost', ...(hasIPv6 ? ['[::1]'] : [])];
  for (const host of hosts) assert.deepEqual(await ends(opened, { url: `http://${host}:${port}/` }), [200], host);
});

test('what the operator did not open stays closed beside it', async () => {
  const before = connections;
  for (const host of ['0', '[::ffff:127.0.0.1]', '[64:ff9b::7f00:1]', '169.254.169.254', '10.0.0.1']) {
    assert.deepEqual(await ends(opened, { url: `http://${host}:${port}/` }), ['error'], host);
  }
  assert.equal(connections, before);
});

test('one request sends so many requests, and so many at a time; the next request begins anew', async () => {
  const url = `http://127.0.0.1:${port}/`;
  for (let round = 0; round < 2; round++) {
    [mostInWork, expected] = [0, 2];
    assert.deepEqual(await ends(opened, { url, host: 'few.test', count: 5 }), [200, 200, 200, 'error', 'error']);
    assert.equal(mostInWork, 2);
  }
});

test('without limits of its own a route has 32 requests, 6 at a time', async () => {
  [mostInWork, expected] = [0, 6];
  const seen = await ends(opened, { url: `http://127.0.0.1:${port}/`, count: 33 });
  assert.deepEqual(
    seen,
    Array.from({ length: 33 }, (_, index) => (index < 32 ? 200 : 'error')),
  );
  assert.equal(mostInWork, 6);
});
