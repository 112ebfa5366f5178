import { Buffer } from 'node:buffer';
import { Allowance } from './allowance.ts';
import type { ErrorCode } from './http-error.ts';
import type { Fields } from './http-fields.ts';
import { HostResource } from './handles.ts';
import {
  CLOSED,
  InputStream,
  OutputStream,
  STREAM_CHUNK_BYTES,
  failed,
  type StreamError,
  type Waitable,
} from './io.ts';
import { ERR, OK, err, ok, type Result } from './values.ts';

/** Bodies of wasi:http/types: how bytes move between a guest's streams and the transport. */

/** Where an incoming body comes from: a client's request or a server's response. */
export interface BodySource extends Waitable {
  /** Up to `max` bytes that are here now; the error `closed` at the end of the body. */
  read(max: number): Result<Uint8Array, StreamError>;
  /** null while the body is not read to its end. */
  trailers(): Result<Fields | undefined, ErrorCode> | null;
  /** Resolves when `trailers` may have become available. */
  waitForTrailers(): Promise<void>;
  /** The guest wants no more of it. */
  cancel(): void;
}

class BodyInputStream extends InputStream {
  readonly #source: BodySource;

  constructor(source: BodySource) {
    super();
    this.#source = source;
  }

  override read(max: number): Result<Uint8Array, StreamError> {
    return this.#source.read(max);
  }
  override ready(): boolean {
    return this.#source.ready();
  }
  override wait(): Promise<void> {
    return this.#source.wait();
  }
}

export class IncomingBody extends HostResource {
  override readonly resource = 'wasi:http/types#incoming-body';
  readonly #source: BodySource;
  #streamTaken = false;
  #finished = false;

  constructor(source: BodySource) {
    super();
    this.#source = source;
  }

  /** The stream can be had once. */
  stream(): Result<InputStream, undefined> {
    if (this.#streamTaken) return ERR;
    this.#streamTaken = true;
    return ok(new BodyInputStream(this.#source));
  }

  finish(): FutureTrailers {
    this.#finished = true;
    return new FutureTrailers(this.#source);
  }

  override dispose(): void {
    if (!this.#finished) this.#source.cancel();
  }
}

export class FutureTrailers extends HostResource implements Waitable {
  override readonly resource = 'wasi:http/types#future-trailers';
  readonly #source: BodySource;
  #taken = false;

  constructor(source: BodySource) {
    super();
    this.#source = source;
  }

  ready(): boolean {
    return this.#source.trailers() !== null;
  }
  wait(): Promise<void> {
    return this.#source.waitForTrailers();
  }

  /** Dropped before the body was at its end: the rest is not wanted. */
  override dispose(): void {
    this.#source.cancel();
  }

  /** undefined: not yet; outer error: taken before. */
  get(): Result<Result<Fields | undefined, ErrorCode>, undefined> | undefined {
    if (this.#taken) return ERR;
    const trailers = this.#source.trailers();
    if (trailers === null) return undefined;
    this.#taken = true;
    return ok(trailers);
  }
}

/** The transport's side of an outgoing body. */
export interface BodyTransport {
  /** Takes a chunk for good. Returns false when the guest should wait for {@link OutgoingBodyPipe.drained}. */
  write(chunk: Buffer): boolean;
  end(trailers: Fields | null): void;
  /** The body will never be whole: the peer must notice. */
  abort(): void;
}

const TERMINATED: ErrorCode = { tag: 'connection-terminated' };

type PipeState =
  | { readonly kind: 'open' }
  | { readonly kind: 'finished'; readonly trailers: Fields | null }
  /** `error` is what the guest is told when it finishes the body all the same. */
  | { readonly kind: 'aborted'; readonly error: ErrorCode }
  | { readonly kind: 'failed'; readonly error: StreamError };

/**
 * An outgoing body between the guest that writes it and the transport that sends it. Until a transport is attached it
 * holds up to {@link STREAM_CHUNK_BYTES}; from then on every write goes straight through.
 *
 * Invariant: `#chunks` is empty once a transport is attached.
 */
export class OutgoingBodyPipe implements Waitable {
  #state: PipeState = { kind: 'open' };
  #chunks: Buffer[] = [];
  #held = 0;
  #transport: BodyTransport | null = null;
  #mustWait = false;
  #wake: (() => void)[] = [];
  /** What Content-Length promises and is not written yet, or null when nothing was promised. */
  #promised: number | null;
  readonly #sizeError: ErrorCode;
  /** Bytes that may still be written, and who hears of it when they are more. */
  #room: { left: number; readonly error: ErrorCode; readonly onTooLarge: () => void } | null = null;
  readonly #allowance: Allowance;

  /**
   * @param promised bytes by Content-Length, or null
   * @param sizeError what a guest gets that breaks the promise
   * @param allowance what the bytes are counted against that wait for a transport
   */
  constructor(promised: number | null, sizeError: ErrorCode, allowance = new Allowance()) {
    this.#promised = promised;
    this.#sizeError = sizeError;
    this.#allowance = allowance;
  }

  get state(): PipeState['kind'] {
    return this.#state.kind;
  }

  /**
   * Lets the body have `maxBytes` and no more, in all.
   * @param onTooLarge called when the guest writes more; the body is aborted then
   * @returns false when what the guest has written or promised is more
   */
  limitTo(maxBytes: number, error: ErrorCode, onTooLarge: () => void): boolean {
    this.#room = { left: maxBytes - this.#held, error, onTooLarge };
    return this.#room.left >= (this.#promised ?? 0);
  }

  /** The message has no body on the wire, whatever its Content-Length says: a response to HEAD, a 304. */
  expectNothing(): void {
    this.#promised = null;
  }

  capacity(): Result<number, StreamError> {
    if (this.#state.kind === 'failed') return err(this.#state.error);
    if (this.#state.kind !== 'open') return err(CLOSED);
    if (this.#transport === null) return ok(STREAM_CHUNK_BYTES - this.#held);
    return ok(this.#mustWait ? 0 : STREAM_CHUNK_BYTES);
  }

  /** Copies the bytes: they are a view of the guest's memory. */
  write(bytes: Uint8Array): Result<undefined, StreamError> {
    if (this.#state.kind === 'failed') return err(this.#state.error);
    if (this.#state.kind !== 'open') return err(CLOSED);
    if (bytes.length === 0) return OK;
    if (!this.#countDown(bytes.length)) {
      this.#abort(this.#sizeError);
      return err(failed('the body is longer than its Content-Length', this.#sizeError));
    }
    const room = this.#room;
    if (room !== null) {
      if (bytes.length > room.left) {
        this.#abort(room.error);
        room.onTooLarge();
        return err(failed('the body is larger than it may be', room.error));
      }
      room.left -= bytes.length;
    }
    if (this.#transport === null) this.#allowance.take(bytes.length, 'a body that is not sent yet,');
    const chunk = Buffer.from(bytes);
    if (this.#transport === null) {
      this.#chunks.push(chunk);
      this.#held += chunk.length;
    } else {
      this.#mustWait = !this.#transport.write(chunk);
    }
    return OK;
  }

  #countDown(length: number): boolean {
    if (this.#promised === null) return true;
    if (length > this.#promised) return false;
    this.#promised -= length;
    return true;
  }

  /** The guest's side is complete. A body shorter or longer than its Content-Length is an error and ends aborted. */
  finish(trailers: Fields | null): Result<undefined, ErrorCode> {
    if (this.#state.kind === 'aborted') return err(this.#state.error);
    if (this.#state.kind !== 'open') return err(TERMINATED);
    if (this.#promised !== null && this.#promised > 0) {
      this.#abort(this.#sizeError);
      return err(this.#sizeError);
    }
    this.#state = { kind: 'finished', trailers };
    this.#transport?.end(trailers);
    return OK;
  }

  abort(): void {
    this.#abort(TERMINATED);
  }

  #abort(error: ErrorCode): void {
    if (this.#state.kind !== 'open') return;
    this.#state = { kind: 'aborted', error };
    this.#takeChunks();
    this.#transport?.abort();
    this.#wakeAll();
  }

  /** The transport cannot take more: the guest's next write gets the error. */
  fail(error: StreamError): void {
    if (this.#state.kind !== 'open') return;
    this.#state = { kind: 'failed', error };
    this.#takeChunks();
    this.#wakeAll();
  }

  #takeChunks(): readonly Buffer[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#allowance.give(chunks.reduce((sum, { length }) => sum + length, 0));
    return chunks;
  }

  /** What was written so far, when it is all there will be: the whole message can go in one piece. */
  takeWhole(): { readonly chunks: readonly Buffer[]; readonly trailers: Fields | null } | null {
    if (this.#transport !== null || this.#state.kind !== 'finished') return null;
    const { trailers } = this.#state;
    return { chunks: this.#takeChunks(), trailers };
  }

  attach(transport: BodyTransport): void {
    this.#transport = transport;
    for (const chunk of this.#takeChunks()) this.#mustWait = !transport.write(chunk);
    if (this.#state.kind === 'finished') transport.end(this.#state.trailers);
    else if (this.#state.kind === 'aborted') transport.abort();
    else if (!this.#mustWait) this.#wakeAll();
  }

  /** The transport can take more. */
  drained(): void {
    this.#mustWait = false;
    this.#wakeAll();
  }

  ready(): boolean {
    const capacity = this.capacity();
    return capacity.tag === 'err' || capacity.val > 0;
  }

  wait(): Promise<void> {
    if (this.ready()) return Promise.resolve();
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #wakeAll(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}

class BodyOutputStream extends OutputStream {
  readonly #pipe: OutgoingBodyPipe;

  constructor(pipe: OutgoingBodyPipe) {
    super();
    this.#pipe = pipe;
  }

  protected override capacity(): Result<number, StreamError> {
    return this.#pipe.capacity();
  }
  protected override accept(bytes: Uint8Array): Result<undefined, StreamError> {
    return this.#pipe.write(bytes);
  }
  override ready(): boolean {
    return this.#pipe.ready();
  }
  override wait(): Promise<void> {
    return this.#pipe.wait();
  }
}

export class OutgoingBody extends HostResource {
  override readonly resource = 'wasi:http/types#outgoing-body';
  readonly #pipe: OutgoingBodyPipe;
  #streamTaken = false;

  constructor(pipe: OutgoingBodyPipe) {
    super();
    this.#pipe = pipe;
  }

  /** The stream can be had once. */
  write(): Result<OutputStream, undefined> {
    if (this.#streamTaken) return ERR;
    this.#streamTaken = true;
    return ok(new BodyOutputStream(this.#pipe));
  }

  finish(trailers: Fields | undefined): Result<undefined, ErrorCode> {
    return this.#pipe.finish(trailers ?? null);
  }

  /** Dropped without `finish`: the peer must not take what it got for the whole. */
  override dispose(): void {
    this.#pipe.abort();
  }
}
