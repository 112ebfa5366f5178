import { HostResource } from './handles.ts';
import type { HostInterface } from './host.ts';
import type { ErrorCode } from './http-error.ts';
import type { IncomingResponse, OutgoingRequest, RequestOptions } from './http-messages.ts';
import type { Waitable } from './io.ts';
import { ERR, ok, type Result } from './values.ts';

/** wasi:http/outgoing-handler@0.2. Source: WASI proposals, wasi-http. */

/** What a guest wants to be sent. */
export type OutgoingExchange = { readonly request: OutgoingRequest; readonly options: RequestOptions | undefined };

type FutureState =
  | { readonly kind: 'pending' }
  | { readonly kind: 'settled'; readonly outcome: Result<IncomingResponse, ErrorCode> }
  | { readonly kind: 'taken' };

/** The response to come. Disposing of it before it is taken cancels the exchange. */
export class FutureIncomingResponse extends HostResource implements Waitable {
  override readonly resource = 'wasi:http/types#future-incoming-response';
  #state: FutureState = { kind: 'pending' };
  readonly #settled: Promise<void>;
  readonly #cancel: () => void;

  /** @param outcome never rejects; @param cancel stops the exchange, closing its connection */
  constructor(outcome: Promise<Result<IncomingResponse, ErrorCode>>, cancel: () => void) {
    super();
    this.#cancel = cancel;
    this.#settled = outcome.then((value) => {
      this.#state = { kind: 'settled', outcome: value };
    });
  }

  ready(): boolean {
    return this.#state.kind !== 'pending';
  }
  wait(): Promise<void> {
    return this.#settled;
  }

  /** undefined: not yet; outer error: taken before. */
  get(): Result<Result<IncomingResponse, ErrorCode>, undefined> | undefined {
    if (this.#state.kind === 'pending') return undefined;
    if (this.#state.kind === 'taken') return ERR;
    const { outcome } = this.#state;
    this.#state = { kind: 'taken' };
    return ok(outcome);
  }

  override dispose(): void {
    if (this.#state.kind !== 'taken') this.#cancel();
  }
}

export const httpOutgoingHandler: HostInterface = {
  name: 'wasi:http/outgoing-handler',
  wit: `
    use wasi:http/types.{outgoing-request, request-options, future-incoming-response, error-code};
    handle: func(request: outgoing-request, options: option<request-options>) -> result<future-incoming-response, error-code>;`,
  funcs: {
    handle: (guest, request: OutgoingRequest, options: RequestOptions | undefined) => {
      guest.commit();
      return guest.call.fetch({ request, options });
    },
  },
};
