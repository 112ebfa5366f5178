import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Connection, describeResponse } from './load.ts';
import type { Response } from './response-parser.ts';

/**
 * Requests at a fixed rate, whatever the server does. Latency counts from the time at which a request was due: a server
 * that stalls is charged with every request that had to wait, where a closed loop would just ask less often ("coordinated
 * omission", Gil Tene).
 */

export type OpenLoopInput = {
  readonly url: URL;
  /** Requests for each second. */
  readonly perSecond: number;
  readonly seconds: number;
  /** Requests under way; while there are as many, those that come due are dropped. */
  readonly most: number;
  readonly path: (index: number) => string;
  readonly isRight: (response: Response, index: number) => boolean;
  /** How long answers are waited for after the last request was due. */
  readonly graceMs?: number;
};

export type OpenLoopResult = {
  readonly sent: number;
  /** Not sent. */
  readonly dropped: number;
  /** Sent, and not answered rightly, or not within the grace time. */
  readonly failed: number;
  /** Milliseconds from when a request was due until the end of its answer, in the order of the answers; failed ones left out. */
  readonly latency: readonly number[];
  /** The latest that a request left after it was due, for another reason than the server, in milliseconds. */
  readonly lag: number;
  readonly complaint: string | null;
};

const GRACE_MS = 5000;

/** Timers of Node are due up to a millisecond late, and later on a busy machine; the rest of a wait is spent looking. */
const WATCH_MS = 2;

export async function openLoop(input: OpenLoopInput): Promise<OpenLoopResult> {
  const run = new OpenLoopRun(input);
  await run.connect();
  const begun = performance.now();
  const count = Math.floor(input.perSecond * input.seconds);
  for (let index = 0; index < count; index++) {
    const due = begun + (index / input.perSecond) * 1000;
    await untilTime(due);
    run.send(index, due);
  }
  await run.settle(input.graceMs ?? GRACE_MS);
  return run.result();
}

async function untilTime(due: number): Promise<void> {
  const ahead = due - performance.now();
  if (ahead > WATCH_MS) await sleep(ahead - WATCH_MS);
  // Answers that come meanwhile are taken: each turn looks at the sockets.
  while (performance.now() < due) await nextTurn();
}

class OpenLoopRun {
  readonly #input: OpenLoopInput;
  /** Connections that wait for a request, the one used last at the end. */
  readonly #idle: Connection[] = [];
  readonly #underWay = new Set<Promise<void>>();
  readonly #latency: number[] = [];
  #sent = 0;
  #dropped = 0;
  #failed = 0;
  #lag = 0;
  #isOver = false;
  #complaint: string | null = null;

  constructor(input: OpenLoopInput) {
    this.#input = input;
  }

  /** The first connection is not part of the first request. */
  async connect(): Promise<void> {
    this.#idle.push(await Connection.open(this.#input.url));
  }

  send(index: number, due: number): void {
    if (this.#underWay.size >= this.#input.most) {
      this.#dropped++;
      return;
    }
    this.#sent++;
    this.#lag = Math.max(this.#lag, performance.now() - due);
    const request = this.#request(index, due).catch((error: unknown) => this.#fail(String(error)));
    this.#underWay.add(request);
    void request.then(() => this.#underWay.delete(request));
  }

  async #request(index: number, due: number): Promise<void> {
    const connection = this.#takeIdle() ?? (await Connection.open(this.#input.url));
    let isReusable = false;
    try {
      const response = await connection.get(this.#input.path(index));
      const taken = performance.now() - due;
      if (this.#isOver) return;
      if (this.#input.isRight(response, index)) this.#latency.push(taken);
      else this.#fail(`request ${index}: ${describeResponse(response)}`);
      isReusable = response.keepAlive;
    } finally {
      if (isReusable) this.#idle.push(connection);
      else connection.close();
    }
  }

  #takeIdle(): Connection | null {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined) return null;
      if (connection.isOpen) return connection;
    }
  }

  #fail(complaint: string): void {
    if (this.#isOver) return;
    this.#failed++;
    this.#complaint ??= complaint;
  }

  /** Waits for what is under way; what is not answered then has failed. */
  async settle(graceMs: number): Promise<void> {
    const grace = sleep(graceMs, undefined, { ref: false });
    await Promise.race([Promise.all(this.#underWay), grace]);
    if (this.#underWay.size > 0) this.#complaint ??= `${this.#underWay.size} requests without an answer at the end`;
    this.#failed += this.#underWay.size;
    this.#isOver = true;
    for (const connection of this.#idle) connection.close();
  }

  result(): OpenLoopResult {
    return {
      sent: this.#sent,
      dropped: this.#dropped,
      failed: this.#failed,
      latency: this.#latency,
      lag: this.#lag,
      complaint: this.#complaint,
    };
  }
}
