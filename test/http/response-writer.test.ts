import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ResponseWriter } from '../../src/http/response-writer.ts';
import { Fields } from '../../src/wasi/http-fields.ts';
import type { OutgoingBody } from '../../src/wasi/http-body.ts';
import { OutgoingResponse } from '../../src/wasi/http-messages.ts';
import { STREAM_CHUNK_BYTES } from '../../src/wasi/io.ts';

type Work = (writer: ResponseWriter, response: ServerResponse) => void | Promise<void>;

/** What the next request is served with. */
let work: Work = () => {};
let gone = 0;
const server = createServer((_request, response) => {
  const writer = new ResponseWriter(response);
  writer.watch(() => void gone++);
  void work(writer, response);
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
after(() => server.close().closeAllConnections());
const { port } = server.address() as AddressInfo;

const bytes = (content: string): Buffer => Buffer.from(content);

function fieldsOf(entries: Readonly<Record<string, string>>): Fields {
  const fields = Fields.fromList(Object.entries(entries).map(([name, value]) => [name, bytes(value)]));
  assert.ok(fields.tag === 'ok');
  return fields.val;
}

/** A guest's response, with the body that the guest holds. */
function newResponse(headers: Readonly<Record<string, string>> = {}): {
  response: OutgoingResponse;
  body: OutgoingBody;
} {
  const response = new OutgoingResponse(fieldsOf(headers));
  const body = response.body();
  assert.ok(body.tag === 'ok');
  return { response, body: body.val };
}

/** Answers with what `work` does. The connection is closed afterwards. */
async function ask(method: string, whatToDo: Work): Promise<IncomingMessage> {
  work = whatToDo;
  gone = 0;
  const outgoing = request({ port, method, agent: false });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return response;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a body that is whole by the end of the turn goes with its Content-Length', async () => {
  const response = await ask('GET', (writer) => {
    const { response, body } = newResponse({ 'x-a': '1' });
    writer.hold(response);
    response.pipe?.write(bytes('one '));
    response.pipe?.write(bytes('two'));
    body.finish(undefined);
    assert.equal(writer.headSent, false, 'not before the turn is over');
  });
  assert.equal(response.headers['content-length'], '7');
  assert.equal(response.headers['x-a'], '1');
  assert.equal(await text(response), 'one two');
});

test('the head leaves at the end of the turn, the body as it is written', async () => {
  const { response, body } = newResponse();
  const answer = await ask('GET', (writer) => writer.hold(response));
  assert.equal(answer.headers['transfer-encoding'], 'chunked');
  const parts: string[] = [];
  answer.setEncoding('utf8').on('data', (part: string) => parts.push(part));
  for (const part of ['one', 'two']) {
    response.pipe?.write(bytes(part));
    await once(answer, 'data');
  }
  body.finish(undefined);
  await once(answer, 'end');
  assert.deepEqual(parts, ['one', 'two']);
});

test('trailers go behind a body that streams, and behind one that is whole', async () => {
  for (const isLate of [false, true]) {
    const answer = await ask('GET', async (writer) => {
      const { response, body } = newResponse();
      writer.hold(response);
      if (isLate) await turn();
      response.pipe?.write(bytes('body'));
      body.finish(fieldsOf({ 'x-sum': '42' }));
    });
    assert.equal(await text(answer), 'body');
    assert.deepEqual({ ...answer.trailers }, { 'x-sum': '42' });
  }
});

const answerFour: Work = (writer) => {
  const { response, body } = newResponse();
  writer.hold(response);
  response.pipe?.write(bytes('four'));
  body.finish(undefined);
};

const answerNothing: Work = (writer) => writer.hold(new OutgoingResponse(Fields.empty()));

test('a response without a body says so, but not to HEAD', async () => {
  assert.equal((await ask('GET', answerNothing)).headers['content-length'], '0');
  assert.equal((await ask('HEAD', answerNothing)).headers['content-length'], undefined);
  assert.equal((await ask('HEAD', answerFour)).headers['content-length'], '4');
});

test('204 and 304 have neither length nor chunks', async () => {
  for (const status of [204, 304]) {
    for (const isLate of [false, true]) {
      const answer = await ask('GET', async (writer) => {
        const { response, body } = newResponse();
        response.setStatus(status);
        writer.hold(response);
        if (isLate) await turn();
        body.finish(undefined);
      });
      assert.equal(answer.statusCode, status);
      assert.equal(answer.headers['content-length'], undefined);
      assert.equal(answer.headers['transfer-encoding'], undefined);
      assert.equal(await text(answer), '');
    }
  }
});

test("a guest's Content-Length is not sent with a 204, and is with a 304: it is that of the response to a GET", async () => {
  for (const [status, length, sent] of [
    [204, '0', undefined],
    [304, '10', '10'],
  ] as const) {
    for (const isLate of [false, true]) {
      const answer = await ask('GET', async (writer) => {
        const { response, body } = newResponse({ 'Content-Length': length, 'x-a': '1' });
        response.setStatus(status);
        response.pipe?.expectNothing();
        writer.hold(response);
        if (isLate) await turn();
        body.finish(undefined);
      });
      assert.equal(answer.statusCode, status);
      assert.equal(answer.headers['content-length'], sent);
      assert.equal(answer.headers['x-a'], '1');
      assert.equal(await text(answer), '');
    }
  }
});

test('a client that does not read stops the guest, and one that reads lets it go on', async () => {
  const { response, body } = newResponse();
  const answer = await ask('GET', (writer) => writer.hold(response));
  answer.pause();
  const { pipe } = response;
  assert.ok(pipe !== null);
  let written = 0;
  const fill = async (): Promise<void> => {
    // Up to 10 MiB of socket buffers are before it.
    for (let idle = 0; idle < 20 && written < 64 * 1_048_576;) {
      const capacity = pipe.capacity();
      assert.equal(capacity.tag, 'ok');
      if (capacity.val === 0) {
        idle++;
        await sleep(5);
      } else {
        idle = 0;
        pipe.write(Buffer.alloc(STREAM_CHUNK_BYTES));
        written += STREAM_CHUNK_BYTES;
      }
    }
  };
  await fill();
  assert.ok(written < 16 * 1_048_576, `${written} bytes for a client that reads none`);
  assert.equal(pipe.ready(), false);
  const before = written;
  let received = 0;
  answer.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  answer.resume();
  await pipe.wait();
  assert.equal(pipe.ready(), true);
  pipe.write(Buffer.alloc(STREAM_CHUNK_BYTES));
  body.finish(undefined);
  await once(answer, 'end');
  assert.equal(received, before + STREAM_CHUNK_BYTES);
});

test('a body that the guest drops is cut, so that nobody takes it for whole', async () => {
  const answer = await ask('GET', async (writer) => {
    const { response, body } = newResponse();
    writer.hold(response);
    response.pipe?.write(bytes('half'));
    await turn();
    body.dispose();
  });
  await assert.rejects(text(answer), { code: 'ECONNRESET' });
  assert.equal(gone, 0, 'the client has not left: it was cut off');
});

test('abort cuts a response that has begun, and leaves one that has ended', async () => {
  const begun = await ask('GET', async (writer) => {
    writer.hold(newResponse().response);
    await turn();
    writer.abort();
  });
  await assert.rejects(text(begun), { code: 'ECONNRESET' });
  const size = 50_000;
  const ended = await ask('GET', (writer) => {
    const { response, body } = newResponse();
    writer.hold(response);
    response.pipe?.write(Buffer.alloc(size, 'x'));
    body.finish(undefined);
    writer.flush();
    writer.abort();
  });
  assert.equal((await text(ended)).length, size);
});

test('abort of a response that waits behind another closes the connection when it is its turn', async () => {
  const writers: ResponseWriter[] = [];
  work = (writer) => void writers.push(writer);
  const socket = connect(port);
  after(() => socket.destroy());
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(2));
  while (writers.length < 2) await turn();
  const [first, second] = writers as [ResponseWriter, ResponseWriter];
  const begun = newResponse();
  second.hold(begun.response);
  begun.response.pipe?.write(bytes('begun'));
  await turn();
  second.abort();
  await turn();
  const { response, body } = newResponse();
  first.hold(response);
  response.pipe?.write(bytes('whole'));
  body.finish(undefined);
  const received = await text(socket.setTimeout(2000, () => socket.destroy(new Error('it stays open'))));
  assert.match(received, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nwhole$/);
});

test('a client that leaves is reported once, and the body fails', async () => {
  const { response } = newResponse();
  const answer = await ask('GET', (writer) => writer.hold(response));
  const waiting = (async () => {
    while (response.pipe?.state === 'open') await sleep(1);
  })();
  answer.destroy();
  await waiting;
  assert.equal(response.pipe?.state, 'failed');
  assert.equal(gone, 1);
});

test('a guest that answers after its client has left learns it at its first write', async () => {
  const { promise, resolve: arrived } = Promise.withResolvers<[ResponseWriter, ServerResponse]>();
  work = (writer, raw) => arrived([writer, raw]);
  const outgoing = request({ port, agent: false }).on('error', () => {});
  outgoing.end();
  const [writer, raw] = await promise;
  outgoing.destroy();
  await once(raw, 'close');
  assert.equal(writer.answered, true, 'nobody waits for an answer any more');
  const { response } = newResponse();
  writer.hold(response);
  const written = response.pipe?.write(bytes('too late'));
  assert.equal(written?.tag, 'err');
  await turn();
  assert.equal(writer.headSent, false);
});

test('a client that has its whole response has not left', async () => {
  const answer = await ask('GET', (writer) => {
    const { response, body } = newResponse();
    writer.hold(response);
    body.finish(undefined);
  });
  assert.equal(await text(answer), '');
  await sleep(20);
  assert.equal(gone, 0);
});

test('a failure goes out whole, with its headers', async () => {
  const answer = await ask('GET', (writer) => writer.fail(503, 'busy', { 'retry-after': '1' }));
  assert.equal(answer.statusCode, 503);
  assert.equal(answer.headers['retry-after'], '1');
  assert.equal(answer.headers['content-length'], '5');
  assert.equal(await text(answer), 'busy\n');
});

/** Holds what is to leave until it is told to let go. */
class Gate {
  #held: (() => void)[] = [];
  readonly depart = (send: () => void): void => void this.#held.push(send);

  get held(): number {
    return this.#held.length;
  }

  open(): void {
    for (const send of this.#held.splice(0)) send();
  }
}

type Held = {
  readonly writer: ResponseWriter;
  readonly gate: Gate;
  readonly response: OutgoingResponse;
  readonly raw: ServerResponse;
  /** How often it was said that the client has left. */
  gone: number;
};

/** A response of the guest with a whole body, sent by `answer` and held by a gate; then `whatToDo` happens to it. */
function askHeld(
  whatToDo: (held: Held) => void | Promise<void>,
  { content = bytes('whole'), method = 'GET', headers = {}, trailers = undefined as Fields | undefined } = {},
): Promise<IncomingMessage> {
  return ask(method, async (_unused, raw) => {
    const gate = new Gate();
    const writer = new ResponseWriter(raw, gate.depart);
    const { response, body } = newResponse(headers);
    const held: Held = { writer, gate, response, raw, gone: 0 };
    writer.watch(() => void held.gone++);
    if (content.length > 0) response.pipe?.write(content);
    body.finish(trailers);
    assert.equal(writer.answered, false);
    writer.send(response);
    assert.equal(writer.answered, true);
    await whatToDo(held);
  });
}

const bodyOf = async (answer: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

test('a response that is whole is answered, and not sent until it may leave', async () => {
  let seen: Held | null = null;
  const answer = await askHeld(async (held) => {
    const { writer, gate, raw } = held;
    seen = held;
    assert.deepEqual([writer.headSent, raw.writableEnded, gate.held], [false, false, 1]);
    writer.flush();
    await sleep(20);
    assert.deepEqual([writer.headSent, raw.writableEnded, gate.held], [false, false, 1], 'no flush lets it go');
    gate.open();
    assert.deepEqual([writer.headSent, raw.writableEnded], [true, true]);
  });
  assert.equal(answer.headers['content-length'], '5');
  assert.equal(await text(answer), 'whole');
  await sleep(20);
  assert.equal((seen as Held | null)?.gone, 0);
});

test('one that the guest holds leaves the same way, by its own turn', async () => {
  const answer = await ask('GET', async (_unused, raw) => {
    const gate = new Gate();
    const writer = new ResponseWriter(raw, gate.depart);
    await answerFour(writer, raw);
    await turn();
    assert.deepEqual([gate.held, writer.headSent], [1, false]);
    gate.open();
  });
  assert.equal(await text(answer), 'four');
});

test('a failure takes the place of a response that is leaving, which is then nothing', async () => {
  const answer = await askHeld(({ writer, gate }) => {
    writer.fail(503, 'busy', { 'retry-after': '1' });
    gate.open();
  });
  assert.deepEqual([answer.statusCode, await text(answer)], [503, 'busy\n']);
});

test('abort lets a response go that is leaving: it is whole', async () => {
  const answer = await askHeld(({ writer, gate, raw }) => {
    writer.abort();
    assert.equal(raw.writableEnded, true);
    gate.open();
  });
  assert.deepEqual([answer.statusCode, await text(answer)], [200, 'whole']);
});

test('a client that leaves while its response is leaving is reported once, and nothing is written', async () => {
  const { promise, resolve } = Promise.withResolvers<Held>();
  const asked = askHeld((held) => resolve(held)).catch((error: unknown) => error);
  const held = await promise;
  held.raw.destroy();
  await asked;
  assert.equal(held.gone, 1);
  held.gate.open();
  held.writer.abort();
  assert.deepEqual([held.writer.headSent, held.gate.held, held.gone], [false, 0, 1]);
});

test('a body arrives byte for byte, on either side of the length up to which it is one piece with its head', async () => {
  const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  for (const length of [1, 256, 4095, 4096, 4097, 50_000]) {
    const content = Buffer.from(Array.from({ length: Math.ceil(length / 256) }, () => [...every]).flat()).subarray(
      0,
      length,
    );
    const answer = await askHeld(({ gate }) => gate.open(), { content, headers: { 'x-text': 'grün' } });
    assert.equal(answer.headers['content-length'], `${length}`);
    assert.equal(Buffer.from(answer.headers['x-text'] as string, 'latin1').toString(), 'grün');
    assert.ok(content.equals(await bodyOf(answer)), `${length} bytes`);
  }
});

test('a response to HEAD leaves without its body, and with its length', async () => {
  const answer = await askHeld(({ gate }) => gate.open(), { method: 'HEAD' });
  assert.equal(answer.headers['content-length'], '5');
  assert.equal(await text(answer), '');
});

test('one with trailers, or that is not whole, is not kept from leaving', async () => {
  const answer = await askHeld(({ writer, gate }) => assert.deepEqual([writer.headSent, gate.held], [true, 0]), {
    trailers: fieldsOf({ 'x-sum': '42' }),
  });
  assert.equal(await text(answer), 'whole');
  assert.deepEqual({ ...answer.trailers }, { 'x-sum': '42' });
  const streamed = await ask('GET', async (_unused, raw) => {
    const gate = new Gate();
    const writer = new ResponseWriter(raw, gate.depart);
    const { response, body } = newResponse();
    response.pipe?.write(bytes('half'));
    writer.send(response);
    assert.deepEqual([writer.headSent, gate.held], [true, 0]);
    await turn();
    response.pipe?.write(bytes(' and half'));
    body.finish(undefined);
  });
  assert.equal(await text(streamed), 'half and half');
});

test('a client that is looked after late, and has left, is reported', async () => {
  const { promise, resolve: arrived } = Promise.withResolvers<ServerResponse>();
  work = (_unused, raw) => arrived(raw);
  const outgoing = request({ port, agent: false }).on('error', () => {});
  outgoing.end();
  const raw = await promise;
  outgoing.destroy();
  await once(raw, 'close');
  const writer = new ResponseWriter(raw);
  let reports = 0;
  writer.watch(() => void reports++);
  assert.equal(reports, 1);
  assert.equal(writer.answered, true);
});

const withTrailer = (headers: Readonly<Record<string, string>> = {}): ReturnType<typeof newResponse> =>
  newResponse({ Trailer: 'x-sum', ...headers });

suite('a `trailer` field', () => {
  test('stays where trailers can follow', async () => {
    const { response, body } = withTrailer();
    const answer = await ask('GET', (writer) => writer.hold(response));
    assert.equal(answer.headers['trailer'], 'x-sum');
    response.pipe?.write(bytes('text'));
    body.finish(fieldsOf({ 'x-sum': '1' }));
    assert.equal(await text(answer), 'text');
    assert.equal(answer.trailers['x-sum'], '1');
  });

  test('is left out where none can: a body with its length, HEAD, 204', async () => {
    for (const [method, status, headers] of [
      ['GET', 200, {}],
      ['GET', 200, { 'content-length': '4' }],
      ['HEAD', 200, {}],
      ['GET', 204, {}],
    ] as const) {
      for (const isWhole of [true, false]) {
        const { response, body } = withTrailer(headers);
        response.setStatus(status);
        const hasBody = method === 'GET' && status === 200;
        if (!hasBody) response.pipe?.expectNothing();
        const end = (): void => {
          if (hasBody) response.pipe?.write(bytes('text'));
          body.finish(undefined);
        };
        // A body that is not whole by the end of the turn, and has no length, is chunked.
        if (!isWhole && hasBody && !('content-length' in headers)) continue;
        const answer = await ask(method, (writer) => {
          writer.hold(response);
          if (isWhole) end();
          else setImmediate(end);
        });
        assert.equal(answer.headers['trailer'], undefined, `${method} ${status} ${isWhole}`);
        assert.equal(await text(answer), hasBody ? 'text' : '');
      }
    }
  });
});

test('a response that Node does not take closes its connection, and is reported', async () => {
  const reported: unknown[] = [];
  const failure = new Error('not taken');
  const { response, body } = newResponse();
  const asked = ask('GET', (_, raw) => {
    raw.writeHead = () => {
      throw failure;
    };
    const writer = new ResponseWriter(raw, undefined, (error) => reported.push(error));
    body.finish(undefined);
    writer.send(response);
    assert.equal(writer.answered, true);
  });
  await assert.rejects(asked, { code: 'ECONNRESET' });
  assert.deepEqual(reported, [failure]);
});
