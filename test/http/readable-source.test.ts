import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { EmptySource, ReadableSource, type ReadableSourceOptions } from '../../src/http/readable-source.ts';
import { IncomingBody } from '../../src/wasi/http-body.ts';
import type { ErrorCode } from '../../src/wasi/http-error.ts';
import type { StreamError } from '../../src/wasi/io.ts';
import type { Result } from '../../src/wasi/values.ts';

const TOO_LARGE: ErrorCode = { tag: 'HTTP-request-body-size', val: 5n };

const options = (more: Partial<ReadableSourceOptions> = {}): ReadableSourceOptions => ({
  maxBytes: Number.MAX_SAFE_INTEGER,
  tooLarge: TOO_LARGE,
  rawTrailers: () => [],
  errorCode: () => ({ tag: 'HTTP-protocol-error' }),
  onCancel: () => {},
  ...more,
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What a read found: the text, or what ends the stream. */
function found(result: Result<Uint8Array, StreamError>): string {
  if (result.tag === 'ok') return Buffer.from(result.val).toString('latin1');
  return result.val.tag === 'closed' ? 'closed' : `failed ${(result.val.val.cause as ErrorCode).tag}`;
}

/** Reads to the end, waiting as a guest does. */
async function readAll(source: ReadableSource, max: number): Promise<string[]> {
  const parts: string[] = [];
  for (;;) {
    await source.wait();
    const read = source.read(max);
    parts.push(found(read));
    if (read.tag === 'err') return parts;
  }
}

test('nothing is there until something arrives', async () => {
  const stream = new PassThrough();
  const source = new ReadableSource(stream, options());
  await turn();
  assert.equal(source.ready(), false);
  assert.equal(found(source.read(10)), '');
  let hasWaited = false;
  const waiting = source.wait().then(() => {
    hasWaited = true;
  });
  await turn();
  assert.equal(hasWaited, false);
  stream.write('hello');
  await waiting;
  assert.equal(source.ready(), true);
  assert.equal(found(source.read(2)), 'he');
  assert.equal(found(source.read(100)), 'llo');
  assert.equal(source.ready(), false);
  stream.end();
  assert.deepEqual(await readAll(source, 10), ['closed']);
  assert.equal(found(source.read(10)), 'closed', 'and stays so');
});

test('any chunks, read in pieces of any size, are the same bytes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 60 }),
      async (chunks, max) => {
        const stream = new PassThrough({ highWaterMark: 64 });
        const source = new ReadableSource(stream, options());
        Readable.from(chunks.map((chunk) => Buffer.from(chunk))).pipe(stream);
        const parts = await readAll(source, max);
        assert.equal(parts.pop(), 'closed');
        assert.ok(parts.every((part) => part.length <= max));
        assert.equal(parts.join(''), Buffer.concat(chunks).toString('latin1'));
      },
    ),
    { numRuns: 50 },
  );
});

test('what is not read is not asked for', async () => {
  let made = 0;
  const stream = new Readable({
    highWaterMark: 1000,
    read() {
      made += 100;
      this.push(Buffer.alloc(100));
    },
  });
  const source = new ReadableSource(stream, options());
  for (let round = 0; round < 10; round++) await turn();
  assert.ok(made <= 1100, `${made} bytes made for a reader that reads none`);
  source.read(500);
  for (let round = 0; round < 10; round++) await turn();
  assert.ok(made <= 1600, `${made} bytes made for a reader of 500`);
  stream.destroy();
});

test('a body of as many bytes as the limit is whole; one more is an error that stays', async () => {
  for (const [sent, end, calls] of [
    ['12345', 'closed', 0],
    ['123456', 'failed HTTP-request-body-size', 1],
  ] as const) {
    let called = 0;
    const stream = new PassThrough();
    const source = new ReadableSource(stream, options({ maxBytes: 5, onTooLarge: () => void called++ }));
    stream.end(sent);
    const parts = await readAll(source, 3);
    assert.equal(parts.at(-1), end);
    assert.equal(found(source.read(10)), end);
    assert.equal(called, calls);
    assert.ok(parts.slice(0, -1).join('').length <= 5);
  }
});

test('a stream that fails or is cut is not a body that has ended', async () => {
  for (const [reason, code] of [
    [new Error('on purpose'), 'HTTP-protocol-error'],
    [undefined, 'connection-terminated'],
  ] as const) {
    const stream = new PassThrough();
    const source = new ReadableSource(stream, options());
    const waiting = source.wait();
    stream.destroy(reason);
    await waiting;
    assert.equal(found(source.read(10)), `failed ${code}`);
    assert.deepEqual(source.trailers(), { tag: 'err', val: { tag: code } });
  }
});

test('trailers are there when the body is at its end, and not before', async () => {
  const stream = new PassThrough();
  const source = new ReadableSource(stream, options({ rawTrailers: () => ['X-Sum', '42'] }));
  stream.end('body');
  await source.wait();
  assert.equal(source.trailers(), null);
  // Nobody has read the body: waiting throws it away.
  await source.waitForTrailers();
  const trailers = source.trailers();
  assert.ok(trailers?.tag === 'ok');
  assert.deepEqual(trailers.val?.entries(), [['X-Sum', '42']]);
});

test('a body without trailers has none', async () => {
  const stream = new PassThrough();
  const source = new ReadableSource(stream, options());
  stream.end();
  await source.waitForTrailers();
  assert.deepEqual(source.trailers(), { tag: 'ok', val: undefined });
});

test('cancelling tells the transport, unless the body has ended', async () => {
  let cancelled = 0;
  const stream = new PassThrough();
  const source = new ReadableSource(stream, options({ onCancel: () => void cancelled++ }));
  source.cancel();
  assert.equal(cancelled, 1);
  stream.end();
  await readAll(source, 1);
  source.cancel();
  assert.equal(cancelled, 1);
});

test('a guest may subscribe to a body as often as it likes: the host holds one pollable', () => {
  const stream = new IncomingBody(new EmptySource()).stream();
  assert.ok(stream.tag === 'ok');
  assert.equal(stream.val.subscribe(), stream.val.subscribe());
  assert.equal(stream.val.subscribe().ready(), true);
});

test('a message without a body is at its end from the start', async () => {
  const source = new EmptySource();
  assert.equal(source.ready(), true);
  assert.equal(found(source.read()), 'closed');
  assert.deepEqual(source.trailers(), { tag: 'ok', val: undefined });
  await source.wait();
  await source.waitForTrailers();
});
