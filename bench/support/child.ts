import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { atExit } from './at-exit.ts';

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
  readonly #forget: () => void;
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
    this.#forget = atExit(this.#kill);
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
    return bytesOf(status, field) ?? Number.NaN;
  }

  /** CPU time of the whole process group so far. Unlike the time of day, it stays the same on a machine that is busy. */
  get cpuSeconds(): number {
    return groupTicks(allStats(), this.pid) / TICKS_PER_SECOND;
  }

  /** Whether a thread of the group runs, or would if it had a core. */
  get isRunnable(): boolean {
    const pids = groupOf(allStats(), this.pid).map(({ pid }) => pid);
    return pids.some((pid) =>
      threadsOf(pid).some((thread) => /\) R /.test(processFile(`${pid}/task/${thread}`, 'stat'))),
    );
  }

  /** Open file descriptors. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Mappings, as lines of /proc/<pid>/maps. */
  get mappings(): number {
    return readFileSync(`/proc/${this.pid}/maps`, 'latin1').split('\n').length - 1;
  }

  /** Resident memory of all processes of the group, in bytes; what several of them share counts for each. */
  get groupResidentBytes(): number {
    const pids = groupOf(allStats(), this.pid).map(({ pid }) => pid);
    return pids.reduce((sum, pid) => sum + (bytesOf(processFile(pid, 'status'), 'VmRSS') ?? 0), 0);
  }

  /** Stops the group's work until `resume`: a server that waits for its turn must not take time from the one measured. */
  pause(): void {
    this.#signal('SIGSTOP');
  }

  resume(): void {
    this.#signal('SIGCONT');
  }

  /** SIGTERM, and SIGKILL to whatever of the group is left. */
  async stop(): Promise<void> {
    if (this.isRunning) {
      this.resume();
      this.#process.kill('SIGTERM');
      const killer = setTimeout(this.#kill, STOP_MS);
      await this.#exited;
      clearTimeout(killer);
    }
    this.#kill();
    this.#forget();
  }

  readonly #kill = (): void => this.#signal('SIGKILL');

  #signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal);
    } catch {
      // The group is gone already.
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** USER_HZ, the same on all Linux architectures that Node runs on. */
const TICKS_PER_SECOND = 100;

/** `VmRSS:	   43112 kB` in bytes; null where there is no such line, as for a process that has ended. */
const bytesOf = (status: string, field: string): number | null => {
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
};

function threadsOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    // It has ended meanwhile.
    return [];
  }
}

/** The text of /proc/<pid>/stat of every process. */
const allStats = (): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => processFile(pid, 'stat'));

function processFile(pid: string, name: 'stat' | 'status'): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    // It has ended meanwhile.
    return '';
  }
}

/**
 * User and system time, in clock ticks, of the processes of one group.
 * @param stats the text of /proc/<pid>/stat of all processes
 */
export const groupTicks = (stats: readonly string[], group: number): number =>
  groupOf(stats, group).reduce((sum, { ticks }) => sum + ticks, 0);

function groupOf(stats: readonly string[], group: number): { readonly pid: string; readonly ticks: number }[] {
  return stats.flatMap((stat) => {
    // The name, in parentheses, may contain anything. After it: state, parent, group, …, user (12th), system (13th).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(fields[2]) !== group) return [];
    return [{ pid: stat.slice(0, stat.indexOf(' ')), ticks: Number(fields[11]) + Number(fields[12]) }];
  });
}

/** Whether a command can be run; benches that need it are skipped where it cannot. */
export const hasCommand = (command: string, ...args: readonly string[]): boolean =>
  spawnSync(command, args.length === 0 ? ['--version'] : args, { stdio: 'ignore' }).error === undefined;
