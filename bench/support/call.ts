import { EmptySource } from '../../src/http/readable-source.ts';
import type { Slot } from '../../src/runtime/slot.ts';
import type { Call, RequestLimits } from '../../src/wasi/guest.ts';
import type { BodySource, OutgoingBodyPipe } from '../../src/wasi/http-body.ts';
import type { ErrorCode } from '../../src/wasi/http-error.ts';
import { Fields } from '../../src/wasi/http-fields.ts';
import { IncomingRequest } from '../../src/wasi/http-messages.ts';
import type { FutureIncomingResponse, OutgoingExchange } from '../../src/wasi/http-outgoing.ts';
import type { ResponseOutcome } from '../../src/wasi/http-types.ts';
import { CLOSED, type StreamError } from '../../src/wasi/io.ts';
import { err, ok, type Result } from '../../src/wasi/values.ts';

/** What a guest has sent so far. `end` is null until its body is whole or given up. */
export type Sent = {
  readonly status: number;
  readonly body: string;
  readonly trailers: readonly (readonly [string, string])[];
  readonly end: 'finished' | 'aborted' | null;
};

const NO_LIMITS: RequestLimits = { cpuMs: 60_000, memoryBytes: 2 ** 32 };

type Hooks = {
  /** Called in `response-outparam.set`, a host call. */
  readonly onRespond?: () => void;
  readonly env?: Call['env'];
  readonly limits?: Partial<RequestLimits>;
};

/** A request's side of the host that keeps what the guest does. */
export class RecordingCall implements Call {
  readonly env: Call['env'];
  readonly limits: RequestLimits;
  output = '';
  /** What `response-outparam.set` got, or null. */
  outcome: ResponseOutcome | null = null;
  readonly #onRespond: () => void;
  readonly #chunks: Buffer[] = [];
  #trailers: Sent['trailers'] = [];
  #end: Sent['end'] = null;

  constructor({ onRespond = () => {}, env = [], limits = {} }: Hooks = {}) {
    this.#onRespond = onRespond;
    this.env = env;
    this.limits = { ...NO_LIMITS, ...limits };
  }

  /** The response, or null when there is none. */
  get sent(): Sent | null {
    if (this.outcome?.tag !== 'ok') return null;
    const body = Buffer.concat(this.#chunks).toString('latin1');
    return { status: this.outcome.val.status, body, trailers: this.#trailers, end: this.#end };
  }

  respond(outcome: ResponseOutcome): void {
    this.outcome = outcome;
    this.#onRespond();
    if (outcome.tag === 'ok' && outcome.val.pipe !== null) this.#receive(outcome.val.pipe);
  }

  #receive(pipe: OutgoingBodyPipe): void {
    pipe.attach({
      write: (chunk) => {
        this.#chunks.push(chunk);
        return true;
      },
      end: (trailers) => {
        this.#end = 'finished';
        this.#trailers = trailers?.entries() ?? [];
      },
      abort: () => {
        this.#end = 'aborted';
      },
    });
  }

  fetch(_exchange: OutgoingExchange): Result<FutureIncomingResponse, ErrorCode> {
    return err({ tag: 'HTTP-request-denied' });
  }

  stdio(_stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    this.output += Buffer.from(bytes).toString('latin1');
  }

  resume(goOn: () => void): void {
    goOn();
  }
}

/** A request body that is all there. */
class TextSource implements BodySource {
  #left: Buffer;

  constructor(text: string) {
    this.#left = Buffer.from(text, 'latin1');
  }

  read(max: number): Result<Uint8Array, StreamError> {
    if (this.#left.length === 0) return err(CLOSED);
    const chunk = this.#left.subarray(0, max);
    this.#left = this.#left.subarray(chunk.length);
    return ok(chunk);
  }
  ready(): boolean {
    return true;
  }
  wait(): Promise<void> {
    return Promise.resolve();
  }
  trailers(): Result<Fields | undefined, ErrorCode> | null {
    return this.#left.length === 0 ? ok(undefined) : null;
  }
  waitForTrailers(): Promise<void> {
    return Promise.resolve();
  }
  cancel(): void {}
}

/** A request to a path; POST with a body when there is one. */
export const requestTo = (path: string, body?: string | BodySource): IncomingRequest =>
  new IncomingRequest(
    {
      method: body === undefined ? 'GET' : 'POST',
      pathWithQuery: path,
      scheme: 'HTTP',
      authority: 'guest.test',
      headers: Fields.received(['host', 'guest.test', 'accept', '*/*']),
    },
    body === undefined ? new EmptySource() : typeof body === 'string' ? new TextSource(body) : body,
  );

/** Serves one request on a clean slot and leaves the slot dirty. @returns the response, or null when there is none */
export async function serve(slot: Slot, path: string, body?: string): Promise<Sent | null> {
  const call = new RecordingCall();
  await slot.serve(call, requestTo(path, body));
  return call.sent;
}
