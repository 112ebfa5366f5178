import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { ThawError, messageOf } from '../errors.ts';
import {
  outcomeOf,
  valueOf,
  type Compile,
  type FromWorker,
  type Outcome,
  type Plane,
  type PlaneInput,
  type PlaneReport,
  type ToWorker,
} from './protocol.ts';

const WORKER = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);

/** A call as {@link RemotePlane} sends it: without its number. */
type Request = { readonly kind: 'listen'; readonly port: number } | { readonly kind: 'report' | 'drain' };

/** A data plane on a thread of its own, as the control thread sees it. */
export class RemotePlane implements Plane {
  readonly #worker: Worker;
  readonly #compile: Compile;
  readonly #calls = new Map<number, (outcome: Outcome<unknown>) => void>();
  #calledTimes = 0;
  #failure: string | null = null;

  constructor(input: PlaneInput, compile: Compile) {
    this.#compile = compile;
    this.#worker = new Worker(WORKER, { workerData: input });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => this.#end(messageOf(error)));
    this.#worker.on('exit', (code) => this.#end(`it exited with ${code}`));
  }

  /** Why the thread serves no more, or null. */
  get failure(): string | null {
    return this.#failure;
  }

  async listen(port: number): Promise<string> {
    return (await this.#call({ kind: 'listen', port })) as string;
  }

  async report(): Promise<PlaneReport> {
    return (await this.#call({ kind: 'report' })) as PlaneReport;
  }

  /** A thread that has ended, or ends meanwhile, has nothing left to wait for: the others' requests shall not pay for it. */
  async drain(): Promise<number> {
    try {
      return (await this.#call({ kind: 'drain' })) as number;
    } catch (error) {
      if (this.#failure === null) throw error;
      return 0;
    }
  }

  async #call(request: Request): Promise<unknown> {
    if (this.#failure !== null) throw new ThawError('INTERNAL', `a serving thread ended: ${this.#failure}`);
    const call = ++this.#calledTimes;
    const { promise, resolve } = Promise.withResolvers<Outcome<unknown>>();
    this.#calls.set(call, resolve);
    this.#post({ ...request, call });
    return valueOf(await promise);
  }

  #receive(message: FromWorker): void {
    if (message.kind === 'answer') {
      this.#calls.get(message.call)?.(message.outcome);
      this.#calls.delete(message.call);
    } else {
      void this.#serveCompile(message);
    }
  }

  async #serveCompile({ code, role }: Extract<FromWorker, { kind: 'compile' }>): Promise<void> {
    const outcome = await outcomeOf(this.#compile(code, role));
    this.#post({ kind: 'compiled', digest: code.digest, outcome });
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #end(failure: string): void {
    this.#failure ??= failure;
    for (const resolve of this.#calls.values()) {
      resolve({ kind: 'error', code: 'INTERNAL', message: `a serving thread ended: ${this.#failure}` });
    }
    this.#calls.clear();
  }
}
