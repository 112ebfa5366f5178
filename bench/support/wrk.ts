import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** What wrk says of one run. Times in milliseconds. */
export type WrkResult = {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Socket errors and answers that are not 2xx or 3xx. */
  readonly failed: number;
};

const MICROSECONDS: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1_000_000 };

/** Reads the output of `wrk --latency`. @throws when it has no rate */
export function parseWrk(output: string): WrkResult {
  const perSecond = Number(/^Requests\/sec:\s+([\d.]+)$/m.exec(output)?.[1] ?? Number.NaN);
  if (Number.isNaN(perSecond)) throw new Error(`wrk gave no rate:\n${output}`);
  const percentile = (percent: number): number => {
    const [, value, unit] = new RegExp(`^\\s*${percent}%\\s+([\\d.]+)(us|ms|s)\\s*$`, 'm').exec(output) ?? [];
    return (Number(value ?? Number.NaN) * (MICROSECONDS[unit ?? ''] ?? Number.NaN)) / 1000;
  };
  const refused = Number(/^\s*Non-2xx or 3xx responses: (\d+)$/m.exec(output)?.[1] ?? 0);
  const [, ...errors] = /^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$/m.exec(output) ?? [];
  const failed = errors.reduce((sum, count) => sum + Number(count), refused);
  return { perSecond, p50: percentile(50), p99: percentile(99), failed };
}

/** An answer that takes longer counts as failed; wrk's own two seconds are less than slow servers take under load. */
const TIMEOUT = '30s';

export type WrkInput = {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** A command that runs it: `taskset -c 1`. */
  readonly prefix?: readonly string[];
};

/** One thread of wrk against a URL. */
export async function runWrk({ url, connections, seconds, prefix = [] }: WrkInput): Promise<WrkResult> {
  const wrk = ['wrk', '--threads', '1', '--connections', String(connections), '--duration', `${seconds}s`];
  const [file, ...args] = [...prefix, ...wrk, '--timeout', TIMEOUT, '--latency', url];
  return parseWrk((await promisify(execFile)(file ?? 'wrk', args)).stdout);
}
