import { readFileSync } from 'node:fs';
import { hasCommand } from './child.ts';

/** Where servers and load generators run, so that neither takes time from the other. */
export type Pinning = {
  /** Commands that run another: `taskset --cpu-list 0`, or nothing. */
  readonly server: readonly string[];
  readonly client: readonly string[];
  /** `server on core 0, load on core 1`, or why nothing is pinned. */
  readonly about: string;
};

/** The cores that this process may use: a container may have some of the machine's. */
export function choosePinning(): Pinning {
  const status = readFileSync('/proc/self/status', 'latin1');
  const cores = parseCores(/^Cpus_allowed_list:\s+(\S+)$/m.exec(status)?.[1] ?? '');
  if (!hasCommand('taskset')) return unpinned('no taskset');
  const [server, client] = cores;
  if (server === undefined || client === undefined) return unpinned('one core');
  return { server: on(server), client: on(client), about: `server on core ${server}, load on core ${client}` };
}

const on = (core: number): string[] => ['taskset', '--cpu-list', String(core)];

const unpinned = (reason: string): Pinning => ({ server: [], client: [], about: `not pinned: ${reason}` });

/** `0-2,5` as 0, 1, 2, 5: the format of cpuset(7). */
export const parseCores = (list: string): number[] =>
  list
    .split(',')
    .filter((part) => part !== '')
    .flatMap((part) => {
      const [first = Number.NaN, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
