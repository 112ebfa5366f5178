import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, freezeGuests, hostRoute, serve } from './support.ts';

/** Clients that send their bodies as slowly as they may, as many as could hold every slot and all of the concurrency. */

const SLOW = 120;
const WALL_MS = 2500;

const store = await freezeGuests(['as-table']);
const limits = { wall: `${WALL_MS}ms`, concurrency: 20 };
const node = await serve(
  { threads: 1, pool: { slots: 8 }, routes: [hostRoute('a.test', 'as-table', { limits })] },
  { store },
);

test('good requests of the same route are served while slow uploads are under way', async () => {
  const slow = await Promise.all(Array.from({ length: SLOW }, () => node.connect()));
  for (const connection of slow) {
    connection.writeLines('POST /echo HTTP/1.1', 'host: a.test', 'content-length: 100000', '', 'a');
  }
  const trickle = setInterval(() => {
    for (const { socket } of slow) socket.write('a');
  }, 100);
  try {
    const body = 'a body of some length '.repeat(500);
    for (const end = performance.now() + WALL_MS; performance.now() < end;) {
      const got = await node.send('/counter', { host: 'a.test' });
      assert.equal(`${got.status} ${got.text}`, '200 1 1\n');
      const echoed = await node.send('/echo', { host: 'a.test', method: 'POST', body });
      assert.equal(`${echoed.status} ${echoed.text}`, `200 ${body}`);
    }
    await eventually('all slow ones are cut off', () => slow.every(({ isClosed }) => isClosed));
    const refused = slow.filter(({ received }) => received.startsWith('HTTP/1.1 408 ')).length;
    assert.ok(refused > SLOW / 2, `${refused} of ${SLOW} waited in vain, and were told so`);
  } finally {
    clearInterval(trickle);
  }
});
