import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { IncomingBody, OutgoingBodyPipe, type BodySource, type BodyTransport } from '../../src/wasi/http-body.ts';
import type { ErrorCode } from '../../src/wasi/http-error.ts';
import { Fields } from '../../src/wasi/http-fields.ts';
import { IncomingResponse, OutgoingResponse } from '../../src/wasi/http-messages.ts';
import { createHost } from '../../src/wasi/index.ts';
import { CLOSED, STREAM_CHUNK_BYTES, type StreamError } from '../../src/wasi/io.ts';
import { err, ok, type Result } from '../../src/wasi/values.ts';
import { TestGuest, settled } from './support.ts';

const TOO_LONG: ErrorCode = { tag: 'HTTP-response-body-size' };
const done = { tag: 'ok', val: undefined };
const closed = { tag: 'err', val: CLOSED };
const bytes = (text: string): Uint8Array => Buffer.from(text);

/** What a transport was told, in order. Takes as many chunks as `room` says before it wants the guest to wait. */
class Recorder implements BodyTransport {
  readonly events: string[] = [];
  room: number;

  constructor(room = Infinity) {
    this.room = room;
  }
  write(chunk: Buffer): boolean {
    this.events.push(chunk.toString());
    this.room--;
    return this.room > 0;
  }
  end(trailers: Fields | null): void {
    this.events.push(trailers === null ? 'END' : `END ${trailers.raw.join(' ')}`);
  }
  abort(): void {
    this.events.push('ABORT');
  }
}

const pipeOf = (promised: number | null = null): OutgoingBodyPipe => new OutgoingBodyPipe(promised, TOO_LONG);

function attached(promised: number | null = null, room?: number): { pipe: OutgoingBodyPipe; transport: Recorder } {
  const pipe = pipeOf(promised);
  const transport = new Recorder(room);
  pipe.attach(transport);
  return { pipe, transport };
}

suite('an outgoing body with a limit', () => {
  const TOO_LARGE: ErrorCode = { tag: 'HTTP-response-body-size', val: 5n };

  test('takes so many bytes, those before it was known counted; one more aborts it', () => {
    const { pipe, transport } = attached();
    let calls = 0;
    pipe.write(bytes('12'));
    // What has gone to a transport before is not counted: a response gets its limit before its transport.
    assert.ok(pipe.limitTo(3, TOO_LARGE, () => calls++));
    assert.deepEqual(pipe.write(bytes('345')), ok(undefined));
    assert.equal(calls, 0);
    assert.equal(pipe.write(bytes('6')).tag, 'err');
    assert.equal(calls, 1);
    assert.deepEqual(transport.events, ['12', '345', 'ABORT']);
    assert.deepEqual(pipe.finish(null), err(TOO_LARGE));
  });

  test('counts what it holds', () => {
    const pipe = pipeOf();
    pipe.write(bytes('123'));
    assert.ok(pipe.limitTo(3, TOO_LARGE, () => {}));
    assert.equal(pipe.write(bytes('4')).tag, 'err');
  });

  test('is known to be too large by its Content-Length', () => {
    const pipe = pipeOf(6);
    pipe.write(bytes('12'));
    assert.ok(!pipe.limitTo(5, TOO_LARGE, () => {}));
    assert.ok(pipe.limitTo(6, TOO_LARGE, () => {}));
  });
});

suite('an outgoing body before its transport', () => {
  test('holds one chunk, and hands it over in order', () => {
    const pipe = pipeOf();
    assert.deepEqual(pipe.capacity(), ok(STREAM_CHUNK_BYTES));
    pipe.write(bytes('abc'));
    pipe.write(bytes('de'));
    assert.deepEqual(pipe.capacity(), ok(STREAM_CHUNK_BYTES - 5));
    const transport = new Recorder();
    pipe.attach(transport);
    assert.deepEqual(transport.events, ['abc', 'de']);
    assert.deepEqual(pipe.capacity(), ok(STREAM_CHUNK_BYTES));
    pipe.write(bytes('f'));
    assert.deepEqual(transport.events, ['abc', 'de', 'f']);
  });

  test('when it is full, makes the guest wait until a transport takes it', async () => {
    const pipe = pipeOf();
    pipe.write(new Uint8Array(STREAM_CHUNK_BYTES));
    assert.deepEqual(pipe.capacity(), ok(0));
    assert.equal(pipe.ready(), false);
    let woken = false;
    const waiting = pipe.wait().then(() => {
      woken = true;
    });
    await settled();
    assert.equal(woken, false);
    pipe.attach(new Recorder());
    await waiting;
    assert.ok(pipe.ready());
  });

  test('is taken whole when it is all there', () => {
    const pipe = pipeOf();
    pipe.write(bytes('abc'));
    assert.equal(pipe.takeWhole(), null);
    const trailers = Fields.empty();
    pipe.finish(trailers);
    const whole = pipe.takeWhole();
    assert.deepEqual(Buffer.concat(whole?.chunks ?? []).toString(), 'abc');
    assert.equal(whole?.trailers, trailers);
  });

  test('is not taken whole when it was aborted, or when it has a transport', () => {
    const aborted = pipeOf();
    aborted.write(bytes('abc'));
    aborted.abort();
    assert.equal(aborted.takeWhole(), null);
    const { pipe } = attached();
    pipe.finish(null);
    assert.equal(pipe.takeWhole(), null);
  });

  test('that is finished, or aborted, tells the transport when it comes', () => {
    const finished = pipeOf();
    finished.write(bytes('abc'));
    finished.finish(null);
    const transport = new Recorder();
    finished.attach(transport);
    assert.deepEqual(transport.events, ['abc', 'END']);

    const aborted = pipeOf();
    aborted.write(bytes('abc'));
    aborted.abort();
    const other = new Recorder();
    aborted.attach(other);
    assert.deepEqual(other.events, ['ABORT']);
  });

  test('copies what it holds: the guest may reuse its memory', () => {
    const pipe = pipeOf();
    const memory = Buffer.from('abc');
    pipe.write(memory);
    memory.fill('?');
    const transport = new Recorder();
    pipe.attach(transport);
    assert.deepEqual(transport.events, ['abc']);
  });
});

suite('an outgoing body with its transport', () => {
  test('writes through, and ends with its trailers', () => {
    const { pipe, transport } = attached();
    const trailers = Fields.empty();
    trailers.append('x-sum', bytes('1'));
    assert.deepEqual(pipe.write(bytes('abc')), done);
    assert.deepEqual(pipe.write(bytes('')), done);
    assert.deepEqual(pipe.finish(trailers), done);
    assert.deepEqual(transport.events, ['abc', 'END x-sum 1']);
    assert.equal(pipe.state, 'finished');
  });

  test('passes back-pressure on: no room until the transport has drained', async () => {
    const { pipe } = attached(null, 2);
    pipe.write(bytes('a'));
    assert.ok(pipe.ready());
    pipe.write(bytes('b'));
    assert.deepEqual(pipe.capacity(), ok(0));
    let woken = 0;
    const waiting = [pipe.wait(), pipe.wait()].map((one) => one.then(() => woken++));
    await settled();
    assert.equal(woken, 0);
    pipe.drained();
    await Promise.all(waiting);
    assert.deepEqual(pipe.capacity(), ok(STREAM_CHUNK_BYTES));
  });

  test('takes back-pressure from what it held, too', () => {
    const pipe = pipeOf();
    pipe.write(bytes('a'));
    pipe.attach(new Recorder(1));
    assert.deepEqual(pipe.capacity(), ok(0));
    pipe.drained();
    assert.ok(pipe.ready());
  });

  test('after finish or abort, takes nothing more and tells the transport once', () => {
    for (const last of ['finish', 'abort'] as const) {
      const { pipe, transport } = attached();
      if (last === 'finish') pipe.finish(null);
      else pipe.abort();
      assert.deepEqual(pipe.capacity(), closed);
      assert.deepEqual(pipe.write(bytes('a')), closed);
      assert.deepEqual(pipe.finish(null), err({ tag: 'connection-terminated' }));
      pipe.abort();
      assert.deepEqual(transport.events, [last === 'finish' ? 'END' : 'ABORT']);
    }
  });

  test('whose peer fails gives the guest the error, now and at every write', async () => {
    const { pipe } = attached(null, 1);
    pipe.write(bytes('a'));
    const waiting = pipe.wait();
    const failure = { tag: 'err', val: CLOSED };
    pipe.fail(CLOSED);
    await waiting;
    assert.deepEqual(pipe.capacity(), failure);
    assert.deepEqual(pipe.write(bytes('b')), failure);
    assert.deepEqual(pipe.finish(null), err({ tag: 'connection-terminated' }));
    assert.equal(pipe.state, 'failed');
  });

  test('that is aborted wakes who waits', async () => {
    const { pipe } = attached(null, 1);
    pipe.write(bytes('a'));
    const waiting = pipe.wait();
    pipe.abort();
    await waiting;
    assert.deepEqual(pipe.capacity(), closed);
  });
});

suite('Content-Length', () => {
  test('is kept exactly, or the body is aborted and the guest told', () => {
    const lengths = fc.array(fc.nat(4), { maxLength: 5 });
    fc.assert(
      fc.property(fc.nat(12), lengths, fc.boolean(), (promised, pieces, early) => {
        const pipe = pipeOf(promised);
        const transport = new Recorder();
        if (early) pipe.attach(transport);
        let sent = '';
        let isLonger = false;
        for (const length of pieces) {
          const text = 'x'.repeat(length);
          const result = pipe.write(bytes(text));
          if (isLonger) assert.deepEqual(result, closed);
          else if (sent.length + length <= promised) assert.deepEqual(result, done);
          else assert.ok(result.tag === 'err' && result.val.tag === 'last-operation-failed');
          isLonger ||= sent.length + length > promised;
          if (!isLonger) sent += text;
        }
        const isExact = !isLonger && sent.length === promised;
        assert.deepEqual(pipe.finish(null), isExact ? done : err(TOO_LONG));
        if (!early) pipe.attach(transport);
        assert.equal(transport.events.at(-1), isExact ? 'END' : 'ABORT');
        if (early || isExact) assert.equal(transport.events.slice(0, -1).join(''), sent);
      }),
      { numRuns: 300 },
    );
  });

  test('that is broken has an error that http-error-code knows', () => {
    const { pipe } = attached(1);
    const result = pipe.write(bytes('ab'));
    assert.ok(result.tag === 'err' && result.val.tag === 'last-operation-failed');
    assert.equal(result.val.val.cause, TOO_LONG);
  });
});

suite('wasi:http/types outgoing-body', () => {
  const host = createHost();
  const HTTP = 'wasi:http/types#';

  /** A response with fields, and the handle of its body. */
  function response(fields: Readonly<Record<string, string>>): {
    guest: TestGuest;
    message: OutgoingResponse;
    body: number;
    write: (text: string) => unknown;
    finish: () => unknown;
  } {
    const guest = new TestGuest(host);
    const headers = Fields.empty();
    for (const [name, value] of Object.entries(fields)) headers.append(name, bytes(value));
    const message = new OutgoingResponse(headers);
    const handle = guest.guest.handles.add(message);
    const made = guest.call(`${HTTP}[method]outgoing-response.body`, handle);
    assert.deepEqual(made, ok(handle + 1));
    assert.deepEqual(guest.call(`${HTTP}[method]outgoing-response.body`, handle), err(undefined));
    const body = handle + 1;
    const stream = body + 1;
    assert.deepEqual(guest.call(`${HTTP}[method]outgoing-body.write`, body), ok(stream));
    assert.deepEqual(guest.call(`${HTTP}[method]outgoing-body.write`, body), err(undefined));
    return {
      guest,
      message,
      body,
      write: (text) =>
        guest.call('wasi:io/streams#[method]output-stream.blocking-write-and-flush', stream, ...guest.bytes(text)),
      finish: () => guest.call(`${HTTP}[static]outgoing-body.finish`, body, 0, 0),
    };
  }

  test('that keeps its Content-Length is whole', () => {
    const { message, write, finish } = response({ 'Content-Length': '3' });
    write('abc');
    assert.deepEqual(finish(), done);
    assert.equal(Buffer.concat(message.pipe?.takeWhole()?.chunks ?? []).toString(), 'abc');
  });

  test('that is shorter or longer ends with HTTP-response-body-size', () => {
    const size = err({ ...TOO_LONG, val: undefined });
    const shorter = response({ 'Content-Length': '3' });
    shorter.write('ab');
    assert.deepEqual(shorter.finish(), size);
    assert.equal(shorter.message.pipe?.state, 'aborted');

    const longer = response({ 'Content-Length': '3' });
    const error = longer.body + 2;
    assert.deepEqual(longer.write('abcd'), err({ tag: 'last-operation-failed', val: error }));
    assert.deepEqual(longer.guest.call(`${HTTP}http-error-code`, error), { ...TOO_LONG, val: undefined });
    assert.deepEqual(longer.finish(), size);
    assert.equal(longer.message.pipe?.state, 'aborted');
  });

  test('that is dropped without finish is aborted, also when the request ends', () => {
    const dropped = response({});
    dropped.write('ab');
    dropped.guest.guest.handles.drop(dropped.body, 'wasi:http/types#outgoing-body');
    assert.equal(dropped.message.pipe?.state, 'aborted');

    const left = response({});
    left.guest.guest.end();
    assert.equal(left.message.pipe?.state, 'aborted');
  });

  test('that is finished stays whole when the request ends', () => {
    const { guest, message, write, finish } = response({});
    write('ab');
    finish();
    guest.guest.end();
    assert.equal(message.pipe?.state, 'finished');
  });
});

/** A body that a peer sends: some bytes, then trailers when asked. */
class Sent implements BodySource {
  text: string;
  ended = false;
  cancelled = 0;
  #wake: (() => void)[] = [];

  constructor(text: string) {
    this.text = text;
  }
  read(max: number): Result<Uint8Array, StreamError> {
    if (this.text === '' && this.ended) return err(CLOSED);
    const piece = bytes(this.text.slice(0, max));
    this.text = this.text.slice(max);
    return ok(piece);
  }
  ready(): boolean {
    return this.text !== '' || this.ended;
  }
  wait(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }
  trailers(): Result<Fields | undefined, ErrorCode> | null {
    return this.ended ? ok(Fields.received(['x-sum', '1'])) : null;
  }
  waitForTrailers(): Promise<void> {
    return this.wait();
  }
  cancel(): void {
    this.cancelled++;
  }
  end(): void {
    this.ended = true;
    for (const resolve of this.#wake.splice(0)) resolve();
  }
}

suite('an incoming body', () => {
  test('gives its stream once, and what the source has', () => {
    const body = new IncomingBody(new Sent('abc'));
    const stream = body.stream();
    assert.ok(stream.tag === 'ok');
    assert.deepEqual(body.stream(), err(undefined));
    assert.deepEqual(stream.val.read(2), ok(bytes('ab')));
    assert.deepEqual(stream.val.read(2), ok(bytes('c')));
  });

  test('has trailers when it has ended, once', async () => {
    const source = new Sent('');
    const trailers = new IncomingBody(source).finish();
    assert.equal(trailers.get(), undefined);
    assert.equal(trailers.ready(), false);
    const waiting = trailers.wait();
    source.end();
    await waiting;
    assert.ok(trailers.ready());
    const got = trailers.get();
    assert.ok(got?.tag === 'ok' && got.val.tag === 'ok');
    assert.deepEqual(got.val.val?.get('x-sum'), ['1']);
    assert.deepEqual(trailers.get(), err(undefined));
  });

  test('is cancelled when it is dropped, unless it was finished', () => {
    const source = new Sent('abc');
    new IncomingBody(source).dispose();
    assert.equal(source.cancelled, 1);
    const body = new IncomingBody(source);
    body.finish();
    body.dispose();
    assert.equal(source.cancelled, 1);
  });

  test('is consumed once, and cancelled with a response that nobody consumed', () => {
    const source = new Sent('abc');
    const response = new IncomingResponse(200, Fields.empty(), source);
    assert.equal(response.consume().tag, 'ok');
    assert.deepEqual(response.consume(), err(undefined));
    response.dispose();
    assert.equal(source.cancelled, 0);
    new IncomingResponse(200, Fields.empty(), source).dispose();
    assert.equal(source.cancelled, 1);
  });
});
