import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ResponseParser, type Response } from './response-parser.ts';
import { quantile } from './statistics.ts';

/**
 * A closed-loop HTTP client: each connection sends its next request when it has the answer to its last. Written on plain
 * sockets because what Node's own client takes, some 50 µs a request, is as much as what is measured.
 */

/** An answer that takes longer is a failure, unless told otherwise. */
const PATIENCE_MS = 30_000;

export class Connection {
  readonly #socket: Socket;
  readonly #host: string;
  #parser = new ResponseParser();
  #pending: PromiseWithResolvers<Response> | null = null;

  private constructor(socket: Socket, host: string, patienceMs: number) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.setTimeout(patienceMs, () => socket.destroy(new Error(`no answer in ${patienceMs} ms`)));
    socket.on('data', (arrived: Buffer) => this.#guarded(() => this.#parser.push(arrived)));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => {
      this.#guarded(() => this.#parser.end());
      this.#fail(new Error('the server closed the connection'));
    });
  }

  static async open({ hostname, port, host }: URL, patienceMs = PATIENCE_MS): Promise<Connection> {
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new Connection(socket, host, patienceMs);
  }

  /** Whether a request can be sent: servers close connections that are idle for long. */
  get isOpen(): boolean {
    return this.#socket.readyState === 'open';
  }

  /** @throws when the connection ends before the answer has, or the answer is not HTTP */
  get(path: string, host: string = this.#host): Promise<Response> {
    this.#pending = Promise.withResolvers();
    this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`, 'latin1');
    return this.#pending.promise;
  }

  /** Sends a request and hangs up without waiting for the answer. */
  abandon(path: string): void {
    this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n\r\n`, 'latin1', () => this.#socket.destroy());
  }

  close(): void {
    this.#socket.destroy();
  }

  #guarded(parse: () => Response | null): void {
    try {
      const response = parse();
      if (response === null) return;
      this.#pending?.resolve(response);
      this.#pending = null;
    } catch (error) {
      this.#fail(error);
      this.#socket.destroy();
    }
  }

  #fail(error: unknown): void {
    this.#pending?.reject(error);
    this.#pending = null;
  }
}

/** One request, on its own connection. */
export async function getOnce(url: URL, path: string, patienceMs = PATIENCE_MS): Promise<Response> {
  const connection = await Connection.open(url, patienceMs);
  try {
    return await connection.get(path);
  } finally {
    connection.close();
  }
}

/** A wrong answer, for people. */
export const describeResponse = ({ status, body }: Response): string =>
  `${status} ${JSON.stringify(body.slice(0, 100))}`;

export type LoadInput = {
  readonly url: URL;
  readonly connections: number;
  /** Ends after this many requests, or this many seconds, whichever comes first. */
  readonly requests: number;
  readonly seconds: number;
  /** The path of request `index`, from 0. */
  readonly path: (index: number) => string;
  /** Its host, where that is not the URL's. */
  readonly host?: (index: number) => string;
  /** Whether the answer to request `index` is the right one. */
  readonly isRight: (response: Response, index: number) => boolean;
};

export type LoadResult = {
  readonly requests: number;
  /** Requests without an answer, and answers that were wrong. */
  readonly failed: number;
  readonly wrong: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Milliseconds from the request to the end of its answer. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  /** The first failure or wrong answer, for people. */
  readonly complaint: string | null;
};

/** Puts load on a server. Failed requests are counted, and the loop goes on over a new connection. */
export async function closedLoop(input: LoadInput): Promise<LoadResult> {
  const run = new LoadRun(input);
  const begun = performance.now();
  await Promise.all(Array.from({ length: input.connections }, () => run.loop(begun + input.seconds * 1000)));
  return run.result((performance.now() - begun) / 1000);
}

class LoadRun {
  readonly #input: LoadInput;
  readonly #latencies: number[] = [];
  #next = 0;
  #failed = 0;
  #wrong = 0;
  #complaint: string | null = null;

  constructor(input: LoadInput) {
    this.#input = input;
  }

  async loop(deadline: number): Promise<void> {
    let connection: Connection | null = null;
    while (this.#next < this.#input.requests && performance.now() < deadline) {
      try {
        connection ??= await Connection.open(this.#input.url);
        if (!(await this.#request(connection, this.#next++))) connection = null;
      } catch (error) {
        this.#failed++;
        this.#complaint ??= String(error);
        connection?.close();
        connection = null;
      }
    }
    connection?.close();
  }

  /** @returns whether the connection can be used again */
  async #request(connection: Connection, index: number): Promise<boolean> {
    const sent = performance.now();
    const response = await connection.get(this.#input.path(index), this.#input.host?.(index));
    this.#latencies.push(performance.now() - sent);
    if (!this.#input.isRight(response, index)) {
      this.#wrong++;
      this.#complaint ??= `request ${index}: ${describeResponse(response)}`;
    }
    if (!response.keepAlive) connection.close();
    return response.keepAlive;
  }

  result(seconds: number): LoadResult {
    const sorted = Float64Array.from(this.#latencies).toSorted();
    return {
      requests: sorted.length,
      failed: this.#failed,
      wrong: this.#wrong,
      seconds,
      perSecond: sorted.length / seconds,
      p50: quantile(sorted, 0.5),
      p90: quantile(sorted, 0.9),
      p99: quantile(sorted, 0.99),
      complaint: this.#complaint,
    };
  }
}
