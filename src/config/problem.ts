import { ERRORS, ThawError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';

/** One thing wrong with a config. `where` is `file:line:column`, or the flag or variable that brought the value. */
export type Problem = { readonly code: ErrorCode; readonly where: string; readonly message: string };

/** Problems printed in one message: more than a screen of them help nobody, and a wrong file can have thousands. */
const SHOWN_PROBLEMS = 50;

const line = ({ where, message }: Problem): string => `${where}: ${message}`;

const summary = (problems: readonly Problem[]): string => {
  const lines = problems.slice(0, SHOWN_PROBLEMS).map(line);
  if (lines.length === 1 && problems.length === 1) return lines.join('');
  const hidden = problems.length - lines.length;
  if (hidden > 0) lines.push(`and ${hidden} more`);
  return [`${problems.length} problems in the config`, ...lines].join('\n  ');
};

/** Everything that is wrong with a config, together. `code` is that of the first problem; the message lists them all. */
export class ConfigError extends ThawError {
  /** Never empty. */
  readonly problems: readonly Problem[];

  constructor(first: Problem, ...others: readonly Problem[]) {
    const problems = [first, ...others];
    super(first.code, summary(problems));
    this.problems = problems;
  }

  /** The advice for each kind of problem, once. */
  override get help(): string {
    return [...new Set(this.problems.map(({ code }) => ERRORS[code].help))].join('\n');
  }
}

/** Throws a `ConfigError` with all of them when there are any. */
export const throwProblems = (problems: readonly Problem[]): void => {
  const [first, ...others] = problems;
  if (first !== undefined) throw new ConfigError(first, ...others);
};
