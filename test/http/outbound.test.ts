import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseNetwork } from '../../src/config/networks.ts';
import { parseAllowedHosts } from '../../src/config/outbound.ts';
import { OutboundBudget } from '../../src/http/outbound-budget.ts';
import { Outbound } from '../../src/http/outbound.ts';
import type { IncomingBody, OutgoingBody } from '../../src/wasi/http-body.ts';
import type { ErrorCode } from '../../src/wasi/http-error.ts';
import { Fields } from '../../src/wasi/http-fields.ts';
import { OutgoingRequest, RequestOptions, type IncomingResponse } from '../../src/wasi/http-messages.ts';
import type { FutureIncomingResponse } from '../../src/wasi/http-outgoing.ts';
import type { InputStream } from '../../src/wasi/io.ts';
import type { Result } from '../../src/wasi/values.ts';

const outbound = new Outbound({ allowedNetworks: [parseNetwork('127.0.0.0/8')], blockedNetworks: [] });
after(() => outbound.close());
const allow = parseAllowedHosts(['http://127.0.0.1:*', 'https://127.0.0.1:*']);

/** A server that does what a test wants with each connection, and the connections that it has. */
class Peer {
  readonly open = new Set<Socket>();
  connections = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(onConnection: (socket: Socket) => void): Promise<Peer> {
    const server = createServer();
    const peer = new Peer(server);
    server.on('connection', (socket: Socket) => {
      peer.connections++;
      peer.open.add(socket);
      socket.on('error', () => {}).on('close', () => peer.open.delete(socket));
      onConnection(socket);
      socket.resume();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    after(() => {
      server.close();
      for (const socket of peer.open) socket.destroy();
    });
    return peer;
  }

  /** Answers the first bytes of each connection with `answer`. */
  static answering(answer: string, then: (socket: Socket) => void = () => {}): Promise<Peer> {
    return Peer.listen((socket) =>
      socket.once('data', () => {
        socket.write(answer);
        then(socket);
      }),
    );
  }

  get authority(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async untilClosed(): Promise<void> {
    for (let round = 0; this.open.size > 0; round++) {
      assert.ok(round < 1000, 'the connection is closed');
      await sleep(5);
    }
  }
}

type Change = { readonly scheme?: 'HTTP' | 'HTTPS'; readonly headers?: readonly (readonly [string, string])[] };

function requestTo(authority: string, { scheme = 'HTTP', headers = [] }: Change = {}): OutgoingRequest {
  const fields = Fields.fromList(headers.map(([name, value]) => [name, Buffer.from(value)]));
  assert.ok(fields.tag === 'ok');
  const request = new OutgoingRequest(fields.val);
  request.setScheme({ tag: scheme });
  assert.equal(request.setAuthority(authority).tag, 'ok');
  return request;
}

const budget = (): OutboundBudget => new OutboundBudget({ outboundRequests: 10, outboundConcurrency: 10 });

const send = (request: OutgoingRequest, options?: RequestOptions): Result<FutureIncomingResponse, ErrorCode> =>
  outbound.fetch({ allow, budget: budget() }, { request, options });

function begun(request: OutgoingRequest, options?: RequestOptions): FutureIncomingResponse {
  const future = send(request, options);
  assert.ok(future.tag === 'ok', JSON.stringify(future));
  return future.val;
}

async function outcome(future: FutureIncomingResponse): Promise<Result<IncomingResponse, ErrorCode>> {
  await future.wait();
  const taken = future.get();
  assert.ok(taken?.tag === 'ok');
  return taken.val;
}

async function response(request: OutgoingRequest, options?: RequestOptions): Promise<IncomingResponse> {
  const got = await outcome(begun(request, options));
  assert.ok(got.tag === 'ok', JSON.stringify(got));
  return got.val;
}

async function failure(request: OutgoingRequest, options?: RequestOptions): Promise<string> {
  const got = await outcome(begun(request, options));
  assert.ok(got.tag === 'err', 'it fails');
  return got.val.tag;
}

function bodyOf(response: IncomingResponse): { body: IncomingBody; stream: InputStream } {
  const body = response.consume();
  assert.ok(body.tag === 'ok');
  const stream = body.val.stream();
  assert.ok(stream.tag === 'ok');
  return { body: body.val, stream: stream.val };
}

/** The text, and why it ended. */
async function readAll(stream: InputStream): Promise<readonly [string, string]> {
  for (let text = ''; ;) {
    while (!stream.ready()) await stream.wait();
    const read = stream.read(65_536);
    if (read.tag === 'ok') text += Buffer.from(read.val).toString('latin1');
    else return [text, read.val.tag === 'closed' ? 'closed' : (read.val.val.cause as ErrorCode).tag];
  }
}

function timeouts(
  change: Partial<Pick<RequestOptions, 'connectTimeout' | 'firstByteTimeout' | 'betweenBytesTimeout'>>,
) {
  return Object.assign(new RequestOptions(), change);
}

const MS = 1_000_000n;

test('a server that resets, ends or does not speak HTTP is an error of its own kind', async () => {
  const resetting = await Peer.listen((socket) => socket.once('data', () => socket.resetAndDestroy()));
  const ending = await Peer.listen((socket) => socket.once('data', () => socket.end()));
  const garbling = await Peer.answering('SSH-2.0-OpenSSH_9.2\r\n');
  assert.equal(await failure(requestTo(resetting.authority)), 'connection-terminated');
  assert.equal(await failure(requestTo(ending.authority)), 'connection-terminated');
  assert.equal(await failure(requestTo(garbling.authority)), 'HTTP-protocol-error');
  assert.equal(await failure(requestTo(garbling.authority, { scheme: 'HTTPS' })), 'TLS-protocol-error');
});

test('a guest may pass on that its client waited to send its body', async () => {
  let received = '';
  const peer = await Peer.listen((socket) => {
    socket.setEncoding('latin1').once('data', (head: string) => {
      received = head;
      socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    });
  });
  const headers = [
    ['Expect', '100-continue'],
    ['x-one', '1'],
  ] as const;
  assert.equal((await response(requestTo(peer.authority, { headers }))).status, 204);
  assert.match(received, /\r\nx-one: 1\r\n/);
  assert.doesNotMatch(received, /expect/i);
});

test('an address on which nobody listens refuses', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  assert.equal(await failure(requestTo(`127.0.0.1:${port}`)), 'connection-refused');
});

test('a server that does not answer in time is given up, and its connection closed', async () => {
  const silent = await Peer.listen(() => {});
  const begun = performance.now();
  assert.equal(
    await failure(requestTo(silent.authority), timeouts({ firstByteTimeout: 200n * MS })),
    'HTTP-response-timeout',
  );
  assert.ok(performance.now() - begun < 2500);
  assert.equal(silent.connections, 1);
  await silent.untilClosed();
});

test('a server that stops in the middle of its body is given up', async () => {
  const stalling = await Peer.answering('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
  const options = timeouts({ betweenBytesTimeout: 200n * MS });
  const { stream } = bodyOf(await response(requestTo(stalling.authority), options));
  assert.deepEqual(await readAll(stream), ['half', 'connection-read-timeout']);
  await stalling.untilClosed();
});

test('a body shorter than its Content-Length is not whole, nor is one whose chunks end early', async () => {
  for (const [answer, code] of [
    ['HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf', 'connection-terminated'],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n', 'connection-terminated'],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n', 'HTTP-protocol-error'],
  ] as const) {
    const peer = await Peer.answering(answer, (socket) => setTimeout(() => socket.end(), 20));
    const { stream } = bodyOf(await response(requestTo(peer.authority)));
    const [, end] = await readAll(stream);
    assert.equal(end, code, answer);
  }
});

test('a body longer than its Content-Length ends where that says', async () => {
  const peer = await Peer.answering('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour and more');
  const { stream } = bodyOf(await response(requestTo(peer.authority)));
  const [text] = await readAll(stream);
  assert.equal(text, 'four');
});

test('two Content-Lengths that differ are refused', async () => {
  const peer = await Peer.answering('HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfour');
  assert.equal(await failure(requestTo(peer.authority)), 'HTTP-response-incomplete');
});

test('headers that are too many bytes are refused', async () => {
  const peer = await Peer.answering(`HTTP/1.1 200 OK\r\n${'x-long: y\r\n'.repeat(5000)}\r\n`);
  assert.equal(await failure(requestTo(peer.authority)), 'HTTP-response-header-section-size');
});

test('a response without the rest of its exchange lets go of its connection', async () => {
  const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf';
  for (const leave of [
    async (future: FutureIncomingResponse) => future.dispose(),
    async (future: FutureIncomingResponse) => {
      const got = await outcome(future);
      assert.ok(got.tag === 'ok');
      got.val.dispose();
    },
    async (future: FutureIncomingResponse) => {
      const got = await outcome(future);
      assert.ok(got.tag === 'ok');
      bodyOf(got.val).body.dispose();
    },
    async (future: FutureIncomingResponse) => {
      const got = await outcome(future);
      assert.ok(got.tag === 'ok');
      // The end of the body is not waited for, nor are its trailers.
      bodyOf(got.val).body.finish().dispose();
    },
  ]) {
    const peer = await Peer.answering(answer);
    const future = begun(requestTo(peer.authority));
    await future.wait();
    assert.equal(peer.open.size, 1);
    await leave(future);
    await peer.untilClosed();
  }
});

test('a request that is given up before its answer lets go of its connection', async () => {
  const silent = await Peer.listen(() => {});
  const future = begun(requestTo(silent.authority));
  while (silent.open.size === 0) await sleep(2);
  future.dispose();
  await silent.untilClosed();
});

test('what is no request is refused at once, and what is not allowed opens no connection', async () => {
  const peer = await Peer.listen(() => {});
  const nothing = new OutgoingRequest(Fields.empty());
  assert.deepEqual(send(nothing), { tag: 'err', val: { tag: 'HTTP-request-URI-invalid' } });
  const other = requestTo(peer.authority);
  other.setScheme({ tag: 'other', val: 'ftp' });
  assert.deepEqual(send(other), { tag: 'err', val: { tag: 'HTTP-request-URI-invalid' } });
  const denied = outbound.fetch(
    { allow: parseAllowedHosts(['http://127.0.0.1:1']), budget: budget() },
    { request: requestTo(peer.authority), options: undefined },
  );
  assert.deepEqual(denied, { tag: 'err', val: { tag: 'HTTP-request-denied' } });
  await sleep(20);
  assert.equal(peer.connections, 0);
});

/** A request with a body that the guest writes. */
function requestWithBody(
  peer: Peer,
  headers: Change['headers'] = [],
): { request: OutgoingRequest; body: OutgoingBody } {
  const request = requestTo(peer.authority, { headers });
  request.setMethod({ tag: 'post' });
  const body = request.body();
  assert.ok(body.tag === 'ok');
  return { request, body: body.val };
}

test('a body goes out as it is written, with the length that was promised or in chunks', async () => {
  for (const [headers, sent] of [
    [[['content-length', '6']], /\r\ncontent-length: 6\r\n[^]*\r\nonetwo$/i],
    [[], /transfer-encoding: chunked\r\n[^]*\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/i],
  ] as const) {
    let seen = '';
    const peer = await Peer.listen((socket) =>
      socket.on('data', (chunk) => {
        seen += chunk.toString('latin1');
        if (seen.endsWith('two') || seen.endsWith('0\r\n\r\n')) socket.write('HTTP/1.1 204 No Content\r\n\r\n');
      }),
    );
    const { request, body } = requestWithBody(peer, headers);
    const future = begun(request);
    request.pipe?.write(Buffer.from('one'));
    while (!seen.includes('one')) await sleep(2);
    request.pipe?.write(Buffer.from('two'));
    assert.equal(body.finish(undefined).tag, 'ok');
    const got = await outcome(future);
    assert.ok(got.tag === 'ok');
    assert.equal(got.val.status, 204);
    assert.match(seen, sent);
  }
});

test('a body that the guest does not finish does not look whole to the server', async () => {
  let seen = '';
  const peer = await Peer.listen((socket) =>
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1');
    }),
  );
  const { request, body } = requestWithBody(peer);
  const future = begun(request);
  request.pipe?.write(Buffer.from('half'));
  while (!seen.includes('half')) await sleep(2);
  body.dispose();
  const got = await outcome(future);
  assert.equal(got.tag, 'err');
  await peer.untilClosed();
  assert.doesNotMatch(seen, /\r\n0\r\n\r\n$/);
});

test('a server that takes no more stops the guest', async () => {
  const peer = await Peer.listen((socket) => setImmediate(() => socket.pause()));
  const { request } = requestWithBody(peer);
  const future = begun(request);
  let written = 0;
  for (let idle = 0; idle < 20 && written < 64 * 1_048_576;) {
    const capacity = request.pipe?.capacity();
    assert.ok(capacity?.tag === 'ok');
    if (capacity.val === 0) {
      idle++;
      await sleep(5);
    } else {
      idle = 0;
      request.pipe?.write(Buffer.alloc(capacity.val));
      written += capacity.val;
    }
  }
  assert.ok(written < 16 * 1_048_576, `${written} bytes for a server that reads none`);
  future.dispose();
  for (const socket of peer.open) socket.resume();
  await peer.untilClosed();
  assert.equal(request.pipe?.state, 'failed');
});
