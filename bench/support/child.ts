import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** A server that says nothing is given up after this: the slowest, jco, translates its component first. */
const START_MS = 60_000;
/** From SIGTERM to SIGKILL. */
const STOP_MS = 5000;
/** The last lines of output are kept, to be shown when a server ends. */
const KEPT_LINES = 200;

export type ChildInput = {
  readonly name: string;
  readonly command: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
};

/** A server under test: a process group of its own, so that what it starts ends with it. */
export class Child implements AsyncDisposable {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #exited: Promise<unknown>;
  #waiting: { readonly pattern: RegExp; readonly found: (match: RegExpExecArray) => void }[] = [];

  constructor({ name, command, cwd, env }: ChildInput) {
    this.name = name;
    const [file, ...args] = command as [string, ...string[]];
    const options = { detached: true, env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }) };
    this.#process = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#exited = once(this.#process, 'exit');
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      createInterface({ input: stream as Readable }).on('line', (line) => this.#take(line));
    }
    process.on('exit', this.#kill);
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** The last lines that it wrote. */
  get output(): string {
    return this.#lines.join('\n');
  }

  /** Waits for a line that matches. @throws when the process ends, or says nothing of the kind in time */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    for (const line of this.#lines) {
      const match = pattern.exec(line);
      if (match !== null) return match;
    }
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    this.#waiting.push({ pattern, found: resolve });
    const give = (what: string): void => reject(new Error(`${this.name} ${what}:\n${this.output}`));
    const timer = setTimeout(give, START_MS, `did not say ${String(pattern)} in ${START_MS} ms`);
    void this.#exited.then(() => give('ended'));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #take(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    this.#waiting = this.#waiting.filter(({ pattern, found }) => {
      const match = pattern.exec(line);
      if (match !== null) found(match);
      return match === null;
    });
  }

  /** Bytes of memory by a field of /proc/<pid>/status: `VmRSS` now, `VmHWM` at most, `VmSize` reserved. */
  memory(field: 'VmRSS' | 'VmHWM' | 'VmSize'): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  }

  /** CPU time of the whole process group so far. Unlike the time of day, it stays the same on a machine that is busy. */
  get cpuSeconds(): number {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return groupTicks(pids.map(statOf), this.pid) / TICKS_PER_SECOND;
  }

  /** Open file descriptors. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Mappings, as lines of /proc/<pid>/maps. */
  get mappings(): number {
    return readFileSync(`/proc/${this.pid}/maps`, 'latin1').split('\n').length - 1;
  }

  /** SIGTERM, and SIGKILL to whatever of the group is left. */
  async stop(): Promise<void> {
    if (this.isRunning) {
      this.#process.kill('SIGTERM');
      const killer = setTimeout(this.#kill, STOP_MS);
      await this.#exited;
      clearTimeout(killer);
    }
    this.#kill();
    process.off('exit', this.#kill);
  }

  readonly #kill = (): void => {
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // The group is gone already.
    }
  };

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** USER_HZ, the same on all Linux architectures that Node runs on. */
const TICKS_PER_SECOND = 100;

function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    // It has ended meanwhile.
    return '';
  }
}

/**
 * User and system time, in clock ticks, of the processes of one group.
 * @param stats the text of /proc/<pid>/stat of all processes
 */
export function groupTicks(stats: readonly string[], group: number): number {
  let ticks = 0;
  for (const stat of stats) {
    // The name, in parentheses, may contain anything. After it: state, parent, group, …, user (12th), system (13th).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(fields[2]) === group) ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks;
}

/** Whether a command can be run; benches that need it are skipped where it cannot. */
export const hasCommand = (command: string, ...args: readonly string[]): boolean =>
  spawnSync(command, args.length === 0 ? ['--version'] : args, { stdio: 'ignore' }).error === undefined;
