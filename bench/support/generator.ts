import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { atExit } from './at-exit.ts';
import type { JobResult, LoadJob } from './load-jobs.ts';

const ENTRY = join(import.meta.dirname, `load-process${extname(import.meta.url)}`);

/**
 * Does a job in a process of its own, which shares no core and no garbage with what asked for it.
 *
 * @param prefix a command that runs it: `taskset --cpu-list 1`
 * @throws when the process fails; servers that fail are in the result
 */
export async function generate<Job extends LoadJob>(job: Job, prefix: readonly string[]): Promise<JobResult<Job>> {
  const [file, ...args] = [...prefix, process.execPath, ENTRY];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const forget = atExit(() => child.kill('SIGKILL'));
  const [stdout, stderr, ended] = [text(child.stdout), text(child.stderr), once(child, 'close')];
  // An entry that ends before it has read its job says why on stderr.
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(job));
  const [code] = (await ended) as [number | null];
  forget();
  if (code !== 0) throw new Error(`the load generator ended with ${code}: ${(await stderr).slice(-2000)}`);
  return JSON.parse(await stdout) as JobResult<Job>;
}
