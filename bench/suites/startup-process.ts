import { execFile } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { atExit } from '../support/at-exit.ts';
import { cachePath } from '../support/components.ts';
import type { ChildResult, ChildSpec } from './startup-spec.ts';

const CHILD = fileURLToPath(new URL(`./startup-child${extname(import.meta.url)}`, import.meta.url));

/** Ten thousand starts with their phases are some 400 KB. */
const MAX_OUTPUT_BYTES = 1 << 26;

/** A start that hangs must not hold the suite: the dearest take a minute on a small machine. */
const TIMEOUT_MS = 300_000;

/**
 * Runs one way of one app in a process of its own, which ends with this one. thaw's own JavaScript is compiled ahead,
 * which saves a quarter of a second for each; nothing of it is measured.
 * @throws Error with what the process said
 */
export async function runChild(spec: ChildSpec): Promise<ChildResult> {
  const env = { NODE_COMPILE_CACHE: cachePath('compile'), ...process.env };
  const options = { env, maxBuffer: MAX_OUTPUT_BYTES, timeout: TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
  const running = promisify(execFile)(process.execPath, [CHILD, JSON.stringify(spec)], options);
  const forget = atExit(() => running.child.kill('SIGKILL'));
  try {
    return JSON.parse((await running).stdout) as ChildResult;
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  } finally {
    forget();
  }
}

/** The line that Node prints for an uncaught error, or whatever there is. */
function reasonOf(error: unknown): string {
  const { stderr = '', killed = false } = error as { stderr?: string; killed?: boolean };
  if (killed) return `it did not end within ${TIMEOUT_MS / 1000} s`;
  const line = /^(?:Uncaught )?(?:\w*Error(?: \[\w+\])?: .*)$/m.exec(stderr)?.[0];
  return line ?? (stderr.trim().split('\n').at(-1) || String(error));
}
