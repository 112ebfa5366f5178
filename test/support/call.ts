import { RecordingCall, requestTo } from '../../bench/support/call.ts';
import { EmptySource } from '../../src/http/readable-source.ts';
import type { Slot } from '../../src/runtime/slot.ts';
import type { BodySource } from '../../src/wasi/http-body.ts';

export { RecordingCall, requestTo, serve, type Sent } from '../../bench/support/call.ts';

/** A request body that has not arrived and will not until `end`. */
export class PendingSource extends EmptySource {
  readonly #arrival = Promise.withResolvers<void>();
  #ended = false;

  override ready(): boolean {
    return this.#ended;
  }
  override wait(): Promise<void> {
    return this.#arrival.promise;
  }
  end(): void {
    this.#ended = true;
    this.#arrival.resolve();
  }
}

/** Begins a request that is not waited for. */
export function begin(
  slot: Slot,
  path: string,
  { call = new RecordingCall(), body }: { call?: RecordingCall; body?: BodySource } = {},
): { ended: Promise<void>; call: RecordingCall } {
  const ended = slot.serve(call, requestTo(path, body));
  // Looked at later.
  ended.catch(() => {});
  return { ended, call };
}
