import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
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
  const { promise: closed, resolve } = Promise.withResolvers<ResponseWriter>();
  work = (writer, response) => void response.on('close', () => resolve(writer));
  const outgoing = request({ port, agent: false }).on('error', () => {});
  outgoing.end();
  await once(outgoing, 'finish');
  await sleep(20);
  outgoing.destroy();
  const writer = await closed;
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
