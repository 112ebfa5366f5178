import { styleText } from 'node:util';

/**
 * Characters that a terminal acts on or hides: controls, format characters, line separators. Names and messages come
 * from guests, and reach a terminal as text only.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** The same, in text of several lines: frames of source code have tabs. */
const UNPRINTABLE_IN_TEXT = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

const escaped = (char: string): string => `\\u{${char.codePointAt(0)?.toString(16) ?? ''}}`;

const printable = (text: string): string => text.replaceAll(UNPRINTABLE_IN_TEXT, escaped);

type Style = Parameters<typeof styleText>[0];

/** For stderr; with colour only on a terminal, and never with NO_COLOR. */
const onStderr = (style: Style, text: string): string => styleText(style, printable(text), { stream: process.stderr });

/** Data, on stdout: lines, without the last line feed. */
export function print(lines: readonly string[]): void {
  const shown = lines.map((line) => line.replaceAll(UNPRINTABLE, escaped));
  if (shown.length > 0) process.stdout.write(`${shown.join('\n')}\n`);
}

/** One JSON document on stdout. Its escapes are JSON's, so that a terminal shows what a program reads. */
export function printJson(value: unknown): void {
  const text = JSON.stringify(value, null, 2).replaceAll(UNPRINTABLE_IN_TEXT, (char) =>
    Array.from(char.split(''), (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  );
  process.stdout.write(`${text}\n`);
}

/** A message, on stderr. */
export const note = (text: string): boolean => process.stderr.write(`${printable(text)}\n`);

/** What goes wrong, on stderr, and what to do about it. */
export function complain(message: string, help: string): void {
  process.stderr.write(`${onStderr('red', 'thaw:')} ${printable(message)}\n${onStderr('dim', help)}\n`);
}

/** Shows what is being done, on stderr and on a terminal only. */
export function showProgress(subject: string): (step: string) => void {
  if (!process.stderr.isTTY) return () => {};
  return (step) => void process.stderr.write(`${onStderr('dim', `${subject}: ${step}`)}\n`);
}

/** Rows with aligned columns, two spaces apart. `rightAligned` are the indexes of columns of numbers. */
export function table(rows: readonly (readonly string[])[], rightAligned: readonly number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)));
  const pad = (cell: string, column: number): string => {
    const width = widths[column] ?? 0;
    return rightAligned.includes(column) ? cell.padStart(width) : cell.padEnd(width);
  };
  return rows.map((row) => row.map(pad).join('  ').trimEnd());
}

/** Width of wrapped lists: wide enough for any one name in them, and for most terminals. */
const LIST_COLUMNS = 100;

/** `title: a, b, c` on one line, or the list below the title and indented when it is longer than a line. */
export function list(title: string, items: readonly string[]): string[] {
  const whole = `${title}: ${items.join(', ')}`;
  if (whole.length <= LIST_COLUMNS) return [whole];
  const indent = `${/^ */.exec(title)?.[0] ?? ''}    `;
  const lines: string[] = [];
  let line = indent;
  for (const [index, item] of items.entries()) {
    const word = index < items.length - 1 ? `${item}, ` : item;
    if (line !== indent && line.length + word.length > LIST_COLUMNS) {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += word;
  }
  return [`${title}:`, ...lines, line];
}

/** `12,345` */
export const grouped = (count: number): string => count.toLocaleString('en-US');

/** `1 page`, `12,345 pages` */
export const plural = (count: number, what: string): string => `${grouped(count)} ${what}${count === 1 ? '' : 's'}`;

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** A size to three digits or so: `820 B`, `13.5 MiB`. */
export function readableBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const scaled = bytes / 1024 ** power;
  return `${power === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${BYTE_UNITS[power]}`;
}

/** `820 ms`, `13.5 s` */
export const readableMs = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** A digest as `ls` and tables show it: 12 digits, which `thaw inspect` takes too. */
export const shortDigest = (digest: string): string => digest.slice(0, 12);
