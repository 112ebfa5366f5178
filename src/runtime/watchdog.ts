import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { newControlMemory, type ControlLink } from './control-memory.ts';
import { endDoorbell, newDoorbell } from './doorbell.ts';

/** What the watchdog's thread is made from. */
export type WatchdogInput = {
  /** The buffers of the control memories. */
  readonly controls: readonly ArrayBufferLike[];
  readonly doorbell: SharedArrayBuffer;
};

const WORKER = new URL(`./watchdog-worker${extname(import.meta.url)}`, import.meta.url);

/** The thread that stops guests which run too long, for all serving threads of a process. */
export class Watchdog {
  /** One per thread that runs guests: what its control memory is made from. */
  readonly links: readonly ControlLink[];
  readonly #doorbell = newDoorbell();
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #failure: string | null = null;

  /** @param threads how many threads run guests */
  constructor(threads: number) {
    this.links = Array.from({ length: threads }, () => ({ memory: newControlMemory(), doorbell: this.#doorbell }));
    const input: WatchdogInput = { controls: this.links.map(({ memory }) => memory.buffer), doorbell: this.#doorbell };
    this.#worker = new Worker(WORKER, { workerData: input });
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    // Whoever forgets to stop it can still end.
    this.#worker.unref();
    this.#worker.on('error', (error) => {
      this.#failure = messageOf(error);
    });
  }

  /** Why it watches no more, or null. */
  get failure(): string | null {
    return this.#failure;
  }

  /** Ends the thread. Guests are not stopped any more. */
  async stop(): Promise<void> {
    // What is waited for must keep the process alive.
    this.#worker.ref();
    endDoorbell(new Int32Array(this.#doorbell));
    await this.#exited;
  }
}
