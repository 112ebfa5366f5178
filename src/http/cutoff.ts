import { ThawError } from '../errors.ts';

/**
 * What ends a request from outside: its wall time is over, or its client has left. A promise for who waits, a callback
 * for who runs. The first reason stands.
 */
export class Cutoff {
  #waiting: PromiseWithResolvers<void> | null = null;
  #timer: NodeJS.Timeout | undefined;
  #reason: ThawError | null = null;
  #callback: ((reason: ThawError) => void) | null = null;

  /** Resolves when it happens. Made when it is first asked for: most requests never wait. */
  get passed(): Promise<void> {
    if (this.#waiting === null) {
      this.#waiting = Promise.withResolvers<void>();
      if (this.#reason !== null) this.#waiting.resolve();
    }
    return this.#waiting.promise;
  }

  /** Why, or null as long as nothing has happened. */
  get reason(): ThawError | null {
    return this.#reason;
  }

  get isClientGone(): boolean {
    return this.#reason?.code === 'CLIENT_GONE';
  }

  /** Starts the clock. */
  setWall(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#end(new ThawError('WALL_TIME_EXCEEDED', `the request took longer than limits.wall, ${ms} ms`));
    }, ms);
  }

  clientGone(): void {
    this.#end(new ThawError('CLIENT_GONE', 'the client closed the connection before the response ended'));
  }

  /** Calls back when it happens, at once if it has. */
  onPassed(callback: (reason: ThawError) => void): void {
    this.#callback = callback;
    if (this.#reason !== null) callback(this.#reason);
  }

  /** The request is over. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#callback = null;
  }

  #end(reason: ThawError): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.#waiting?.resolve();
    this.#callback?.(reason);
  }
}
