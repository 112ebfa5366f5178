import { CommanderError } from 'commander';
import { ConfigError } from '../config/problem.ts';
import { ERRORS, ThawError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { complain } from './output.ts';

/** Faults of the command line itself, as opposed to those of what it names. */
const WRONG_USAGE: ReadonlySet<ErrorCode> = new Set(['USAGE', 'BUILD_OPTION_INVALID']);

const FAILED = 1;
const MISUSED = 2;

/** Such as when the working directory is gone. No bug of thaw's, so where it was asked is of no interest. */
const isOfSystem = (error: unknown): error is Error => error instanceof Error && 'syscall' in error;

/** Tells the person what went wrong. @returns the exit code: 2 for wrong usage, 1 for all other failures */
export function reportError(error: unknown): number {
  // commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : MISUSED;
  if (error instanceof ThawError && error.code !== 'INTERNAL') {
    complain(error instanceof ConfigError ? problemList(error) : error.message, error.help);
    return WRONG_USAGE.has(error.code) ? MISUSED : FAILED;
  }
  if (isOfSystem(error)) {
    complain(error.message, 'The operating system refused this; its own message is shown.');
    return FAILED;
  }
  complain(error instanceof Error ? (error.stack ?? error.message) : String(error), ERRORS.INTERNAL.help);
  return FAILED;
}

/** One problem a line, each beginning with its place, so that editors can follow them. All of them: a pipe may count. */
function problemList({ problems }: ConfigError): string {
  const lines = problems.map(({ where, message }) => `${where}: ${message}`);
  return problems.length === 1 ? lines.join('') : [`${problems.length} problems in the config`, ...lines].join('\n');
}
