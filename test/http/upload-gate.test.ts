import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ThawError } from '../../src/errors.ts';
import { UploadGate, type LeaveGate } from '../../src/http/upload-gate.ts';

const server = createServer();
const sockets: Socket[] = [];

before(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
after(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

type Upload = { readonly request: IncomingMessage; readonly socket: Socket };

/** A request whose head has arrived, and a part of its body of 10 bytes. */
async function upload(body = ''): Promise<Upload> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(socket);
  socket.write(`POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\n${body}`);
  const [request] = (await once(server, 'request')) as [IncomingMessage];
  return { request, socket };
}

const NEVER = new Promise<void>(() => {});
const ROUTE = { index: 0, maxUploads: 100 };

/** Longer than a busy machine may stand still. */
const PATIENCE_MS = 10_000;

/** It is let in by itself. */
async function assertIn(entry: Promise<LeaveGate>): Promise<void> {
  const late = sleep(PATIENCE_MS, 'late', { ref: false });
  assert.notEqual(await Promise.race([entry, late]), 'late');
}

/** It is not let in by itself in a time in which loopback does much. */
async function assertWaits(entry: Promise<LeaveGate>, why = 'it is let in'): Promise<void> {
  assert.equal(await Promise.race([entry, sleep(100, 'waits')]), 'waits', why);
}

test('beyond the places requests wait, and come in as places are given back, the last first', async () => {
  const gate = new UploadGate(2);
  const uploads = [await upload(), await upload(), await upload(), await upload()];
  const entries = uploads.map(({ request }) => gate.enter(request, ROUTE, NEVER));
  const [first, second, third, fourth] = entries;
  assert.ok(first && second && third && fourth);
  await assertIn(first);
  await assertIn(second);
  await assertWaits(third);
  const leave = await first;
  leave();
  leave();
  await assertIn(fourth);
  await assertWaits(third, 'a place that is given back twice is one place');
});

test('a request whose body is whole needs no place', async () => {
  const gate = new UploadGate(1);
  const [slow, short] = [await upload(), await upload('12345')];
  await gate.enter(slow.request, ROUTE, NEVER);
  const entry = gate.enter(short.request, ROUTE, NEVER);
  await assertWaits(entry);
  short.socket.write('67890');
  await assertIn(entry);
  assert.equal(short.request.readableLength, 10);
});

test('a place is free again when the body has been read', async () => {
  const gate = new UploadGate(1);
  const [first, second] = [await upload(), await upload()];
  await gate.enter(first.request, ROUTE, NEVER);
  const entry = gate.enter(second.request, ROUTE, NEVER);
  first.request.resume();
  first.socket.write('1234567890');
  await assertIn(entry);
});

test('a route has its own bound, and does not hold up another', async () => {
  const gate = new UploadGate(3);
  const busy = { index: 1, maxUploads: 1 };
  const [first, second, other] = [await upload(), await upload(), await upload()];
  await gate.enter(first.request, busy, NEVER);
  const waiting = gate.enter(second.request, busy, NEVER);
  await assertWaits(waiting);
  const leave = await gate.enter(other.request, ROUTE, NEVER);
  leave();
  await assertWaits(waiting);
});

test('at the deadline it is REQUEST_BODY_SLOW, and the place goes to the next', async () => {
  const gate = new UploadGate(1);
  const [first, second, third] = [await upload(), await upload(), await upload()];
  const leave = await gate.enter(first.request, ROUTE, NEVER);
  const late = gate.enter(second.request, ROUTE, sleep(20));
  const next = gate.enter(third.request, ROUTE, NEVER);
  await assert.rejects(late, (error: unknown) => error instanceof ThawError && error.code === 'REQUEST_BODY_SLOW');
  leave();
  await assertIn(next);
});
