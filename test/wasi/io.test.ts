import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import { HostResource } from '../../src/wasi/handles.ts';
import { createHost } from '../../src/wasi/index.ts';
import { CLOSED, IoError, Pollable, STREAM_CHUNK_BYTES, failed } from '../../src/wasi/io.ts';
import { Sink, Source, Switch } from './streams.ts';
import { TestGuest, settled } from './support.ts';

const host = createHost();
const done = { tag: 'ok', val: undefined };
const closed = { tag: 'err', val: { tag: 'closed', val: undefined } };

class StreamGuest extends TestGuest {
  constructor() {
    super(host);
  }
  own(resource: HostResource): number {
    return this.guest.handles.add(resource);
  }
  out(method: string, stream: number, ...flat: (number | bigint)[]): unknown {
    return this.call(`wasi:io/streams#[method]output-stream.${method}`, stream, ...flat);
  }
  in(method: string, stream: number, ...flat: (number | bigint)[]): unknown {
    return this.call(`wasi:io/streams#[method]input-stream.${method}`, stream, ...flat);
  }
  poll(...pollables: number[]): unknown {
    const list = this.arena.realloc(0, 0, 4, pollables.length * 4);
    for (const [index, handle] of pollables.entries()) this.abi.view.setUint32(list + index * 4, handle, true);
    return this.call('wasi:io/poll#poll', list, pollables.length);
  }
}

/** Whether a call is still waiting, after everything that is due has run. */
async function isPending(call: unknown): Promise<boolean> {
  assert.ok(call instanceof Promise);
  const pending = Symbol('pending');
  return (await Promise.race([call, settled().then(() => pending)])) === pending;
}

suite('poll', () => {
  test('answers at once with the indexes of all that are ready', () => {
    const guest = new StreamGuest();
    const switches = [new Switch(), new Switch(), new Switch()];
    const handles = switches.map((one) => guest.own(new Pollable(one)));
    switches[0]?.turnOn();
    switches[2]?.turnOn();
    assert.deepEqual(guest.poll(...handles), [0, 2]);
    const [first = 0, second = 0] = handles;
    assert.deepEqual(guest.poll(second, first, first), [1, 2]);
    assert.equal(switches[1]?.waits, 0);
  });

  test('waits for one, through wake-ups for nothing, with one listener however often it is polled', async () => {
    const guest = new StreamGuest();
    const [quiet, other] = [new Switch(), new Switch()];
    const handles = [quiet, other].map((one) => guest.own(new Pollable(one)));
    const polled = guest.poll(...handles);
    assert.ok(await isPending(polled));
    for (let round = 0; round < 3; round++) {
      other.wake();
      assert.ok(await isPending(polled));
    }
    other.turnOn();
    assert.deepEqual(await polled, [1]);
    assert.equal(quiet.waits, 1);
    const again = guest.poll(...handles.slice(0, 1));
    assert.ok(await isPending(again));
    assert.equal(quiet.waits, 1);
    quiet.turnOn();
    assert.deepEqual(await again, [0]);
  });

  test('of nothing, or of too much, traps', () => {
    const guest = new StreamGuest();
    assert.throws(() => guest.poll(), { code: 'ABI_VIOLATION' });
    const ready = new Switch();
    ready.turnOn();
    const handle = guest.own(new Pollable(ready));
    assert.throws(() => guest.poll(...Array.from({ length: 10_001 }, () => handle)), { code: 'GUEST_LIMIT' });
    assert.throws(() => guest.poll(handle, handle + 1), { code: 'HANDLE_INVALID' });
  });

  test('a pollable that is dropped lets go of its source', () => {
    const guest = new StreamGuest();
    const source = new Switch();
    guest.guest.handles.drop(guest.own(new Pollable(source)), 'wasi:io/poll#pollable');
    assert.equal(source.released, 1);
  });

  test('block waits until it is ready, not until it is woken', async () => {
    const guest = new StreamGuest();
    const source = new Switch();
    const handle = guest.own(new Pollable(source));
    const blocked = guest.call('wasi:io/poll#[method]pollable.block', handle);
    source.wake();
    assert.ok(await isPending(blocked));
    source.turnOn();
    assert.equal(await blocked, undefined);
    assert.equal(guest.call('wasi:io/poll#[method]pollable.block', handle), undefined);
  });
});

suite('output-stream', () => {
  test('takes what check-write permitted, once, and traps on more', () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const stream = guest.own(sink);
    const write = (text: string): unknown => guest.out('write', stream, ...guest.bytes(text));
    assert.throws(() => write('a'), { code: 'ABI_VIOLATION' });
    assert.deepEqual(write(''), done);
    sink.room = 5;
    assert.deepEqual(guest.out('check-write', stream), { tag: 'ok', val: 5n });
    assert.deepEqual(write('abc'), done);
    assert.deepEqual(write('de'), done);
    assert.throws(() => write('f'), { code: 'ABI_VIOLATION' });
    sink.room = 5;
    guest.out('check-write', stream);
    assert.throws(() => write('fghijk'), { code: 'ABI_VIOLATION' });
    assert.equal(sink.text, 'abcde');
  });

  test('a check-write that fails permits nothing', () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const stream = guest.own(sink);
    sink.room = 5;
    guest.out('check-write', stream);
    sink.fail(CLOSED);
    assert.deepEqual(guest.out('check-write', stream), closed);
    assert.throws(() => guest.out('write', stream, ...guest.bytes('a')), { code: 'ABI_VIOLATION' });
  });

  test('a blocking write larger than the permit goes in pieces, in order, and whole', async () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const stream = guest.own(sink);
    const [pointer, length] = guest.bytes('abcdefghij');
    const writing = guest.out('blocking-write-and-flush', stream, pointer, length);
    assert.ok(await isPending(writing));
    for (const room of [3, 1, 5]) {
      sink.grant(room);
      assert.ok(await isPending(writing));
    }
    // The host has no copy of what is still to come, which may be as much as the guest has.
    guest.abi.bytes.write('z', pointer + length - 1);
    sink.grant(100);
    assert.deepEqual(await writing, done);
    assert.equal(sink.text, 'abcdefghiz');
    assert.deepEqual(
      sink.written.map((piece) => piece.length),
      [3, 1, 5, 1],
    );
  });

  test('a blocking write that fits does not wait', () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    sink.room = 10;
    assert.deepEqual(guest.out('blocking-write-and-flush', guest.own(sink), ...guest.bytes('abc')), done);
    assert.equal(sink.text, 'abc');
  });

  test('a blocking write ends with the error of the stream', async () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const writing = guest.out('blocking-write-and-flush', guest.own(sink), ...guest.bytes('abc'));
    sink.fail(CLOSED);
    assert.deepEqual(await writing, closed);
  });

  test('abort rejects a blocking write that waits, and nothing more is written', async () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const writing = guest.out('blocking-write-and-flush', guest.own(sink), ...guest.bytes('abc'));
    guest.guest.abort(new ThawError('CLIENT_GONE', 'for the test'));
    sink.grant(100);
    await assert.rejects(async () => writing, { code: 'CLIENT_GONE' });
    await settled();
    assert.equal(sink.text, '');
  });

  test('the failure of an operation comes with an error that says what happened', () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const stream = guest.own(sink);
    const cause = { tag: 'HTTP-response-body-size' };
    sink.fail(failed('the pipe broke', cause));
    const result = guest.out('check-write', stream);
    const error = stream + 1;
    assert.deepEqual(result, { tag: 'err', val: { tag: 'last-operation-failed', val: error } });
    assert.equal(guest.call('wasi:io/error#[method]error.to-debug-string', error), 'the pipe broke');
    assert.deepEqual(guest.call('wasi:http/types#http-error-code', error), { ...cause, val: undefined });
    const other = guest.own(new IoError('of no HTTP', new Error('disk full')));
    assert.equal(guest.call('wasi:http/types#http-error-code', other), undefined);
  });

  test('flush waits for room when there is none', async () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const stream = guest.own(sink);
    assert.deepEqual(guest.out('flush', stream), done);
    const flushing = guest.out('blocking-flush', stream);
    assert.ok(await isPending(flushing));
    sink.grant(1);
    assert.deepEqual(await flushing, done);
    assert.deepEqual(guest.out('blocking-flush', stream), done);
  });

  test('zeroes are written under the same permit', async () => {
    const guest = new StreamGuest();
    const sink = new Sink();
    const stream = guest.own(sink);
    sink.room = 4;
    guest.out('check-write', stream);
    assert.deepEqual(guest.out('write-zeroes', stream, 3n), done);
    assert.throws(() => guest.out('write-zeroes', stream, 2n), { code: 'ABI_VIOLATION' });
    assert.throws(() => guest.out('write-zeroes', stream, 2n ** 63n), { code: 'ABI_VIOLATION' });
    sink.room = 3 * STREAM_CHUNK_BYTES;
    const length = BigInt(STREAM_CHUNK_BYTES);
    assert.deepEqual(await guest.out('blocking-write-zeroes-and-flush', stream, length), done);
    for (const tooMany of [length + 1n, 2n ** 63n]) {
      assert.throws(() => guest.out('blocking-write-zeroes-and-flush', stream, tooMany), { code: 'ABI_VIOLATION' });
    }
    const all = Buffer.concat(sink.written);
    assert.equal(all.length, 3 + Number(length));
    assert.ok(all.every((byte) => byte === 0));
  });
});

suite('input-stream', () => {
  test('read gives what is there, nothing when nothing is, and the end', () => {
    const guest = new StreamGuest();
    const source = new Source();
    const stream = guest.own(source);
    const read = (length: bigint): unknown => {
      const result = guest.in('read', stream, length);
      assert.ok(typeof result === 'object' && result !== null && 'val' in result);
      return result.val instanceof Uint8Array ? Buffer.from(result.val).toString() : result;
    };
    assert.equal(read(10n), '');
    source.feed('abcdef');
    assert.equal(read(4n), 'abcd');
    assert.equal(read(2n ** 64n - 1n), 'ef');
    source.end();
    assert.deepEqual(read(1n), closed);
  });

  test('one read moves at most a chunk', () => {
    const guest = new StreamGuest();
    const source = new Source();
    source.feed('x'.repeat(STREAM_CHUNK_BYTES + 1));
    const stream = guest.own(source);
    assert.deepEqual(guest.in('skip', stream, 2n ** 40n), { tag: 'ok', val: BigInt(STREAM_CHUNK_BYTES) });
    assert.deepEqual(guest.in('skip', stream, 2n ** 40n), { tag: 'ok', val: 1n });
  });

  test('blocking reads and skips wait for a byte or the end, unless they want none', async () => {
    const guest = new StreamGuest();
    const source = new Source();
    const stream = guest.own(source);
    assert.deepEqual(guest.in('blocking-skip', stream, 0n), { tag: 'ok', val: 0n });
    const reading = guest.in('blocking-read', stream, 10n);
    assert.ok(await isPending(reading));
    source.feed('ab');
    assert.deepEqual(await reading, { tag: 'ok', val: Buffer.from('ab') });
    const skipping = guest.in('blocking-skip', stream, 10n);
    assert.ok(await isPending(skipping));
    source.feed('c');
    assert.deepEqual(await skipping, { tag: 'ok', val: 1n });
    const ending = guest.in('blocking-read', stream, 10n);
    source.end();
    assert.deepEqual(await ending, closed);
  });

  test('abort rejects a blocking read that waits', async () => {
    const guest = new StreamGuest();
    const reading = guest.in('blocking-read', guest.own(new Source()), 10n);
    guest.guest.abort(new ThawError('WALL_TIME_EXCEEDED', 'for the test'));
    await assert.rejects(async () => reading, { code: 'WALL_TIME_EXCEEDED' });
  });
});

suite('splice', () => {
  test('moves no more than there is, fits and was asked for', () => {
    const guest = new StreamGuest();
    const [source, sink] = [new Source(), new Sink()];
    const [from, to] = [guest.own(source), guest.own(sink)];
    source.feed('abcdefgh');
    const splice = (length: bigint): unknown => guest.out('splice', to, from, length);
    assert.deepEqual(splice(5n), { tag: 'ok', val: 0n });
    sink.room = 3;
    assert.deepEqual(splice(5n), { tag: 'ok', val: 3n });
    sink.room = 100;
    assert.deepEqual(splice(2n), { tag: 'ok', val: 2n });
    assert.deepEqual(splice(100n), { tag: 'ok', val: 3n });
    assert.equal(sink.text, 'abcdefgh');
    source.end();
    assert.deepEqual(splice(1n), closed);
  });

  test('blocking, waits for room and for bytes', async () => {
    const guest = new StreamGuest();
    const [source, sink] = [new Source(), new Sink()];
    const splicing = guest.out('blocking-splice', guest.own(sink), guest.own(source), 10n);
    assert.ok(await isPending(splicing));
    sink.grant(2);
    assert.ok(await isPending(splicing));
    source.feed('abc');
    assert.deepEqual(await splicing, { tag: 'ok', val: 2n });
    assert.equal(sink.text, 'ab');
  });
});
