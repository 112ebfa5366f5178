import { rmSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A temporary directory, and a place to say what else must end when the work is interrupted. */
export type Scratch = {
  /** Absolute, with no symbolic link in it. */
  readonly dir: string;
  /** Registers `cancel`, to be called when the process ends early. Returns a function that takes it back. */
  onInterrupt(cancel: () => void): () => void;
};

/**
 * Runs `work` with a temporary directory, which is gone afterwards: on return, on error, on `process.exit` and on
 * SIGINT, SIGTERM or SIGHUP. A signal that nobody else listens to then ends the process as it would have without this.
 */
export async function withScratch<T>(work: (scratch: Scratch) => Promise<T>): Promise<T> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'thaw-build-')));
  const cancels = new Set<() => void>();
  const abandon = (): void => {
    for (const cancel of cancels) cancel();
    rmSync(dir, { recursive: true, force: true });
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    abandon();
    process.removeListener(signal, onSignal);
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  process.once('exit', abandon);
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    return await work({
      dir,
      onInterrupt(cancel) {
        cancels.add(cancel);
        return () => void cancels.delete(cancel);
      },
    });
  } finally {
    process.removeListener('exit', abandon);
    for (const signal of SIGNALS) process.removeListener(signal, onSignal);
    await rm(dir, { recursive: true, force: true });
  }
}
