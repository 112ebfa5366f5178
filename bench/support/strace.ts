import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** System calls by name. */
export type SyscallCounts = ReadonlyMap<string, number>;

/** Reads the table of `strace -c`. The columns are: % time, seconds, usecs/call, calls, errors (or blank), syscall. */
export function parseStraceCounts(table: string): SyscallCounts {
  const counts = new Map<string, number>();
  for (const line of table.split('\n')) {
    const [, calls, name] = /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$/.exec(line) ?? [];
    if (calls !== undefined && name !== undefined && name !== 'total') counts.set(name, Number(calls));
  }
  return counts;
}

/** What more work costs in system calls, per unit of it; calls that did not become more are left out. */
export function perUnit(less: SyscallCounts, more: SyscallCounts, units: number): SyscallCounts {
  const entries = Array.from(more, ([name, count]) => [name, (count - (less.get(name) ?? 0)) / units] as const);
  return new Map(entries.filter(([, count]) => count > 0).toSorted((a, b) => b[1] - a[1]));
}

/** Runs a command under strace, with all its threads. */
export async function countSyscalls(command: readonly string[]): Promise<SyscallCounts> {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-strace-'));
  const output = join(directory, 'counts');
  try {
    await promisify(execFile)('strace', ['-c', '-f', '-o', output, ...command]);
    return parseStraceCounts(readFileSync(output, 'utf8'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
