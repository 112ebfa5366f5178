import type { IncomingMessage } from 'node:http';
import { ThawError } from '../errors.ts';

/** What a place is counted against beside the thread's: how many its route may have. */
export type UploadRoute = { readonly index: number; readonly maxUploads: number };

/** Gives the place back; more than once is once. */
export type LeaveGate = () => void;

type Waiter = {
  readonly request: IncomingMessage;
  readonly route: UploadRoute;
  readonly grant: (leave: LeaveGate) => void;
};

/**
 * Lets requests in whose bodies have not arrived. Each would hold a slot for as long as its client cares to send, so that
 * a few hundred slow clients could hold all of them. So they get a part of the slots, and those beyond wait outside: for
 * one of these places, or until their body has arrived as a whole, when it is short. Requests without a body, or with one
 * that came with its head, pass them.
 */
export class UploadGate {
  readonly #max: number;
  readonly #held = new Map<number, number>();
  #total = 0;
  readonly #waiters: Waiter[] = [];

  /** @param max places of all routes together */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Waits until the request may take a slot.
   * @param passed resolves when waiting is no use any more
   * @returns what must be called when the request is over
   * @throws ThawError REQUEST_BODY_SLOW when that comes first
   */
  async enter(request: IncomingMessage, route: UploadRoute, passed: Promise<void>): Promise<LeaveGate> {
    if (request.complete) return () => {};
    if (this.#hasPlace(route)) return this.#take(request, route);
    const { promise, resolve } = Promise.withResolvers<void>();
    let granted: LeaveGate | null = null;
    const waiter: Waiter = {
      request,
      route,
      grant: (leave) => {
        granted = leave;
        resolve();
      },
    };
    const onReadable = (): void => {
      if (request.complete) resolve();
    };
    // Also has the body read, as far as the stream buffers it.
    request.on('readable', onReadable);
    this.#waiters.push(waiter);
    await Promise.race([promise, passed]);
    request.off('readable', onReadable);
    if (granted !== null) return granted;
    this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
    if (request.complete) return () => {};
    throw new ThawError(
      'REQUEST_BODY_SLOW',
      'the request body did not arrive in time, while as many slow ones were under way as the node serves',
    );
  }

  #hasPlace({ index, maxUploads }: UploadRoute): boolean {
    return this.#total < this.#max && (this.#held.get(index) ?? 0) < maxUploads;
  }

  #take(request: IncomingMessage, { index }: UploadRoute): LeaveGate {
    this.#held.set(index, (this.#held.get(index) ?? 0) + 1);
    this.#total++;
    let isHeld = true;
    const leave = (): void => {
      if (!isHeld) return;
      isHeld = false;
      const left = (this.#held.get(index) ?? 0) - 1;
      if (left > 0) this.#held.set(index, left);
      else this.#held.delete(index);
      this.#total--;
      this.#wakeNext();
    };
    // From here on it is not the client that the request waits for.
    request.once('end', leave);
    return leave;
  }

  /**
   * Whoever waits takes the place here and now, so that nobody comes between. The last one, for it has the most time left:
   * where slow requests come faster than places, the first would get theirs when it is too late, all of them.
   */
  #wakeNext(): void {
    const next = this.#waiters.findLastIndex(({ route }) => this.#hasPlace(route));
    if (next < 0) return;
    for (const { request, route, grant } of this.#waiters.splice(next, 1)) grant(this.#take(request, route));
  }
}
