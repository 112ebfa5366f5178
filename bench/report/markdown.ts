/** A report as Markdown: the page's tables and words, for terminals, repositories and reviews. */

import { figuresOf, headlineOf, type ReportFigures } from './figures.ts';
import type { AppFigures } from './figures/startup.ts';
import type { BenchReport } from './format.ts';
import { methodOf, summaryOf, type Explained } from './method.ts';
import { bytes } from './numbers.ts';
import { plainText, type Cell, type Column, type Row, type Table } from './table.ts';
import {
  appsTable,
  commandsTable,
  densityTable,
  headlineTable,
  latencyTable,
  machineTable,
  peersTable,
  percentilesTable,
  phasesTable,
  snapshotTable,
  throughputTable,
  verdictOf,
  waysTable,
} from './tables.ts';
import { CAVEATS } from './words.ts';

/**
 * Text from outside as Markdown that shows it as it is: nothing in it makes a link, an element, emphasis or a list.
 * Underscores within words make no emphasis, and stay readable.
 */
export function escapeMarkdown(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .trim()
    .replaceAll(/[\\`*[\]<>|&~]/g, String.raw`\$&`)
    .replaceAll(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, String.raw`\_`)
    .replace(/^(?=[#+=-])/, '\\')
    .replace(/^(\d+)(?=[.)](?: |$))/, '$1\\');
}

/** A code span, within a fence of as many backticks as it takes. Pipes are escaped, since it may stand in a table. */
function codeSpan(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').replaceAll('|', String.raw`\|`);
  const longest = Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return longest === 0 ? `${fence}${line}${fence}` : `${fence} ${line} ${fence}`;
}

const cellText = (cell: Cell): string => (cell.kind === 'code' ? codeSpan(cell.text) : escapeMarkdown(plainText(cell)));

const heading = ({ label, unit }: Column): string => escapeMarkdown(unit === undefined ? label : `${label}, ${unit}`);

function rowCells({ header, body }: Row, columns: number): string[] {
  if (!('kind' in body)) return [cellText(header), ...body.map(cellText)];
  const why = `${body.kind}: ${escapeMarkdown(body.message)}`;
  return [cellText(header), why, ...Array.from({ length: columns - 2 }, () => '')];
}

/** Without its caption: a heading says it, or the text around it. */
export function markdownTable({ columns, rows }: Table): string {
  const lines = [
    columns.map(heading),
    columns.map(({ isNumeric }) => (isNumeric ? '---:' : '---')),
    ...rows.map((row) => rowCells(row, columns.length)),
  ];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const captioned = (table: Table): string => `**${escapeMarkdown(table.caption)}**\n\n${markdownTable(table)}`;

const list = (items: readonly string[]): string => items.map((item) => `- ${item}`).join('\n');

const explained = (words: readonly Explained[]): string =>
  list(words.map(({ name, about }) => `**${escapeMarkdown(name)}**: ${about}`));

/** Paragraphs; those that are empty are left out. */
const join = (parts: readonly (string | null)[]): string =>
  parts.filter((part) => part !== null && part !== '').join('\n\n');

function appSection(app: AppFigures): string {
  const advice = app.advice.length === 0 ? null : `For its author:\n\n${list(app.advice.map(escapeMarkdown))}`;
  const tables = [waysTable(app), phasesTable(app), percentilesTable(app), snapshotTable(app)];
  return join([`### ${escapeMarkdown(app.name)}`, escapeMarkdown(app.about), advice, ...tables.map(captioned)]);
}

function startupSection({ apps }: ReportFigures): string | null {
  if (apps.length === 0) return null;
  const overview = apps.length > 1 ? captioned(appsTable(apps)) : null;
  return join(['## Starts', overview, ...apps.map(appSection)]);
}

function serversSection({ throughput }: ReportFigures): string | null {
  if (throughput === null) return null;
  const tables = [peersTable, latencyTable, throughputTable, commandsTable].map((table) =>
    captioned(table(throughput)),
  );
  return join(['## Servers', escapeMarkdown(`Pinning: ${throughput.pinning}.`), ...tables]);
}

function densitySection({ density }: ReportFigures): string | null {
  if (density === null) return null;
  const { bytesPerRoute, slots, about } = density;
  const slope = bytesPerRoute === null ? '' : ` One more route takes ${bytes(bytesPerRoute)} of memory.`;
  return join(['## Density', `${escapeMarkdown(about)} ${slots} slots.${slope}`, markdownTable(densityTable(density))]);
}

/** The text of report.md. */
export function reportMarkdown(report: BenchReport): string {
  const figures = figuresOf(report);
  const headline = headlineOf(figures);
  const verdict = verdictOf(figures);
  const notes = report.notes.length === 0 ? null : `## Notes of this run\n\n${list(report.notes.map(escapeMarkdown))}`;
  const text = join([
    '# Startup report of thaw',
    escapeMarkdown(summaryOf(report)),
    verdict === null ? null : escapeMarkdown(verdict),
    headline === null ? null : markdownTable(headlineTable(headline)),
    startupSection(figures),
    serversSection(figures),
    densitySection(figures),
    `## Machine\n\n${markdownTable(machineTable(report))}`,
    notes,
    `## Method\n\n${join(methodOf(figures).map(({ title, words }) => `### ${title}\n\n${explained(words)}`))}`,
    `## Caveats\n\n${list(CAVEATS)}`,
  ]);
  return `${text}\n`;
}
