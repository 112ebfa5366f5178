import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { after, describe, test } from 'node:test';
import type { ErrorCode } from '../../src/errors.ts';
import { GUEST_OUTPUT_BYTES, GUEST_OUTPUT_LINES } from '../../src/log.ts';
import { eventually, freezeGuests, hostRoute, keepAlive, serve, type LogLine, type Received } from './support.ts';

/**
 * Guests that take as much of their host as they can get: each is told no, by an error or a trap that the log names, the
 * node does not grow, and its neighbour never hears of it.
 */

const MIB = 2 ** 20;

/** What the node may grow by while one guest does its worst. */
const MAX_GROWTH_BYTES = 128 * MIB;

const MEMORY_PAGES = 1024;
const WALL_MS = 2000;
const REQUESTS = 32;

/** The case of error-code that is connection-limit-reached. */
const CONNECTION_LIMIT_REACHED = 11;

/** Takes connections and never answers. */
const silent = createServer();
const sockets = new Set<Socket>();
silent.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
silent.listen(0, '127.0.0.1');
await once(silent, 'listening');
after(() => {
  for (const socket of sockets) socket.destroy();
  silent.close();
});
const { port } = silent.address() as AddressInfo;

const limits = { memory: `${MEMORY_PAGES / 16}MiB`, wall: `${WALL_MS}ms`, outboundRequests: REQUESTS };

/** Time enough to take memory: the default limit of 50 ms would end most of it first. */
const HOST = 'hostile.test';
/** With that limit. */
const SHORT = 'short.test';
const NEIGHBOUR = 'neighbour.test';
const node = await serve(
  {
    threads: 2,
    routes: [
      hostRoute(HOST, 'as-hostile', {
        limits: { ...limits, cpu: '1s' },
        allowed_outbound_hosts: [`http://127.0.0.1:${port}`],
      }),
      hostRoute(SHORT, 'as-hostile', { limits }),
      hostRoute(NEIGHBOUR, 'as-table'),
    ],
  },
  { store: await freezeGuests(['as-hostile', 'as-table']) },
);

/** Asks the neighbour all the time, until it is stopped; every answer must be right. */
class Neighbour {
  readonly #agent = keepAlive(1);
  readonly #ended: Promise<void>;
  #answers = 0;
  #isOver = false;

  constructor() {
    this.#ended = this.#ask();
    // Looked at in the end.
    this.#ended.catch(() => {});
  }

  async #ask(): Promise<void> {
    while (!this.#isOver) {
      const { status, text } = await node.send('/counter', { host: NEIGHBOUR, agent: this.#agent });
      assert.deepEqual([status, text], [200, '1 1\n']);
      this.#answers++;
    }
  }

  async stop(): Promise<number> {
    this.#isOver = true;
    await this.#ended;
    return this.#answers;
  }
}

// Both threads have run both guests, and have slots for them.
for (let round = 0; round < 30; round++) {
  for (const host of [HOST, NEIGHBOUR]) await node.send('/hello', { host });
}
const neighbour = new Neighbour();

/** Does `work`, and looks whether the node stayed as small as it was. */
async function staysSmall<T>(work: () => Promise<T>): Promise<T> {
  node.forgetPeak();
  const before = node.memory('VmRSS');
  const result = await work();
  const growth = node.memory('VmHWM') - before;
  assert.ok(growth < MAX_GROWTH_BYTES, `the node grew by ${Math.round(growth / MIB)} MiB`);
  return result;
}

/** The line of the log that says how a request ended which began after so many lines. */
async function endingAfter(lines: number): Promise<LogLine> {
  const find = (): LogLine | undefined =>
    node.log().findLast(({ code }, index) => index >= lines && code !== undefined);
  await eventually('the log says how it ended', () => find() !== undefined);
  return find() as LogLine;
}

const codesAfter = (lines: number): string[] =>
  node
    .log()
    .slice(lines)
    .flatMap(({ code }) => code ?? []);

async function attack(path: string, host = HOST): Promise<Received & { readonly ending: () => Promise<LogLine> }> {
  const lines = node.log().length;
  return { ...(await node.send(path, { host })), ending: () => endingAfter(lines) };
}

/** What they end with, on a route with time, if it is not time that ends them. */
const ENDINGS: Readonly<Record<string, ErrorCode>> = {
  '/grow-forever': 'CPU_TIME_EXCEEDED',
  '/header-bomb': 'GUEST_LIMIT',
  '/large-fields': 'GUEST_LIMIT',
  '/clones': 'GUEST_LIMIT',
  '/large-values': 'GUEST_LIMIT',
  '/invalid-values': 'GUEST_LIMIT',
  '/overlapping-values': 'GUEST_LIMIT',
  '/huge-string': 'GUEST_LIMIT',
  '/kept-strings': 'GUEST_LIMIT',
  '/unsent-bodies': 'GUEST_LIMIT',
  '/resources': 'GUEST_LIMIT',
  '/pollables': 'GUEST_LIMIT',
  '/poll-storm': 'CPU_TIME_EXCEEDED',
  '/random': 'GUEST_LIMIT',
  // It has no memory for more of them.
  '/random-forever': 'GUEST_TRAP',
  '/print': 'CPU_TIME_EXCEEDED',
  '/print-line-feeds': 'CPU_TIME_EXCEEDED',
};

// What is left of the first round would add up in the second.
for (const round of ['once', 'and again']) {
  describe(`a guest, ${round}, that`, () => {
    for (const [path, expected] of Object.entries(ENDINGS)) {
      test(`does ${path} ends with ${expected}`, async () => {
        const isTime = expected === 'CPU_TIME_EXCEEDED';
        const { status, text, ending } = await staysSmall(() => attack(path, isTime ? SHORT : HOST));
        const answer = isTime ? [503, 'the app used too much CPU time\n'] : [500, 'the app failed\n'];
        assert.deepEqual([status, text], answer);
        assert.equal((await ending()).code, expected);
      });
    }

    test('takes all memory gets as much as its route may have, and is told', async () => {
      const { text } = await staysSmall(() => attack('/memory-bomb'));
      const [, pages] = /^refused after (\d+) pages\n$/.exec(text) ?? [];
      assert.ok(Number(pages) > MEMORY_PAGES - 16 && Number(pages) < MEMORY_PAGES, text);
    });

    test('sends requests without end is told how many it may', async () => {
      const { text } = await staysSmall(() => attack(`/endless-requests?port=${port}`));
      assert.equal(text, `${REQUESTS} sent, then error ${CONNECTION_LIMIT_REACHED}\n`);
    });

    test('writes a large body in one call has it sent', async () => {
      const { status, text } = await staysSmall(() => attack('/large-write'));
      assert.equal(status, 200);
      assert.equal(text.length, 40 * MIB);
    });

    for (const path of ['/endless-body', '/large-write']) {
      test(`does ${path} for clients that never read is cut off`, async () => {
        const lines = node.log().length;
        const clients = await Promise.all(Array.from({ length: 2 }, () => node.connect()));
        await staysSmall(async () => {
          for (const { socket } of clients) socket.pause();
          for (const client of clients) client.writeLines(`GET ${path} HTTP/1.1`, `host: ${HOST}`, '');
          await eventually('the log says how they ended', () => codesAfter(lines).length === clients.length);
          assert.deepEqual(new Set(codesAfter(lines)), new Set(['WALL_TIME_EXCEEDED']));
        });
        for (const { socket } of clients) socket.destroy();
      });
    }
  });
}

for (const [path, lines, bytes] of [
  ['/print', GUEST_OUTPUT_BYTES / 8192, GUEST_OUTPUT_BYTES],
  ['/print-line-feeds', GUEST_OUTPUT_LINES, 0],
] as const) {
  test(`${path} is in the log up to its limit, and one line says so`, async () => {
    const { ending } = await attack(path, SHORT);
    const { request } = await ending();
    const printed = node.log().filter((line) => line.request === request && line.stream === 'stdout');
    const texts = printed.map(({ msg = '' }) => msg);
    assert.equal(texts.length, lines + 1);
    assert.equal(texts.pop(), 'output of this request beyond 65536 bytes or 1000 lines is not logged');
    assert.equal(texts.join('').length, bytes);
  });
}

test('the neighbour was answered all the time', async () => {
  assert.ok((await neighbour.stop()) > 100);
});
