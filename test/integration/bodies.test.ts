import assert from 'node:assert/strict';
import { createHash, type Hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, freezeGuests, hostRoute, serve } from './support.ts';

const MIB = 1_048_576;

/** Bytes of the large bodies. THAW_TEST_BODY_MIB=1024 is what a person runs by hand; the bound below stays. */
const BODY_BYTES = Number(process.env['THAW_TEST_BODY_MIB'] ?? 64) * MIB;

/** Bodies stream: whatever their size, the node grows by less than this. */
const GROWTH_BYTES = 64 * MIB;

const store = await freezeGuests(['js-kitchen', 'as-table']);
const limits = { requestBody: '2GiB', wall: '2m', cpu: '1m' };
const node = await serve(
  {
    threads: 1,
    routes: [hostRoute('js.test', 'js-kitchen', { limits }), hostRoute('as.test', 'as-table', { limits })],
  },
  { store },
);

/** Bytes that are no repetition of a chunk, so that a chunk lost or sent twice shows. */
function* chunks(bytes: number): Generator<Buffer> {
  const block = createHash('sha512').update('thaw').digest();
  const chunk = Buffer.alloc(65_536, block);
  for (let at = 0; at < bytes; at += chunk.length) {
    chunk.writeDoubleLE(at, 0);
    yield Buffer.from(chunk.subarray(0, Math.min(chunk.length, bytes - at)));
  }
}

/** The stream, and the digest of what went through it. */
function hashed(source: Iterable<Buffer>): { readonly body: Readable; readonly hash: Hash } {
  const hash = createHash('sha256');
  const body = Readable.from(
    (function* () {
      for (const chunk of source) {
        hash.update(chunk);
        yield chunk;
      }
    })(),
    { objectMode: false },
  );
  return { body, hash };
}

async function digestOf(response: IncomingMessage): Promise<{ readonly bytes: number; readonly digest: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  return { bytes, digest: hash.digest('hex') };
}

async function echo(host: string, bytes: number, headers: Record<string, string>): Promise<void> {
  const { body, hash } = hashed(chunks(bytes));
  const response = await node.open('/echo', { method: 'POST', host, headers, body });
  assert.equal(response.statusCode, 200);
  const echoed = await digestOf(response);
  assert.equal(echoed.bytes, bytes);
  assert.equal(echoed.digest, hash.digest('hex'));
}

/** The most that the node had during `work` beyond what it had before. */
async function growthDuring(work: () => Promise<void>): Promise<number> {
  const before = node.memory('VmRSS');
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, node.memory('VmRSS'));
  }, 20);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(most, node.memory('VmRSS')) - before;
}

for (const host of ['js.test', 'as.test']) {
  test(`a body of ${BODY_BYTES / MIB} MiB comes back whole from ${host}, and the node stays small`, async () => {
    // Code is compiled, and the heap has the size that it gets by streaming, whatever comes.
    await echo(host, BODY_BYTES / 2, {});
    const growth = await growthDuring(() => echo(host, BODY_BYTES, { 'content-length': String(BODY_BYTES) }));
    assert.ok(growth < GROWTH_BYTES, `grew by ${growth} bytes`);
  });

  test(`bodies of awkward sizes come back whole from ${host}, chunked and with Content-Length`, async () => {
    for (const bytes of [1, 4095, 4097, 65_535, 65_536, 65_537, 1_000_003]) {
      await echo(host, bytes, {});
      await echo(host, bytes, { 'content-length': String(bytes) });
    }
  });

  test(`an empty body comes back empty from ${host}`, async () => {
    for (const headers of [{ 'content-length': '0' }, { 'transfer-encoding': 'chunked' }]) {
      const { status, text } = await node.send('/echo', { method: 'POST', host, headers, body: '' });
      assert.deepEqual([status, text], [200, '']);
    }
  });
}

/** What /stream of the kitchen sends: byte i is i modulo 251. */
function assertPattern(chunk: Buffer, at: number): void {
  for (const [index, byte] of chunk.entries()) {
    if (byte !== (at + index) % 251) assert.fail(`byte ${at + index} is ${byte}`);
  }
}

/** A JavaScript guest makes some 6 MiB in a second; the size of the other bodies would take too long. */
const MADE_BYTES = BODY_BYTES / 8;

test(`a response of ${MADE_BYTES / MIB} MiB that the guest makes arrives whole`, async () => {
  const response = await node.open(`/stream?bytes=${MADE_BYTES}`, { host: 'js.test' });
  assert.equal(response.headers['transfer-encoding'], 'chunked');
  let at = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    assertPattern(chunk, at);
    at += chunk.length;
  }
  assert.equal(at, MADE_BYTES);
});

/**
 * What can lie between a guest and a reader that does not read: socket buffers of both sides (up to 6 MiB received and
 * 4 MiB sent, net.ipv4.tcp_rmem and tcp_wmem), Node's streams and the guest's own queue.
 */
const IN_FLIGHT_BYTES = 16 * MIB;

test('a slow reader stops the guest, which goes on when there is room', async () => {
  const { body, hash } = hashed(chunks(BODY_BYTES));
  let accepted = 0;
  body.on('data', (chunk: Buffer) => {
    accepted += chunk.length;
  });
  const before = node.memory('VmRSS');
  // The guest reads only as fast as it can write: what it has accepted of the request is its progress.
  const response = await node.open('/echo', { method: 'POST', host: 'as.test', body });
  let last = -1;
  await eventually('the guest stops', async () => {
    const stood = accepted === last;
    last = accepted;
    await sleep(300);
    return stood && accepted === last;
  });
  assert.ok(accepted < IN_FLIGHT_BYTES, `${accepted} bytes accepted of a body that nobody reads`);
  assert.ok(accepted < BODY_BYTES);
  const growth = node.memory('VmRSS') - before;
  assert.ok(growth < GROWTH_BYTES, `grew by ${growth} bytes`);
  const echoed = await digestOf(response);
  assert.deepEqual(echoed, { bytes: BODY_BYTES, digest: hash.digest('hex') });
});

test('a guest that does not read its request stops the client', async () => {
  let sent = 0;
  const body = Readable.from(
    (function* () {
      for (const chunk of chunks(BODY_BYTES)) {
        sent += chunk.length;
        yield chunk;
      }
    })(),
    { objectMode: false },
  );
  const answer = node.send('/sleep?ms=1000', { method: 'POST', host: 'js.test', body });
  await sleep(700);
  assert.ok(sent < IN_FLIGHT_BYTES, `${sent} bytes sent to a guest that reads none`);
  assert.equal((await answer).text, 'slept\n');
});

test('a connection serves on after a body that the guest left unread', async () => {
  const connection = await node.connect();
  const bytes = 5 * MIB;
  for (const path of ['/hello', '/sleep?ms=50']) {
    connection.writeLines(`POST ${path} HTTP/1.1`, 'host: js.test', `content-length: ${bytes}`, '');
    connection.socket.write(Buffer.alloc(bytes, 'x'));
  }
  connection.writeLines('GET /counter HTTP/1.1', 'host: js.test', 'connection: close', '');
  const answers = await connection.untilClosed();
  assert.equal(answers.match(/HTTP\/1\.1 200 OK/g)?.length, 3);
  assert.match(answers, /\r\n\r\n1\n$/);
});
