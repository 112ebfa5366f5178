import { ThawError } from '../errors.ts';
import type { Guest } from './guest.ts';
import { HostResource } from './handles.ts';
import type { HostInterface } from './host.ts';
import { OK, ok, type Result } from './values.ts';

/** wasi:io@0.2: error, poll, streams. Source: WASI proposals, wasi-io. */

/**
 * The most that one read, write permit or run of zeroes moves. A bound on what the host allocates for one call, and large
 * enough that the cost of the call itself does not count.
 */
export const STREAM_CHUNK_BYTES = 65_536;

/** Pollables in one call of `poll`; the memory for the list is the guest's, the work is the host's. */
const MAX_POLL_LIST = 10_000;

export class IoError extends HostResource {
  override readonly resource = 'wasi:io/error#error';
  readonly message: string;
  /** What `http-error-code` finds in it, when the failure was HTTP's. */
  readonly cause: unknown;

  constructor(message: string, cause: unknown) {
    super();
    this.message = message;
    this.cause = cause;
  }
}

export type StreamError = { readonly tag: 'closed' } | { readonly tag: 'last-operation-failed'; readonly val: IoError };
export const CLOSED: StreamError = { tag: 'closed' };
export const failed = (message: string, cause: unknown): StreamError => ({
  tag: 'last-operation-failed',
  val: new IoError(message, cause),
});

/** Something that a guest can wait for. */
export interface Waitable {
  ready(): boolean;
  /** Resolves when `ready` may have become true; never rejects. */
  wait(): Promise<void>;
  /** Nobody will wait any more: lets go of timers and the like. */
  release?(): void;
}

export class Pollable extends HostResource {
  override readonly resource = 'wasi:io/poll#pollable';
  readonly #source: Waitable;
  /** One wait at a time, however often a guest polls: a source gathers no listeners. */
  #waiting: Promise<void> | null = null;
  /** Called when the wait is over. One is enough: a guest has one stack, which waits in one place. */
  #waker: (() => void) | null = null;

  constructor(source: Waitable) {
    super();
    this.#source = source;
  }

  ready(): boolean {
    return this.#source.ready();
  }

  wait(): Promise<void> {
    return (this.#waiting ??= this.#wait());
  }

  async #wait(): Promise<void> {
    await this.#source.wait();
    this.#waiting = null;
    this.#waker?.();
  }

  /** Like `wait`, but nobody is told any more after `wake(null)`: of a list that is polled, one may never be ready. */
  wake(waker: (() => void) | null): void {
    this.#waker = waker;
    if (waker !== null) void this.wait();
  }

  override dispose(): void {
    this.#source.release?.();
  }
}

export abstract class InputStream extends HostResource implements Waitable {
  override readonly resource = 'wasi:io/streams#input-stream';
  #pollable: Pollable | null = null;

  /** Up to `max` bytes that are here now, none when there are none yet, or the error that ends the stream. */
  abstract read(max: number): Result<Uint8Array, StreamError>;
  abstract ready(): boolean;
  abstract wait(): Promise<void>;

  /**
   * One for all handles: there is nothing in it but the stream. StarlingMonkey subscribes before each read of 8 KiB and
   * never drops what it got, which for a body of 1 GiB are 131,072.
   */
  subscribe(): Pollable {
    return (this.#pollable ??= new Pollable(this));
  }
}

export abstract class OutputStream extends HostResource implements Waitable {
  override readonly resource = 'wasi:io/streams#output-stream';
  /** Bytes that the last check-write permitted and that are not written yet. */
  #permit = 0;

  /** Bytes that may be written now; 0 when the guest must wait. At most {@link STREAM_CHUNK_BYTES}. */
  protected abstract capacity(): Result<number, StreamError>;
  /** Takes the bytes, copying what it keeps. Called with no more than `capacity` allowed. */
  protected abstract accept(bytes: Uint8Array): Result<undefined, StreamError>;
  abstract ready(): boolean;
  abstract wait(): Promise<void>;

  checkWrite(): Result<number, StreamError> {
    const capacity = this.capacity();
    this.#permit = capacity.tag === 'ok' ? capacity.val : 0;
    return capacity;
  }

  /** Traps when it is more than the last `checkWrite` permitted, as the interface demands. */
  write(bytes: Uint8Array): Result<undefined, StreamError> {
    if (bytes.length > this.#permit) {
      throw new ThawError(
        'ABI_VIOLATION',
        `a write of ${bytes.length} bytes, where check-write permitted ${this.#permit}`,
      );
    }
    this.#permit -= bytes.length;
    return this.accept(bytes);
  }
}

export const ioError: HostInterface = {
  name: 'wasi:io/error',
  wit: `resource error { to-debug-string: func() -> string; }`,
  funcs: { '[method]error.to-debug-string': (_, self: IoError) => self.message },
};

export const ioPoll: HostInterface = {
  name: 'wasi:io/poll',
  wit: `
    resource pollable { ready: func() -> bool; block: func(); }
    poll: func(in: list<borrow<pollable>>) -> list<u32>;`,
  funcs: {
    '[method]pollable.ready': (_, self: Pollable) => self.ready(),
    '[method]pollable.block': (guest, self: Pollable) => (self.ready() ? undefined : waited(guest, self)),
    poll: (guest, list: readonly Pollable[]) => poll(guest, list),
  },
  suspends: ['[method]pollable.block', 'poll'],
};

async function waitUntilReady(guest: Guest, source: Waitable): Promise<void> {
  while (!source.ready()) await guest.suspend(source.wait());
}

/** The same for a host function that has not waited so far: whatever may wait begins with `commit`. */
function waited(guest: Guest, source: Waitable): Promise<void> {
  guest.commit();
  return waitUntilReady(guest, source);
}

function poll(guest: Guest, list: readonly Pollable[]): number[] | Promise<number[]> {
  if (list.length === 0) throw new ThawError('ABI_VIOLATION', 'poll of an empty list would never return');
  if (list.length > MAX_POLL_LIST) {
    throw new ThawError('GUEST_LIMIT', `poll of ${list.length} pollables, where ${MAX_POLL_LIST} is the limit`);
  }
  const now = readyIndexes(list);
  if (now.length > 0) return now;
  guest.commit();
  return pollLater(guest, list);
}

function readyIndexes(list: readonly Pollable[]): number[] {
  const indexes: number[] = [];
  for (let index = 0; index < list.length; index++) if ((list[index] as Pollable).ready()) indexes.push(index);
  return indexes;
}

async function pollLater(guest: Guest, list: readonly Pollable[]): Promise<number[]> {
  for (;;) {
    await guest.suspend(anyOf(list));
    const now = readyIndexes(list);
    if (now.length > 0) return now;
  }
}

/**
 * Resolves when one of them may be ready. Nothing is left of it then: `Promise.race` would leave something in each of the
 * others' promises, and a guest that polls in a loop took 300 MiB that way.
 */
function anyOf(list: readonly Pollable[]): Promise<void> {
  return new Promise((resolve) => {
    const waker = (): void => {
      for (const pollable of list) pollable.wake(null);
      resolve();
    };
    for (const pollable of list) pollable.wake(waker);
  });
}

const chunk = (length: bigint): number => (length > STREAM_CHUNK_BYTES ? STREAM_CHUNK_BYTES : Number(length));

function blockingRead(guest: Guest, stream: InputStream, length: bigint): ReadResult | Promise<ReadResult> {
  if (stream.ready() || length === 0n) return stream.read(chunk(length));
  return waited(guest, stream).then(() => stream.read(chunk(length)));
}
type ReadResult = Result<Uint8Array, StreamError>;

const skipped = (result: ReadResult): Result<bigint, StreamError> =>
  result.tag === 'ok' ? ok(BigInt(result.val.length)) : result;

function blockingSkip(guest: Guest, stream: InputStream, length: bigint): unknown {
  const result = blockingRead(guest, stream, length);
  return result instanceof Promise ? result.then(skipped) : skipped(result);
}

function permitted(stream: OutputStream): Result<bigint, StreamError> {
  const permit = stream.checkWrite();
  return permit.tag === 'ok' ? ok(BigInt(permit.val)) : permit;
}

type WriteResult = Result<undefined, StreamError>;

/** Writes all of `bytes`, waiting for room as often as it takes. Returns a plain value when it never had to wait. */
function writeAll(guest: Guest, stream: OutputStream, bytes: Uint8Array): WriteResult | Promise<WriteResult> {
  const permit = stream.checkWrite();
  if (permit.tag === 'err') return permit;
  if (bytes.length <= permit.val) return stream.write(bytes);
  // The bytes are a view of the guest's memory, which nobody changes: a guest has one stack, and that waits. A copy would
  // be as large as the guest likes.
  guest.commit();
  return writeInPieces(guest, stream, bytes);
}

async function writeInPieces(guest: Guest, stream: OutputStream, bytes: Uint8Array): Promise<WriteResult> {
  for (let at = 0; at < bytes.length;) {
    await waitUntilReady(guest, stream);
    const permit = stream.checkWrite();
    if (permit.tag === 'err') return permit;
    const piece = bytes.subarray(at, at + permit.val);
    const written = stream.write(piece);
    if (written.tag === 'err') return written;
    at += piece.length;
  }
  return OK;
}

function blockingFlush(guest: Guest, stream: OutputStream): WriteResult | Promise<WriteResult> {
  if (stream.ready()) return flushed(stream);
  return waited(guest, stream).then(() => flushed(stream));
}

function flushed(stream: OutputStream): WriteResult {
  const permit = stream.checkWrite();
  return permit.tag === 'err' ? permit : OK;
}

const zeroes = new Uint8Array(STREAM_CHUNK_BYTES);

/** @throws ThawError ABI_VIOLATION for more than `check-write` ever permits: no call may keep the host busy for long */
function zeroesOf(call: string, length: bigint): Uint8Array {
  if (length > STREAM_CHUNK_BYTES) {
    throw new ThawError(
      'ABI_VIOLATION',
      `${call} of ${length} bytes, where check-write never permits more than ${STREAM_CHUNK_BYTES}`,
    );
  }
  return zeroes.subarray(0, Number(length));
}

const writeZeroes = (stream: OutputStream, length: bigint): WriteResult =>
  stream.write(zeroesOf('write-zeroes', length));

const writeZeroesAndFlush = (guest: Guest, stream: OutputStream, length: bigint): WriteResult | Promise<WriteResult> =>
  writeAll(guest, stream, zeroesOf('blocking-write-zeroes-and-flush', length));

function splice(to: OutputStream, from: InputStream, length: bigint): Result<bigint, StreamError> {
  const permit = to.checkWrite();
  if (permit.tag === 'err') return permit;
  const read = from.read(Math.min(permit.val, chunk(length)));
  if (read.tag === 'err') return read;
  const written = to.write(read.val);
  return written.tag === 'err' ? written : ok(BigInt(read.val.length));
}

function blockingSplice(guest: Guest, to: OutputStream, from: InputStream, length: bigint): unknown {
  if (to.ready() && from.ready()) return splice(to, from, length);
  guest.commit();
  return spliceLater(guest, to, from, length);
}

async function spliceLater(guest: Guest, to: OutputStream, from: InputStream, length: bigint): Promise<unknown> {
  await waitUntilReady(guest, to);
  await waitUntilReady(guest, from);
  return splice(to, from, length);
}

export const ioStreams: HostInterface = {
  name: 'wasi:io/streams',
  wit: `
    use wasi:io/error.{error};
    use wasi:io/poll.{pollable};
    variant stream-error { last-operation-failed(error), closed }
    resource input-stream {
      read: func(len: u64) -> result<list<u8>, stream-error>;
      blocking-read: func(len: u64) -> result<list<u8>, stream-error>;
      skip: func(len: u64) -> result<u64, stream-error>;
      blocking-skip: func(len: u64) -> result<u64, stream-error>;
      subscribe: func() -> pollable;
    }
    resource output-stream {
      check-write: func() -> result<u64, stream-error>;
      write: func(contents: list<u8>) -> result<_, stream-error>;
      blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
      flush: func() -> result<_, stream-error>;
      blocking-flush: func() -> result<_, stream-error>;
      subscribe: func() -> pollable;
      write-zeroes: func(len: u64) -> result<_, stream-error>;
      blocking-write-zeroes-and-flush: func(len: u64) -> result<_, stream-error>;
      splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
      blocking-splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
    }`,
  funcs: {
    '[method]input-stream.read': (_, self: InputStream, length: bigint) => self.read(chunk(length)),
    '[method]input-stream.blocking-read': blockingRead,
    '[method]input-stream.skip': (_, self: InputStream, length: bigint) => skipped(self.read(chunk(length))),
    '[method]input-stream.blocking-skip': blockingSkip,
    '[method]input-stream.subscribe': (_, self: InputStream) => self.subscribe(),
    '[method]output-stream.check-write': (_, self: OutputStream) => permitted(self),
    '[method]output-stream.write': (_, self: OutputStream, bytes: Uint8Array) => self.write(bytes),
    '[method]output-stream.blocking-write-and-flush': writeAll,
    '[method]output-stream.flush': (_, self: OutputStream) => flushed(self),
    '[method]output-stream.blocking-flush': blockingFlush,
    '[method]output-stream.subscribe': (_, self: OutputStream) => new Pollable(self),
    '[method]output-stream.write-zeroes': (_, self: OutputStream, length: bigint) => writeZeroes(self, length),
    '[method]output-stream.blocking-write-zeroes-and-flush': writeZeroesAndFlush,
    '[method]output-stream.splice': (_, self: OutputStream, from: InputStream, length: bigint) =>
      splice(self, from, length),
    '[method]output-stream.blocking-splice': blockingSplice,
  },
  suspends: [
    '[method]input-stream.blocking-read',
    '[method]input-stream.blocking-skip',
    '[method]output-stream.blocking-write-and-flush',
    '[method]output-stream.blocking-flush',
    '[method]output-stream.blocking-write-zeroes-and-flush',
    '[method]output-stream.blocking-splice',
  ],
};
