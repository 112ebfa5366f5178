import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { cutSlowReader } from '../../src/http/slow-reader.ts';

/** More than the system buffers for a connection. */
const BODY = Buffer.alloc(32 * 1_048_576);

/** How long a client that begins to read after `pauseMs` is served, and how much it gets. */
async function readAfter(pauseMs: number, wallMs: number): Promise<number> {
  const server = createServer((_request, response) => {
    response.end(BODY);
    cutSlowReader(response, wallMs, 1e9);
  });
  after(() => server.close().closeAllConnections());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
  socket.write('GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n');
  let received = 0;
  const timer = setTimeout(() => socket.resume(), pauseMs);
  socket.on('data', ({ length }: Buffer) => (received += length)).pause();
  await once(socket, 'close', { signal: AbortSignal.timeout(5000) });
  clearTimeout(timer);
  return received;
}

test('a client that reads in time gets all of a response', async () => {
  assert.ok((await readAfter(50, 3000)) > BODY.length);
});

test('a client that does not read is cut off, though its response was ended', async () => {
  const received = await readAfter(600, 100);
  assert.ok(received > 0 && received < BODY.length, `${received} bytes`);
});
