import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FIRST_QUIET } from '../../src/runtime/wait-history.ts';
import { buildPrinter } from './at-once-guest.ts';
import { concurrently, eventually, freezeGuests, hostRoute, keepAlive, serve, type Config } from './support.ts';
import type { RawConnection, ServedNode } from './support.ts';

/**
 * Apps whose requests do not wait have them run at once, and their responses leave together. Nobody may notice: not whose
 * request has to wait all the same and runs twice, and not whose response is kept for a moment.
 */

/** More than it takes until requests run at once, also after some of them were wrong about it. */
const QUIET = 20;

/** What the outbound server was asked for. */
const asked: (string | undefined)[] = [];
const other = createServer((request, response) => {
  asked.push(request.url);
  setTimeout(() => response.end('from elsewhere\n'), 10);
});
await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
after(() => other.close().closeAllConnections());
const authority = `127.0.0.1:${(other.address() as AddressInfo).port}`;

const HOST = 'printer.test';
const JS = 'js.test';
const store = await freezeGuests(['js-kitchen', 'as-table'], { printer: await buildPrinter() });
const allowed = { allowed_outbound_hosts: [`http://${authority}`] };
/** More than any test sends together. */
const CONCURRENCY = 200;
const CONFIG: Config = {
  threads: 1,
  pool: { slots: 32, memory: '1GiB' },
  routes: [
    hostRoute(HOST, 'printer', { ...allowed, limits: { concurrency: CONCURRENCY } }),
    hostRoute(JS, 'js-kitchen', allowed),
    hostRoute('as.test', 'as-table', { limits: { cpu: '20ms' } }),
  ],
};
const node = await serve(CONFIG, { store });
const agent = keepAlive(1);

/** What guests printed, in order. */
const printed = (on: ServedNode = node): string[] =>
  on
    .log()
    .filter(({ stream }) => stream === 'stdout')
    .map(({ msg = '' }) => msg);

const linesWith = (part: string): string[] => printed().filter((line) => line.includes(part));

const timesPrinted = (line: string, on: ServedNode = node): number =>
  printed(on).filter((other) => other === line).length;

let serial = 0;

/** Requests one after the other, none of which waits. */
async function quiet(host: string, pathOf: () => { path: string; answer: string }, count = QUIET): Promise<void> {
  for (let index = 0; index < count; index++) {
    const { path, answer } = pathOf();
    const { status, text } = await node.send(path, { host, agent });
    assert.deepEqual([status, text], [200, answer]);
  }
}

const quick = (): { path: string; answer: string } => {
  const path = `/q${++serial}`;
  return { path, answer: `${path}\n` };
};
const counter = (): { path: string; answer: string } => ({ path: '/counter', answer: '1\n' });

describe('a request that waits after many that did not', () => {
  for (let round = 0; round < 3; round++) {
    test(`for a timer: prints once, answers once, and those after it are right; round ${round}`, async () => {
      await quiet(HOST, quick, QUIET + FIRST_QUIET * 2 ** (2 * round));
      const path = `/w${++serial}`;
      const begun = performance.now();
      const { status, text, headers } = await node.send(path, { host: HOST, agent });
      assert.deepEqual([status, text, headers['content-length']], [200, `${path}\n`, `${path.length + 1}`]);
      assert.ok(performance.now() - begun >= 29, 'it has waited');
      await eventually('the line is logged', () => timesPrinted(path) > 0);
      await quiet(HOST, quick);
      assert.equal(timesPrinted(path), 1);
    });

    test(`for a server: that is asked once; round ${round}`, async () => {
      await quiet(HOST, quick, QUIET + FIRST_QUIET * 2 ** (2 * round + 1));
      const path = `/f${authority}`;
      const [lines, requests] = [timesPrinted(path), asked.length];
      const { status, text } = await node.send(path, { host: HOST, agent });
      assert.deepEqual([status, text], [200, `${path}\n`]);
      await quiet(HOST, quick);
      assert.equal(asked.length, requests + 1);
      assert.equal(timesPrinted(path), lines + 1);
    });
  }

  test('with its answer already given: the answer comes once', async () => {
    await quiet(HOST, quick, 600);
    const connection = await node.connect();
    const path = `/a${++serial}`;
    connection.writeLines(`GET ${path} HTTP/1.1`, `host: ${HOST}`, '');
    await connection.until(new RegExp(`${path}\n`));
    await sleep(60);
    assert.deepEqual(responsesOf(connection.received), [{ status: 200, body: `${path}\n` }]);
    assert.equal(timesPrinted(path), 1);
    connection.socket.destroy();
  });

  test('each line of the quiet ones is logged once, in order, and with a request id of its own', () => {
    const lines = node.log().filter(({ stream, msg }) => stream === 'stdout' && msg?.startsWith('/q'));
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      lines.map(({ msg }) => msg).toSorted((a, b) => Number(a?.slice(2)) - Number(b?.slice(2))),
    );
    assert.equal(new Set(lines.map(({ msg }) => msg)).size, lines.length);
    assert.equal(new Set(lines.map(({ request }) => request)).size, lines.length);
  });

  test('of a JavaScript guest: its timers, and its requests to others', async () => {
    await quiet(JS, counter);
    const slept = await node.send('/sleep?ms=20', { host: JS, agent });
    assert.deepEqual([slept.status, slept.text], [200, 'slept\n']);
    await quiet(JS, counter, 40);
    const requests = asked.length;
    const url = encodeURIComponent(`http://${authority}/once`);
    const fetched = await node.send(`/fetch?url=${url}`, { host: JS, agent });
    assert.deepEqual([fetched.status, fetched.text], [200, 'from elsewhere\n']);
    await quiet(JS, counter, 80);
    assert.equal(asked.length, requests + 1);
    const [before, logged] = [timesPrinted('work after the response is done'), timesPrinted('to stdout')];
    assert.equal((await node.send('/after?ms=5', { host: JS, agent })).text, 'answered\n');
    assert.equal((await node.send('/log', { host: JS, agent })).text, 'logged\n');
    await eventually('the work is done', () => timesPrinted('work after the response is done') > before);
    await quiet(JS, counter);
    assert.equal(timesPrinted('work after the response is done'), before + 1);
    assert.equal(timesPrinted('to stdout'), logged + 1);
  });

  test('and those that trap, end, say nothing or do not end are answered as ever', async () => {
    const own = { path: '/counter', answer: '1 1\n' };
    for (const [path, status, code] of [
      ['/trap', 500, 'GUEST_TRAP'],
      ['/no-response', 500, 'GUEST_NO_RESPONSE'],
      ['/exit', 500, 'GUEST_EXITED'],
      ['/spin', 503, 'CPU_TIME_EXCEEDED'],
    ] as const) {
      await quiet('as.test', () => own);
      const count = (): number => node.log().filter((line) => line.code === code).length;
      const before = count();
      assert.equal((await node.send(path, { host: 'as.test', agent })).status, status, path);
      await eventually(`${code} is logged`, () => count() === before + 1);
      await quiet('as.test', () => own, 3);
      assert.equal(count(), before + 1);
    }
  });
});

type Response = { readonly status: number; readonly body: string };

/** The whole responses of a connection, which must be all that there is. */
function responsesOf(received: string): Response[] {
  const responses: Response[] = [];
  for (let rest = received; rest !== '';) {
    const head = /^HTTP\/1\.1 (\d{3}) [^]*?\r\ncontent-length: (\d+)\r\n[^]*?\r\n\r\n/i.exec(rest);
    assert.ok(head !== null, `a head and its length: ${JSON.stringify(rest.slice(0, 300))}`);
    const [whole, status, length] = head as unknown as [string, string, string];
    const body = rest.slice(whole.length, whole.length + Number(length));
    assert.equal(body.length, Number(length), 'the body is whole');
    responses.push({ status: Number(status), body });
    rest = rest.slice(whole.length + Number(length));
  }
  return responses;
}

/** The node finds all of it at once, as if it had been busy meanwhile. */
async function whileStopped(on: ServedNode, work: () => void): Promise<void> {
  on.signal('SIGSTOP');
  work();
  // The bytes reach the node's sockets.
  await sleep(30);
  on.signal('SIGCONT');
}

const connectTo = (on: ServedNode, count: number): Promise<RawConnection[]> =>
  concurrently(count, 8, () => on.connect());

const ask = (connection: RawConnection, ...paths: readonly string[]): void => {
  for (const path of paths) connection.writeLines(`GET ${path} HTTP/1.1`, `host: ${HOST}`, '');
};

const answerOf = (path: string): string =>
  path.startsWith('/l') ? `${path.slice(0, 4).repeat(5000)}${path}\n` : `${path}\n`;

async function assertAnswered(connection: RawConnection, paths: readonly string[]): Promise<void> {
  const expected = paths.map((path) => ({ status: 200, body: answerOf(path) }));
  const length = expected.reduce((sum, { body }) => sum + body.length, 0);
  await eventually(`${paths.length} answers`, () => connection.isClosed || connection.received.length > length + 50);
  await connection.until(new RegExp(`${paths.at(-1)}\n$`));
  assert.deepEqual(responsesOf(connection.received), expected);
}

/** Nothing of it is left: every slot is clean. */
const idle = (on: ServedNode): Promise<void> =>
  eventually('no slot is busy', async () => {
    const { routes } = JSON.parse((await on.admin('/routes')).text) as { routes: { slots: { busy: number } }[] };
    return routes.every(({ slots }) => slots.busy === 0);
  });

const mixed = (connection: number, index: number): string => {
  const kind = ['q', 'q', 'l', 'q', 'w', 'q', 'a'][(connection + index) % 7] as string;
  return `/${kind}${10 + connection}-${index}`;
};

describe('responses that leave together', () => {
  for (const [what, kinds] of [
    ['that are all quick', (connection: number, index: number) => `/q${10 + connection}-${index}`],
    ['of which some wait and some are large', mixed],
  ] as const) {
    test(`on connections of their own, and one behind the other, ${what}: each gets its own`, async () => {
      await quiet(HOST, quick, 100);
      const connections = await connectTo(node, 30);
      const paths = connections.map((_, connection) => [0, 1, 2, 3].map((index) => kinds(connection, index)));
      await whileStopped(node, () => {
        for (const [index, connection] of connections.entries()) ask(connection, ...(paths[index] as string[]));
      });
      await Promise.all(connections.map((connection, index) => assertAnswered(connection, paths[index] as string[])));
      for (const { socket } of connections) socket.destroy();
      await idle(node);
    });
  }

  test('to clients of which some have left: the others get theirs, and the node is well', async () => {
    await quiet(HOST, quick, 100);
    for (let round = 0; round < 5; round++) {
      const connections = await connectTo(node, 24);
      const pathOfGone = (index: number): string => `/q${round}gone${index}`;
      await whileStopped(node, () => {
        for (const [index, connection] of connections.entries()) ask(connection, pathOfGone(index), '/l-too');
        for (const [index, { socket }] of connections.entries()) {
          if (index % 4 === 1) socket.destroy();
          if (index % 4 === 3) socket.resetAndDestroy();
        }
      });
      const staying = connections
        .map((connection, index) => ({ connection, index }))
        .filter(({ index }) => index % 2 === 0);
      await Promise.all(
        staying.map(({ connection, index }) => assertAnswered(connection, [pathOfGone(index), '/l-too'])),
      );
      for (const { connection } of staying) connection.socket.destroy();
    }
    await idle(node);
    await quiet(HOST, quick);
    assert.deepEqual(
      node.log().filter(({ level }) => level === 'error' || level === 'fatal'),
      [],
    );
  });

  test('to one client with many connections, over and over', async () => {
    const many = keepAlive(16);
    const answers = await concurrently(1500, 16, async (index) => {
      const path = index % 97 === 50 ? `/wmany${index}` : `/qmany${index}`;
      const { status, text } = await node.send(path, { host: HOST, agent: many });
      return status === 200 && text === `${path}\n`;
    });
    assert.ok(answers.every(Boolean));
    assert.equal(answers.length, 1500);
    await eventually('all of them are logged', () => linesWith('many').length >= 1500);
    const lines = linesWith('many');
    assert.deepEqual([lines.length, new Set(lines).size], [1500, 1500], 'each has printed once');
    await idle(node);
  });
});

/** What guests have served is what clients have: their lines were logged before. */
async function assertNoneLost(on: ServedNode, connections: readonly RawConnection[], least: number): Promise<void> {
  const { code } = await on.exited();
  assert.equal(code, 0);
  await Promise.all(connections.map((connection) => connection.untilClosed()));
  const answers = connections.flatMap(({ received }) => responsesOf(received));
  const served = answers.filter(({ status }) => status === 200).map(({ body }) => body.trim());
  assert.deepEqual(
    served.toSorted(),
    printed(on)
      .filter((line) => !line.startsWith('/q-warm'))
      .toSorted(),
  );
  assert.ok(served.length >= least, `${served.length} served`);
  assert.ok(!on.lines.some((line) => line.includes('did not end within')));
}

async function warm(): Promise<ServedNode> {
  const own = await serve(CONFIG, { store });
  const kept = keepAlive(1);
  for (let index = 0; index < QUIET; index++) await own.send(`/q-warm${index}`, { host: HOST, agent: kept });
  kept.destroy();
  return own;
}

describe('a drain loses none of the responses that are held', () => {
  test('of requests that wait when the signal comes, and of those that come together with it', async () => {
    const own = await warm();
    const waiting = await connectTo(own, 30);
    const late = await connectTo(own, 30);
    await whileStopped(own, () => {
      for (const [index, connection] of waiting.entries()) ask(connection, `/w${index}`);
    });
    await eventually('all wait', () => printed(own).filter((line) => line.startsWith('/w')).length === waiting.length);
    await whileStopped(own, () => {
      for (const [index, connection] of late.entries()) ask(connection, `/q${index}a`, `/q${index}b`);
      own.signal('SIGTERM');
    });
    await assertNoneLost(own, [...waiting, ...late], waiting.length);
  });

  test('under load', async () => {
    const own = await warm();
    const connections = await connectTo(own, 12);
    const over = new AbortController();
    const load = Promise.all(
      connections.map(async (connection, index) => {
        for (let turn = 0; !over.signal.aborted && !connection.isClosed; turn++) {
          const path = `/q${index}-${turn}`;
          ask(connection, path);
          await eventually(
            'an answer, or the end',
            () => connection.isClosed || connection.received.endsWith(`${path}\n`),
          );
        }
      }),
    );
    await eventually('each has been answered', () =>
      connections.every(({ received }) => received.includes('HTTP/1.1 200')),
    );
    await sleep(100);
    own.signal('SIGTERM');
    await own.exited();
    over.abort();
    await load;
    await assertNoneLost(own, connections, connections.length);
  });
});
