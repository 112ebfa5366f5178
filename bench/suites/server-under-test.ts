import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../src/errors.ts';
import type { ClosedRound, OpenRound, Outcome, ServerRun } from '../report/format.ts';
import { hasCommand, type Child } from '../support/child.ts';
import type { Pinning } from '../support/cores.ts';
import { generate } from '../support/generator.ts';
import { getOnce } from '../support/load.ts';
import { isAnswer, type Ask } from '../support/load-jobs.ts';
import { helloTo, type HelloApp, type Served, type Start } from '../support/peers/contender.ts';
import type { Entrant } from '../support/peers/index.ts';
import { lastLines, withoutPaths } from '../support/shown.ts';
import { runWrk } from '../support/wrk.ts';

const ASKS: readonly Ask[] = [{ path: '/x', answer: helloTo('/x') }];

/** From the start of a server until it answers; the slowest, jco, translates the component first. */
const START_MS = 60_000;

/** How often a server that starts is asked, in milliseconds: the first answer is late by half of it. */
const ASK_AGAIN_MS = 1;

/** Before anything is measured: a server that answers one request and not the next has no throughput. */
const CHECKS = 3;
const CHECK_PATIENCE_MS = 3000;

/**
 * A server is at rest when it takes less than a tenth of a core, and not because it gets none. What it puts off is waited
 * for, and what is left of requests that were given up, but not for ever.
 */
const REST_LOOK_MS = 100;
const REST_CORES = 0.1;
const REST_MOST_MS = 3000;

/** Under way at a time in the open loop: a server that has fallen a third of a second behind does not keep up. */
const MOST_UNDER_WAY = 8;

/** Ends by its time, not by a number of requests. */
const ENDLESS = Number.MAX_SAFE_INTEGER;

/** To a tenth of a microsecond. */
export const micros = (milliseconds: number): number => Math.round(milliseconds * 10_000) / 10;

type Running = { readonly served: Served; readonly child: Child };

/** One server with what was measured of it. A server that fails is stopped, keeps its message, and is left alone. */
export class ServerUnderTest {
  readonly #entrant: Entrant;
  readonly #pinning: Pinning;
  readonly #hasWrk = hasCommand('wrk');
  #outcome: Outcome;
  #start: Start | null = null;
  #running: Running | null = null;
  #fastest = 0;
  readonly #firstAnswerMs: number[] = [];
  readonly #open: OpenRound[] = [];
  readonly #closed: ClosedRound[] = [];
  readonly #residentBytes: number[] = [];

  constructor(entrant: Entrant, pinning: Pinning) {
    const { found } = entrant;
    this.#entrant = entrant;
    this.#pinning = pinning;
    this.#outcome = found.kind === 'found' ? { kind: 'ran' } : { kind: 'skipped', reason: found.reason };
  }

  get name(): string {
    return this.#entrant.contender.name;
  }

  /** Whether it can still be measured. */
  get isWell(): boolean {
    return this.#outcome.kind === 'ran';
  }

  /** What its starts took so far, in milliseconds. */
  get startedMs(): number {
    return this.#firstAnswerMs.reduce((sum, ms) => sum + ms, 0);
  }

  /** Does `work` if the server is well; what it throws makes the server a failed one. */
  async attempt(work: (server: this) => Promise<void>): Promise<void> {
    if (!this.isWell) return;
    try {
      await work(this);
    } catch (error) {
      // What a server wrote stands in the message of some errors already, below its first line.
      const [what = '', ...written] = messageOf(error).split('\n');
      const output = lastLines([...written, this.#running?.child.output ?? ''].join('\n'));
      this.#outcome = { kind: 'failed', message: [withoutPaths(what), output].join('\n').trimEnd() };
      await this.stop();
    }
  }

  async prepare(app: HelloApp): Promise<void> {
    const { found } = this.#entrant;
    if (found.kind === 'found') this.#start = await found.prepare(app);
  }

  /** Starts a process, waits for its first answer, asks for some more, and pauses it. */
  async start(): Promise<void> {
    if (this.#start === null) throw new Error(`${this.name} was not prepared`);
    const begun = performance.now();
    const served = await this.#start(this.#pinning.server);
    this.#running = { served, child: served.child };
    await untilFirstAnswer(served);
    this.#firstAnswerMs.push(Math.round((performance.now() - begun) * 10) / 10);
    for (let check = 2; check <= CHECKS; check++) await askOnce(served.url, `request ${check} after the start`);
    served.child.pause();
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    await running?.served[Symbol.asyncDispose]();
  }

  /** The most requests per second while warming up. */
  get fastest(): number {
    return this.#fastest;
  }

  /** A closed loop that is not kept. @returns requests per second */
  async warm(connections: number, seconds: number): Promise<number> {
    const { perSecond } = await this.#awake((running) => this.#load(running, connections, seconds));
    this.#fastest = Math.max(this.#fastest, perSecond);
    return perSecond;
  }

  /** @returns how late the load generator was at most, in milliseconds */
  async openLoop(round: number, perSecond: number, seconds: number): Promise<number> {
    return this.#awake(async ({ served }) => {
      const job = { kind: 'open', url: served.url.href, asks: ASKS, perSecond, seconds, most: MOST_UNDER_WAY } as const;
      const { sent, dropped, failed, latency, lag } = await generate(job, this.#pinning.client);
      this.#open.push({ round, sent, dropped, failed, latency: latency.map(micros) });
      return lag;
    });
  }

  /** @returns whether there was an answer at all; a round without one is not kept */
  async closedLoop(round: number, connections: number, seconds: number): Promise<boolean> {
    return this.#awake(async (running) => {
      const before = running.child.cpuSeconds;
      const result = await this.#load(running, connections, seconds);
      if (result.perSecond === 0) return false;
      const cpu = ((running.child.cpuSeconds - before) / (result.perSecond * seconds)) * 1e6;
      this.#closed.push({ round, ...result, cpu: Math.round(cpu * 10) / 10 });
      return true;
    });
  }

  recordMemory(): void {
    if (this.#running !== null) this.#residentBytes.push(this.#running.child.groupResidentBytes);
  }

  result(): ServerRun {
    const { contender, found } = this.#entrant;
    return {
      name: contender.name,
      version: found.kind === 'found' ? found.version : null,
      command: found.kind === 'found' ? found.command : contender.name,
      outcome: this.#outcome,
      shares: contender.shares,
      isFresh: contender.isFresh,
      firstAnswerMs: this.#firstAnswerMs,
      open: this.#open,
      closed: this.#closed,
      residentBytes: this.#residentBytes,
    };
  }

  /** Runs `work` while the server's process is not paused, once it is at rest. */
  async #awake<T>(work: (running: Running) => Promise<T>): Promise<T> {
    const running = this.#running;
    if (running === null || !running.child.isRunning) throw new Error('its process has ended');
    running.child.resume();
    await untilAtRest(running.child);
    try {
      return await work(running);
    } finally {
      running.child.pause();
    }
  }

  async #load({ served }: Running, connections: number, seconds: number): Promise<Omit<ClosedRound, 'round' | 'cpu'>> {
    const prefix = this.#pinning.client;
    if (this.#hasWrk) {
      const url = new URL('/x', served.url).href;
      const { perSecond, p50, p99, failed } = await runWrk({ url, connections, seconds, prefix });
      return { tool: 'wrk', perSecond, p50: micros(p50), p99: micros(p99), failed };
    }
    const job = { kind: 'closed', url: served.url.href, asks: ASKS, connections, seconds, requests: ENDLESS } as const;
    const { perSecond, p50, p99, failed, wrong, requests } = await generate(job, prefix);
    const [half, tail] = requests === 0 ? [0, 0] : [p50, p99];
    return { tool: 'own', perSecond, p50: micros(half), p99: micros(tail), failed: failed + wrong };
  }
}

/** @throws when the process ends, or does not answer in time, or answers wrongly */
async function untilFirstAnswer({ child, url }: Served): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    try {
      await askOnce(url, 'the first request', START_MS);
      return;
    } catch (error) {
      if (error instanceof WrongAnswer) throw error;
      if (!child.isRunning) throw new Error('it ended before it answered', { cause: error });
      if (performance.now() > deadline) throw new Error(`no answer ${START_MS} ms after its start`, { cause: error });
      await sleep(ASK_AGAIN_MS);
    }
  }
}

class WrongAnswer extends Error {}

async function askOnce(url: URL, what: string, patienceMs = CHECK_PATIENCE_MS): Promise<void> {
  const [ask] = ASKS as readonly [Ask];
  const response = await getOnce(url, ask.path, patienceMs).catch((error: unknown) => {
    throw new Error(`${what}: ${messageOf(error)}`, { cause: error });
  });
  if (isAnswer(response, ask)) return;
  throw new WrongAnswer(`${what}: status ${response.status}, not the right answer`);
}

/** Waits until the server does little: some go on after their last answer, or make ready for the next. */
async function untilAtRest(child: Child): Promise<void> {
  const deadline = performance.now() + REST_MOST_MS;
  for (let before = child.cpuSeconds; performance.now() < deadline;) {
    await sleep(REST_LOOK_MS);
    const now = child.cpuSeconds;
    if ((now - before) * 1000 <= REST_CORES * REST_LOOK_MS && !child.isRunnable) return;
    before = now;
  }
}
