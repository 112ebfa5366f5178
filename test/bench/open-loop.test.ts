import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { openLoop, type OpenLoopInput, type OpenLoopResult } from '../../bench/support/open-loop.ts';

type FakeServer = AsyncDisposable & { readonly url: URL; readonly connections: () => number };

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

/** Answers one request after the other, as a server of one thread does. `answer` is given the number of the request. */
async function fakeServer(answer: (request: number, socket: Socket) => Promise<void>): Promise<FakeServer> {
  let requests = 0;
  let connections = 0;
  let turn: Promise<unknown> = Promise.resolve();
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    connections++;
    sockets.add(socket.on('error', () => {}));
    socket.on('data', () => {
      turn = turn.then(() => answer(requests++, socket));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const run = (url: URL, input: Partial<OpenLoopInput>): Promise<OpenLoopResult> =>
  openLoop({
    url,
    perSecond: 100,
    seconds: 0.2,
    most: 100,
    path: (index) => `/${index}`,
    isRight: ({ body }) => body === 'ok',
    ...input,
  });

describe('openLoop()', () => {
  test('sends at its rate over one connection, while the server keeps up', async () => {
    const connections: number[] = [];
    // A machine that stands still makes many requests due together, and so needs many connections. It rarely does.
    for (let tries = 0; tries < 5 && !connections.some((count) => count < 10); tries++) {
      await using server = await fakeServer(async (_, socket) => void socket.write(ANSWER));
      const begun = performance.now();
      const { sent, dropped, failed, latency, complaint } = await run(server.url, {});
      assert.deepEqual({ sent, dropped, failed, complaint }, { sent: 20, dropped: 0, failed: 0, complaint: null });
      assert.equal(latency.length, 20);
      // The last of 20 is due 190 ms after the first.
      assert.ok(performance.now() - begun >= 190);
      connections.push(server.connections());
    }
    // One for each request would be twenty.
    assert.ok(Math.min(...connections) < 10, `${connections.join()} connections`);
  });

  test('counts from when a request was due: a stall is in the latency of all that came due in it', async () => {
    // The server stands still for 150 ms at its first request; 15 of the others come due meanwhile.
    await using server = await fakeServer(async (request, socket) => {
      if (request === 0) await after(150);
      socket.write(ANSWER);
    });
    const { latency, failed } = await run(server.url, { seconds: 0.3 });
    assert.equal(failed, 0);
    assert.equal(latency.length, 30);
    // A closed loop would see one slow request. Due at 0, 10, …, 90 ms and answered after 150: ten waited 60 ms or more.
    const waited = latency.filter((ms) => ms >= 55).length;
    assert.ok(waited >= 10, `${waited} of 30 waited`);
    assert.ok(Math.max(...latency) >= 149);
  });

  test('drops what comes due while too many requests are under way, and says so', async () => {
    await using server = await fakeServer(async (request, socket) => {
      if (request === 0) await after(150);
      socket.write(ANSWER);
    });
    const { sent, dropped, failed } = await run(server.url, { most: 2 });
    assert.equal(sent + dropped, 20);
    assert.equal(failed, 0);
    // Two are under way from 10 ms until 150 ms: those due at 20 to 140 ms are dropped.
    assert.ok(dropped >= 12, `${dropped} dropped`);
  });

  test('counts wrong answers, closed connections and missing answers as failed, not as latency', async () => {
    await using server = await fakeServer(async (request, socket) => {
      if (request === 0) socket.write(ANSWER.replace('ok', 'no'));
      else if (request === 1) socket.destroy();
      else if (request < 19) socket.write(ANSWER);
    });
    const { sent, failed, latency, complaint } = await run(server.url, { graceMs: 700 });
    assert.deepEqual({ sent, failed, answered: latency.length }, { sent: 20, failed: 3, answered: 17 });
    assert.match(complaint ?? '', /^request 0: 200 "no"$/);
  });

  test('opens another connection where the server closes after an answer', async () => {
    await using server = await fakeServer(
      async (_, socket) => void socket.end(ANSWER.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n')),
    );
    const { failed, latency } = await run(server.url, {});
    assert.deepEqual({ failed, answered: latency.length }, { failed: 0, answered: 20 });
    assert.equal(server.connections(), 20);
  });
});
