import type { Readable } from 'node:stream';
import type { BodySource } from '../wasi/http-body.ts';
import type { ErrorCode } from '../wasi/http-error.ts';
import { Fields } from '../wasi/http-fields.ts';
import { CLOSED, failed, type StreamError } from '../wasi/io.ts';
import { err, ok, type Result } from '../wasi/values.ts';

/** A message without a body. */
export class EmptySource implements BodySource {
  read(): Result<Uint8Array, StreamError> {
    return err(CLOSED);
  }
  ready(): boolean {
    return true;
  }
  wait(): Promise<void> {
    return Promise.resolve();
  }
  trailers(): Result<Fields | undefined, ErrorCode> {
    return ok(undefined);
  }
  waitForTrailers(): Promise<void> {
    return Promise.resolve();
  }
  cancel(): void {}
}

export type ReadableSourceOptions = {
  /** More bytes than this end the body with an error that has the code `tooLarge`, and call `onTooLarge`. */
  readonly maxBytes: number;
  readonly tooLarge: ErrorCode;
  readonly onTooLarge?: () => void;
  /** The guest wants no more of it. */
  readonly onCancel: () => void;
  /** Trailers as name, value, name, value, once the body has ended. */
  readonly rawTrailers: () => readonly string[];
  readonly errorCode: (failure: unknown) => ErrorCode;
};

const NOTHING = new Uint8Array(0);

/**
 * A body that arrives through a Node stream in paused mode: the stream's high-water mark is what is buffered, and the
 * peer is not read from until the guest reads.
 */
export class ReadableSource implements BodySource {
  readonly #stream: Readable;
  readonly #options: ReadableSourceOptions;
  #received = 0;
  #ended = false;
  #failure: ErrorCode | null = null;
  #wake: (() => void)[] = [];

  constructor(stream: Readable, options: ReadableSourceOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.on('readable', () => this.#wakeAll());
    stream.on('end', () => {
      this.#ended = true;
      this.#wakeAll();
    });
    stream.on('error', (error) => this.#fail(options.errorCode(error)));
    stream.on('close', () => {
      if (!this.#ended) this.#fail({ tag: 'connection-terminated' });
    });
  }

  read(max: number): Result<Uint8Array, StreamError> {
    if (this.#failure !== null) return err(failed(`the body ended early: ${this.#failure.tag}`, this.#failure));
    const available = Math.min(max, this.#stream.readableLength);
    const chunk: Buffer | null = available > 0 ? (this.#stream.read(available) as Buffer | null) : null;
    if (chunk === null) return this.#ended ? err(CLOSED) : ok(NOTHING);
    this.#received += chunk.length;
    if (this.#received <= this.#options.maxBytes) return ok(chunk);
    this.#fail(this.#options.tooLarge);
    this.#options.onTooLarge?.();
    return err(failed(`the body is larger than ${this.#options.maxBytes} bytes`, this.#options.tooLarge));
  }

  ready(): boolean {
    return this.#failure !== null || this.#ended || this.#stream.readableLength > 0;
  }

  wait(): Promise<void> {
    if (this.ready()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake.push(resolve);
      // Asks the transport for more, and lets `end` come when there is none.
      this.#stream.read(0);
    });
  }

  trailers(): Result<Fields | undefined, ErrorCode> | null {
    if (this.#failure !== null) return err(this.#failure);
    if (!this.#ended) return null;
    const raw = this.#options.rawTrailers();
    return ok(raw.length === 0 ? undefined : Fields.received(raw));
  }

  /** Trailers come after the body: what the guest has not read of it is read and thrown away. */
  async waitForTrailers(): Promise<void> {
    while (this.trailers() === null) {
      await this.wait();
      this.read(Number.MAX_SAFE_INTEGER);
    }
  }

  cancel(): void {
    if (!this.#ended) this.#options.onCancel();
  }

  #fail(failure: ErrorCode): void {
    this.#failure ??= failure;
    this.#wakeAll();
  }

  #wakeAll(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}
