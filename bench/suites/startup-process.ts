import { execFile } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ChildResult, ChildSpec } from './startup-spec.ts';

const CHILD = fileURLToPath(new URL(`./startup-child${extname(import.meta.url)}`, import.meta.url));

/** Ten thousand starts with their phases are some 400 KB. */
const MAX_OUTPUT_BYTES = 1 << 26;

/** A start that hangs must not hold the suite: the dearest take a minute on a small machine. */
const TIMEOUT_MS = 300_000;

/**
 * Runs one way of one app in a process of its own, which ends with this one.
 * @throws Error with what the process said
 */
export async function runChild(spec: ChildSpec): Promise<ChildResult> {
  const options = { maxBuffer: MAX_OUTPUT_BYTES, timeout: TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
  const running = promisify(execFile)(process.execPath, [CHILD, JSON.stringify(spec)], options);
  const kill = (): void => void running.child.kill('SIGKILL');
  process.on('exit', kill);
  try {
    return JSON.parse((await running).stdout) as ChildResult;
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  } finally {
    process.off('exit', kill);
  }
}

/** The line that Node prints for an uncaught error, or whatever there is. */
function reasonOf(error: unknown): string {
  const { stderr = '', killed = false } = error as { stderr?: string; killed?: boolean };
  if (killed) return `it did not end within ${TIMEOUT_MS / 1000} s`;
  const line = /^(?:Uncaught )?(?:\w*Error(?: \[\w+\])?: .*)$/m.exec(stderr)?.[0];
  return line ?? (stderr.trim().split('\n').at(-1) || String(error));
}
