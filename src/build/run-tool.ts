import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { ThawError } from '../errors.ts';
import type { Scratch } from './scratch.ts';

export type ToolRun = {
  /** null when a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
};

export type ToolOptions = {
  /** The whole environment of the tool. */
  readonly env?: Record<string, string>;
  readonly timeoutMs?: number;
};

/**
 * Runs an executable in the scratch directory, with no environment but `env`, and waits for it. Its output is
 * captured: stdout belongs to the data of `thaw build`. It leads a process group of its own, so that an interrupt ends
 * it together with what it started; a terminal's Ctrl-C would otherwise reach some of them and not others.
 *
 * @throws ThawError BUILD_TOOL_FAILED when it cannot be started; a failing exit status is the caller's to judge.
 */
export async function runTool(
  scratch: Scratch,
  file: string,
  args: readonly string[],
  { env = {}, timeoutMs }: ToolOptions = {},
): Promise<ToolRun> {
  const child = spawn(file, args, { cwd: scratch.dir, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const settled = new Promise<Pick<ToolRun, 'status' | 'signal'>>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new ThawError('BUILD_TOOL_FAILED', `starting ${file}: ${cause.message}`, { cause })),
    );
    child.once('close', (status, signal) => resolve({ status, signal }));
  });
  const kill = (): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
  };
  const forget = scratch.onInterrupt(kill);
  let timedOut = false;
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          kill();
        }, timeoutMs);
  try {
    const [end, stdout, stderr] = await Promise.all([settled, text(child.stdout), text(child.stderr)]);
    return { ...end, stdout, stderr, timedOut };
  } finally {
    clearTimeout(timer);
    forget();
  }
}
