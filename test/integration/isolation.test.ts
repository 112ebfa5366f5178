import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RecordingCall, requestTo } from '../support/call.ts';
import { Bench } from '../support/runtime.ts';
import { VARIANTS, scribe, type Variant } from '../support/scribe.ts';
import { concurrently, eventually, freezeGuests, hostRoute, keepAlive, serve } from './support.ts';

/**
 * Three apps of one code on a few slots, and clients that hang up: while they send a body, while they are sent one, while
 * the guest sleeps. Every answer that is given depends on every byte of the guest's state, and has to be exact.
 */

const SECONDS = 3;
const CLIENTS = 4;

/** Room to grow, and little to look through for an answer. */
const MEMORY_MIB = 4;
const limits = { memory: `${MEMORY_MIB}MiB` };

const hostOf = (variant: Variant): string => `scribe-${variant}.test`;

const components = await Promise.all(
  VARIANTS.map(async (variant) => [`scribe-${variant}`, await scribe(variant)] as const),
);
const node = await serve(
  {
    threads: 2,
    pool: { slots: 8 },
    routes: VARIANTS.map((variant) => hostRoute(hostOf(variant), `scribe-${variant}`, { limits })),
  },
  { store: await freezeGuests([], Object.fromEntries(components)) },
);

/** What clients ask that wait for their answer. */
const PROGRAMS = ['/count.3', '/open/grow.3/open', '/mark.badc0ffee/respond/sleep.1', '/fill.4096.300000.7/grow-all'];

/** What an instance answers that was made for the request, by variant and program. */
const expected = await (async () => {
  const bench = new Bench();
  const answers = new Map<string, string>();
  for (const [variant, [, component]] of components.entries()) {
    const snapshot = await bench.freezeWhole(component);
    for (const program of PROGRAMS) {
      const slot = await bench.newSlot(snapshot, bench.environment('copy'));
      const call = new RecordingCall({ limits: { memoryBytes: MEMORY_MIB * 2 ** 20 } });
      await slot.serve(call, requestTo(program));
      answers.set(`${variant}${program}`, call.sent?.body ?? '');
    }
  }
  return answers;
})();

const agent = keepAlive(CLIENTS + 1);

async function assertExact(index: number): Promise<void> {
  const variant = VARIANTS[index % VARIANTS.length] as Variant;
  const program = PROGRAMS[index % PROGRAMS.length] as string;
  const { status, text } = await node.send(program, { host: hostOf(variant), agent });
  assert.deepEqual([status, text], [200, expected.get(`${variant}${program}`)], `${program} of variant ${variant}`);
}

/** Everything that a request could leave, before it waits. */
const DIRTY = '/mark.badc0ffee/open/grow-all/fill-top.4000000.5/fill.0.1000000.9/count.7';

/** What clients ask that hang up: the head, and how the request goes on. */
const ABANDONED = {
  body: [`POST ${DIRTY}/read/read/read HTTP/1.1`, 'content-length: 100000', '', 'the beginning of it'],
  stream: [`GET ${DIRTY}/stream.1000000 HTTP/1.1`, '', ''],
  sleep: [`GET ${DIRTY}/sleep.600000 HTTP/1.1`, '', ''],
} as const;

/** When they do: before the guest has begun, and anywhere in what it does. */
const DELAYS_MS = [0, 1, 2, 5, 11, 23];
const PAUSE_MS = 20;

async function abandon(lines: readonly string[], variant: Variant, delayMs: number): Promise<void> {
  const socket = connect(Number(node.url.port), node.url.hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  const [line, ...rest] = lines;
  socket.write([line, `host: ${hostOf(variant)}`, ...rest].join('\r\n'));
  await sleep(delayMs);
  socket.resetAndDestroy();
  // A thread that is busy takes one new connection at a time.
  await sleep(PAUSE_MS);
}

/** Goes on for the time of the test. @returns how often it did its work */
async function repeatedly(work: (index: number) => Promise<void>): Promise<number> {
  const until = performance.now() + SECONDS * 1000;
  let index = 0;
  while (performance.now() < until) await work(index++);
  return index;
}

test('brand-new instances of the apps answer each in its own way', () => {
  assert.equal(new Set(expected.values()).size, VARIANTS.length * PROGRAMS.length);
});

test('answers are exact while clients hang up, guests trap and exit, and slots move between the apps', async () => {
  const abandoning = Object.values(ABANDONED).map((lines, kind) =>
    repeatedly((index) =>
      abandon(lines, VARIANTS[(index + kind) % 3] as Variant, DELAYS_MS[index % DELAYS_MS.length] as number),
    ),
  );
  const failing = repeatedly(async (index) => {
    const host = hostOf(VARIANTS[index % 3] as Variant);
    const { status } = await node.send(`${DIRTY}/${index % 2 === 0 ? 'trap' : 'exit'}`, { host, agent });
    assert.equal(status, 500);
  });
  const asking = Array.from({ length: CLIENTS }, (_, client) => repeatedly((index) => assertExact(index * 5 + client)));
  for (const count of await Promise.all([...asking, ...abandoning, failing])) assert.ok(count > 3, `${count} times`);
});

test('and afterwards: nothing is in work any more, nothing went wrong within', async () => {
  await eventually('all requests have ended', async () => {
    const { routes } = JSON.parse((await node.admin('/routes')).text) as { routes: { slots: { busy: number } }[] };
    return routes.every(({ slots }) => slots.busy === 0);
  });
  await concurrently(120, CLIENTS, assertExact);
  const codes = new Set(node.log().map(({ code, level }) => (level === 'error' ? 'error' : code)));
  assert.deepEqual(codes, new Set(['CLIENT_GONE', 'GUEST_EXITED', 'GUEST_TRAP']));
});
