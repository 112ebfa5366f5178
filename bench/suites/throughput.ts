import { join } from 'node:path';
import type { ThroughputSuite } from '../report/format.ts';
import { APPS, appComponent } from '../support/components.ts';
import { choosePinning } from '../support/cores.ts';
import type { HelloApp } from '../support/peers/contender.ts';
import { entrantsFor } from '../support/peers/index.ts';
import { hasSettled, inOrder } from '../support/statistics.ts';
import type { PeerChoice, SuiteInput } from './input.ts';
import { ServerUnderTest } from './server-under-test.ts';

/**
 * thaw against other servers, all with the same app: until the first answer of a new process, latency at a fixed rate, as
 * many requests as they take, memory after that.
 */

type Plan = {
  /** Processes of each server that are put under load, one after the other. */
  readonly processes: number;
  /** Processes of each that are started in all, for their first answers: as long as its starts take less than this. */
  readonly starts: number;
  readonly startsMs: number;
  /** Warming up ends when the rate rises no more, or at the latest then. */
  readonly warmUp: { readonly step: number; readonly least: number; readonly most: number };
  /** Of each process. */
  readonly rounds: number;
  readonly openSeconds: number;
  /** Whole, for wrk. */
  readonly closedSeconds: number;
};

/** V8 needs some ten seconds of load until a program of thaw's size runs as fast as it will. */
const SETTLES_S = 10;

const FULL: Plan = {
  processes: 2,
  starts: 7,
  startsMs: 15_000,
  warmUp: { step: 2, least: SETTLES_S, most: 2 * SETTLES_S },
  rounds: 3,
  openSeconds: 4,
  closedSeconds: 4,
};

/** Little more than a minute for all: servers on V8 are measured before they are as fast as they get. */
const QUICK: Plan = {
  processes: 1,
  starts: 3,
  startsMs: 2500,
  warmUp: { step: 1, least: 2, most: 3 },
  rounds: 2,
  openSeconds: 1.5,
  closedSeconds: 1,
};

/** Below what the slowest can do that is meant for use: 40 ms are twice what jco takes for an instance. */
const RATE = 25;

const CONNECTIONS = 32;

/** A closed loop of a slow server takes at most this many times the time of the others. */
const SLOW_TIMES = 3;

/** The load generator's own lateness that a reader should know of, in milliseconds. */
const NOTED_LAG_MS = 1;

type ThroughputInput = SuiteInput & { readonly peers: PeerChoice };

/** @throws ThawError USAGE when a peer is named that is unknown or missing, and as building an app does */
export async function runThroughput(input: ThroughputInput): Promise<ThroughputSuite> {
  const { quick, peers, progress, note } = input;
  const plan = quick ? QUICK : FULL;
  const pinning = choosePinning();
  const servers = entrantsFor(peers).map((entrant) => new ServerUnderTest(entrant, pinning));
  const run = new ThroughputRun({ plan, servers, progress, note });
  try {
    await run.prepare(await helloApp(input));
    for (let process = 0; process < plan.processes; process++) await run.underLoad(process);
    await run.firstAnswers();
    run.noteFlaws();
  } finally {
    for (const server of servers) await server.stop();
  }
  return {
    app: 'hello',
    pinning: pinning.about,
    rate: RATE,
    connections: CONNECTIONS,
    servers: servers.map((server) => server.result()),
  };
}

async function helloApp({ snapshots, progress }: SuiteInput): Promise<HelloApp> {
  await snapshots.buildApp('hello');
  return {
    source: join(APPS, 'hello.js'),
    component: await appComponent('hello', progress),
    store: snapshots.directory,
  };
}

type RunInput = {
  readonly plan: Plan;
  readonly servers: readonly ServerUnderTest[];
} & Pick<SuiteInput, 'progress' | 'note'>;

class ThroughputRun {
  readonly #plan: Plan;
  readonly #servers: readonly ServerUnderTest[];
  readonly #progress: SuiteInput['progress'];
  readonly #note: SuiteInput['note'];
  /** Names of servers that were loaded before they had settled. */
  readonly #unsettled = new Set<string>();
  /** How late the load generator was at most, in milliseconds. */
  #lag = 0;

  constructor({ plan, servers, progress, note }: RunInput) {
    this.#plan = plan;
    this.#servers = servers;
    this.#progress = progress;
    this.#note = note;
  }

  async prepare(app: HelloApp): Promise<void> {
    await this.#each(0, 'preparing', (server) => server.prepare(app));
  }

  /** A process of each server, in rounds. @param process from 0 */
  async underLoad(process: number): Promise<void> {
    const { rounds, openSeconds } = this.#plan;
    await this.#each(process, 'starting', (server) => server.start());
    await this.#each(process, 'warming up', (server) => this.#warmUp(server));
    for (let index = 0; index < rounds; index++) {
      const round = process * rounds + index;
      await this.#each(round, `round ${round + 1} of ${rounds * this.#plan.processes}`, async (server) => {
        this.#lag = Math.max(this.#lag, await server.openLoop(round, RATE, openSeconds));
        const seconds = this.#closedSeconds(server);
        if (await server.closedLoop(round, CONNECTIONS, seconds)) return;
        this.#note(`throughput: ${server.name} gave no answer on ${CONNECTIONS} connections within ${seconds} s`);
      });
    }
    await this.#each(process, 'stopping', async (server) => {
      server.recordMemory();
      await server.stop();
    });
  }

  /** Processes that are stopped after their first answers. */
  async firstAnswers(): Promise<void> {
    const { starts, startsMs, processes } = this.#plan;
    for (let start = processes; start < starts; start++) {
      await this.#each(start, `start ${start + 1} of ${starts}`, async (server) => {
        if (server.startedMs > startsMs) return;
        await server.start();
        await server.stop();
      });
    }
  }

  /** Tells what a reader should know of how it went. */
  noteFlaws(): void {
    const { warmUp } = this.#plan;
    if (warmUp.most < SETTLES_S) {
      const most = `${warmUp.most} s of warming up at most`;
      this.#note(`throughput: ${most}; thaw and others on V8 get faster for some ${SETTLES_S} s`);
    } else if (this.#unsettled.size > 0) {
      const names = [...this.#unsettled].join(', ');
      this.#note(`throughput: still getting faster after ${warmUp.most} s of warming up: ${names}`);
    }
    if (this.#lag > NOTED_LAG_MS) {
      const late = `${this.#lag.toFixed(1)} ms late at worst`;
      this.#note(`throughput: requests at a fixed rate left ${late}: the machine was busy with other things`);
    }
  }

  async #warmUp(server: ServerUnderTest): Promise<void> {
    const { step, least, most } = this.#plan.warmUp;
    const rates: number[] = [];
    for (let seconds = step; seconds <= most; seconds += step) {
      rates.push(await server.warm(CONNECTIONS, step));
      if (seconds >= least && hasSettled(rates)) return;
    }
    this.#unsettled.add(server.name);
  }

  /** Time for two turns of all connections, if that can be had: a slow server may have no answer at all in less. */
  #closedSeconds({ fastest }: ServerUnderTest): number {
    const { closedSeconds } = this.#plan;
    const twoTurns = fastest === 0 ? Number.POSITIVE_INFINITY : Math.ceil((2 * CONNECTIONS) / fastest);
    return Math.min(Math.max(closedSeconds, twoTurns), closedSeconds * SLOW_TIMES);
  }

  /** One after the other, in an order that is reversed every other round. */
  async #each(round: number, what: string, work: (server: ServerUnderTest) => Promise<void>): Promise<void> {
    for (const server of inOrder(this.#servers, round)) {
      if (server.isWell) this.#progress(`throughput: ${server.name}, ${what}`);
      await server.attempt(work);
    }
  }
}
