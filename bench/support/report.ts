import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describeMachine, loadAverage } from './machine.ts';
import { spreadOf, type Spread } from './statistics.ts';

const OUT = join(import.meta.dirname, '../out');

/** What a bench holds a number against. */
type Target = {
  readonly what: string;
  readonly value: number;
  /** `at most` or `at least` this. */
  readonly bound: 'at most' | 'at least';
  readonly limit: number;
  readonly unit: string;
};

/** What a bench says: tables on stdout, raw rounds and the machine in bench/out/<name>.json. */
export class Report {
  readonly #name: string;
  readonly #options: object;
  readonly #begun = new Date();
  readonly #loadBefore = loadAverage();
  readonly #rounds: object[] = [];
  readonly #notes: string[] = [];
  readonly #targets: (Target & { readonly met: boolean })[] = [];

  constructor(name: string, options: object) {
    this.#name = name;
    this.#options = options;
  }

  /** Keeps the raw numbers of one round. */
  round(raw: object): void {
    this.#rounds.push({ ...raw, load: loadAverage()[0] });
  }

  /** Something that a reader of the numbers must know: what was skipped and why, what failed. */
  note(text: string): void {
    this.#notes.push(text);
    process.stdout.write(`note: ${text}\n`);
  }

  table(headers: readonly string[], rows: readonly (readonly string[])[]): void {
    process.stdout.write(`\n${formatTable(headers, rows)}\n\n`);
  }

  /** Holds a number against a target. @returns whether it is met */
  target(target: Target): boolean {
    const { what, value, bound, limit, unit } = target;
    const met = bound === 'at most' ? value <= limit : value >= limit;
    this.#targets.push({ ...target, met });
    process.stdout.write(`${met ? 'met   ' : 'missed'} ${what}: ${number(value)}${unit}, ${bound} ${limit}${unit}\n`);
    return met;
  }

  /** Writes the file. */
  finish(): void {
    mkdirSync(OUT, { recursive: true });
    const path = join(OUT, `${this.#name}.json`);
    const report = {
      bench: this.#name,
      begun: this.#begun.toISOString(),
      options: this.#options,
      machine: describeMachine(),
      load: { before: this.#loadBefore, after: loadAverage() },
      notes: this.#notes,
      targets: this.#targets,
      rounds: this.#rounds,
    };
    writeFileSync(path, `${JSON.stringify(report, null, 1)}\n`);
    process.stdout.write(
      `load ${this.#loadBefore[0]} before, ${loadAverage()[0]} after; raw rounds in ${relative('.', path)}\n`,
    );
  }
}

/** Three significant digits; whole numbers stay whole. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** `median (q1 to q3)`. */
export function spreadText(values: Iterable<number> | Spread, unit = ''): string {
  const { median, q1, q3 } = Symbol.iterator in values ? spreadOf(values) : values;
  return `${number(median)}${unit} (${number(q1)} to ${number(q3)})`;
}

/** Columns as wide as their widest cell; the first to the left, the others to the right. */
export function formatTable(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headers, ...rows];
  const widths = headers.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const format = (line: readonly string[]): string =>
    widths
      .map((width, column) => (column === 0 ? (line[0] ?? '').padEnd(width) : (line[column] ?? '').padStart(width)))
      .join('  ')
      .trimEnd();
  return [format(headers), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(format)].join('\n');
}
