import { ThawError, type ErrorCode } from '../errors.ts';
import { CpuTimeExceeded } from '../wasi/guest.ts';

/** What is said of requests that fail: to their clients, and to the log. */

/** Seconds that a client which met a full node should wait. */
export const RETRY_AFTER = { 'retry-after': '1' };

/** A failing guest is worth a look; a client that leaves is everyday. */
const LOG_LEVELS: Partial<Record<ErrorCode, 'error' | 'info'>> = { INTERNAL: 'error', CLIENT_GONE: 'info' };

export const logLevelOf = (code: ErrorCode): 'error' | 'warn' | 'info' => LOG_LEVELS[code] ?? 'warn';

/** @param cpuMs the route's limit; a route that is curbed has less */
export function logText(failure: ThawError, cpuMs: number): string {
  if (!(failure instanceof CpuTimeExceeded) || failure.limitMs >= cpuMs) return failure.message;
  const [used, limit] = [failure.usedMs, failure.limitMs].map((ms) => ms.toFixed(1));
  return `the request used ${used} ms of CPU time, over the ${limit} ms that are left of limits.cpu: the route is stopped again and again`;
}

export class MethodNotAllowed extends ThawError {
  readonly allow: readonly string[];

  constructor(allow: readonly string[]) {
    super('METHOD_NOT_ALLOWED', `the route takes ${allow.join(', ')}`);
    this.allow = allow;
  }
}

/** What a client may know: never the guest's internals. */
export function publicText({ code, status, message }: ThawError): string {
  const isClients = status < 500 || code === 'DRAINING' || code === 'ROUTE_BUSY' || code === 'NODE_BUSY';
  if (isClients) return message;
  if (code === 'CPU_TIME_EXCEEDED') return 'the app used too much CPU time';
  return status === 504 ? 'the app took too long to answer' : 'the app failed';
}
