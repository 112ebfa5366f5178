import { constants } from 'node:os';

/**
 * One wish to stop comes as several signals: a terminal sends Ctrl-C to the whole process group, and npm and the
 * launcher pass on what they got. Within a second of the first they all mean the same.
 */
const SAME_WISH_MS = 1000;

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Waits for SIGINT or SIGTERM. A further one, more than a second later, ends the process at once, with 128 and the
 * number of the signal.
 */
export function untilStopped(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let firstAt: number | null = null;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      const now = performance.now();
      firstAt ??= now;
      if (now - firstAt > SAME_WISH_MS) process.exit(128 + constants.signals[signal]);
      resolve();
    });
  }
  return promise;
}
