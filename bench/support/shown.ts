import { basename, isAbsolute } from 'node:path';

/** Commands and messages as they may stand in a report: without the paths of the machine on which it was made. */

/** A command line as it could be typed, with absolute paths cut to the names of their files. */
export const shownCommand = (argv: readonly string[]): string =>
  argv.map((argument) => quoted(isAbsolute(argument) ? basename(argument) : argument)).join(' ');

const quoted = (argument: string): string =>
  /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", String.raw`'\''`)}'`;

/** The paths of two names and more that are in a text: not what stands in URLs, nor `/x`. */
const PATH = /(?<![\w.:/~@-])(?:file:\/\/)?(?:\/[\w.@+~-]+)+\/([\w.@+~-]+)/g;

/** A text with its absolute paths cut to the last name. */
export const withoutPaths = (text: string): string => text.replace(PATH, '…/$1');

const SHOWN_LINES = 6;
const SHOWN_CHARACTERS = 600;

/** The last lines of what a server wrote, as a message. */
export function lastLines(output: string): string {
  const lines = withoutPaths(output)
    .split('\n')
    .filter((line) => line.trim() !== '');
  return lines.slice(-SHOWN_LINES).join('\n').slice(-SHOWN_CHARACTERS);
}
