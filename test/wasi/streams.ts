import { CLOSED, InputStream, OutputStream, type StreamError, type Waitable } from '../../src/wasi/io.ts';
import { OK, err, ok, type Result } from '../../src/wasi/values.ts';

/** Ready when told so; wakes whoever waits. */
export class Switch implements Waitable {
  on = false;
  waits = 0;
  released = 0;
  #wake: (() => void)[] = [];

  ready(): boolean {
    return this.on;
  }
  wait(): Promise<void> {
    this.waits++;
    return new Promise((resolve) => this.#wake.push(resolve));
  }
  release(): void {
    this.released++;
  }
  turnOn(): void {
    this.on = true;
    this.wake();
  }
  /** Wakes without being ready, as `wait` is allowed to. */
  wake(): void {
    for (const resolve of this.#wake.splice(0)) resolve();
  }
}

/** A sink with room for `room` bytes. */
export class Sink extends OutputStream {
  room = 0;
  error: StreamError | null = null;
  readonly written: Buffer[] = [];
  readonly gate = new Switch();

  protected override capacity(): Result<number, StreamError> {
    return this.error === null ? ok(this.room) : err(this.error);
  }
  protected override accept(bytes: Uint8Array): Result<undefined, StreamError> {
    this.room -= bytes.length;
    this.written.push(Buffer.from(bytes));
    return OK;
  }
  override ready(): boolean {
    return this.room > 0 || this.error !== null;
  }
  override wait(): Promise<void> {
    return this.gate.wait();
  }
  grant(room: number): void {
    this.room = room;
    this.gate.wake();
  }
  fail(error: StreamError): void {
    this.error = error;
    this.gate.wake();
  }
  get text(): string {
    return Buffer.concat(this.written).toString();
  }
}

/** A source that gives what was fed, then ends. */
export class Source extends InputStream {
  #left: Buffer = Buffer.alloc(0);
  #ended = false;
  readonly gate = new Switch();

  override read(max: number): Result<Uint8Array, StreamError> {
    if (this.#left.length === 0 && this.#ended) return err(CLOSED);
    const piece = this.#left.subarray(0, max);
    this.#left = this.#left.subarray(max);
    return ok(piece);
  }
  override ready(): boolean {
    return this.#left.length > 0 || this.#ended;
  }
  override wait(): Promise<void> {
    return this.gate.wait();
  }
  feed(text: string): void {
    this.#left = Buffer.concat([this.#left, Buffer.from(text)]);
    this.gate.wake();
  }
  end(): void {
    this.#ended = true;
    this.gate.wake();
  }
}
