import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, test } from 'node:test';
import { expectFreePort, listenOn } from '../../src/threads/listen.ts';

const HOST = '127.0.0.1';
const shared = { host: HOST, reusePort: true };

test('threads share a port, and a port that others share is not free', async () => {
  const servers = [createServer(), createServer()] as const;
  after(() => servers.forEach((server) => server.close()));
  const url = await listenOn(servers[0], { ...shared, port: 0 });
  const port = Number(new URL(url).port);
  assert.equal(await listenOn(servers[1], { ...shared, port }), url);
  await assert.rejects(expectFreePort(HOST, port), {
    code: 'LISTEN_FAILED',
    message: new RegExp(`port ${port}: .*EADDRINUSE`),
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  await expectFreePort(HOST, port);
  // It is free afterwards, too.
  await expectFreePort(HOST, port);
});
