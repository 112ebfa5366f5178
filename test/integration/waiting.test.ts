import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { concurrently, freezeGuests, hostRoute, keepAlive, serve } from './support.ts';

/** Requests that wait together, and how long each does. One after the other they would take 100 s. */
const REQUESTS = 200;
const WAIT_MS = 500;
const TOGETHER_MS = 3000;

const slow = createServer((_request, response) => {
  setTimeout(() => response.end('slow\n'), WAIT_MS);
});
await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
after(() => slow.close().closeAllConnections());
const slowUrl = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`;

const store = await freezeGuests(['js-kitchen', 'as-table']);
const limits = { concurrency: REQUESTS };
const node = await serve(
  {
    threads: 1,
    pool: { slots: REQUESTS, memory: '4GiB' },
    routes: [
      hostRoute('js.test', 'js-kitchen', { limits, allowed_outbound_hosts: [slowUrl] }),
      hostRoute('as.test', 'as-table', { limits }),
    ],
  },
  { store },
);
const agent = keepAlive(REQUESTS);

async function together(host: string, path: string, answer: string): Promise<number> {
  const begun = performance.now();
  const answers = await concurrently(REQUESTS, REQUESTS, async () => {
    const { status, text } = await node.send(path, { host, agent });
    return `${status} ${text}`;
  });
  const took = performance.now() - begun;
  assert.deepEqual([...new Set(answers)], [`200 ${answer}`]);
  return took;
}

for (const [what, host, path, answer] of [
  ['a timer of a core module', 'as.test', `/wait?ms=${WAIT_MS}`, 'waited\n'],
  ['a timer of a JavaScript guest', 'js.test', `/sleep?ms=${WAIT_MS}`, 'slept\n'],
  ['a slow server', 'js.test', `/fetch?url=${encodeURIComponent(`${slowUrl}/`)}`, 'slow\n'],
] as const) {
  test(`${REQUESTS} requests that wait ${WAIT_MS} ms for ${what} end together on one thread`, async () => {
    // Makes the slots: linking hundreds of engines is work, and this is about waiting.
    await together(host, path, answer);
    const took = await together(host, path, answer);
    assert.ok(took >= WAIT_MS, `none waited: ${took} ms`);
    assert.ok(took < TOGETHER_MS, `${took} ms`);
  });
}

/** Many guests wake at the same time, and are busy for a while each. @returns how many others were answered meanwhile */
async function answeredBetween(napping: number): Promise<number> {
  const answered = { naps: 0, between: 0 };
  const naps = concurrently(napping, napping, async () => {
    const received = await node.send('/wait?ms=100&busy=20', { host: 'as.test', agent });
    answered.naps++;
    return received;
  });
  while (answered.naps < napping) {
    const { status } = await node.send('/hello', { host: 'js.test', agent });
    assert.equal(status, 200);
    if (answered.naps > 0 && answered.naps < napping) answered.between++;
  }
  assert.deepEqual([...new Set((await naps).map(({ status, text }) => `${status} ${text}`))], ['200 waited\n']);
  return answered.between;
}

test('guests that go on after waiting take turns with those of other routes', async () => {
  const napping = 20;
  const between: number[] = [];
  // Who asks may stand still himself while the guests go on, and so see nothing. He rarely does.
  for (let tries = 0; tries < 5 && !between.some((count) => count >= napping / 4); tries++) {
    between.push(await answeredBetween(napping));
  }
  assert.ok(
    Math.max(...between) >= napping / 4,
    `${between.join()} others were answered while ${napping} guests went on`,
  );
});
