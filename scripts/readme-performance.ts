/**
 * README's section on performance, held to the reference report: `node scripts/readme-performance.ts` writes it anew from
 * bench/reports/reference.json, and bench/reports/reference.md beside it. To make another reference report, run
 * `npx thaw bench` on a quiet machine, put its report.json there and run this.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { BenchReport } from '../bench/report/format.ts';
import { figuresOf, headlineOf, type ReportFigures } from '../bench/report/figures.ts';
import { escapeMarkdown, markdownTable, reportMarkdown } from '../bench/report/markdown.ts';
import { dateTime } from '../bench/report/numbers.ts';
import { parseReport } from '../bench/report/parse.ts';
import type { Table } from '../bench/report/table.ts';
import { headlineTable, peersTable } from '../bench/report/tables.ts';

const README = new URL('../README.md', import.meta.url);
const REPORT = new URL('../bench/reports/reference.json', import.meta.url);
const MARKDOWN = new URL('../bench/reports/reference.md', import.meta.url);

const BEGIN = '<!-- performance: written by scripts/readme-performance.ts -->\n';
const END = '<!-- end of performance -->\n';

/** What the section is put before when README has none yet. */
const NEXT = '## The admin listener\n';

/** The reference report, or null while there is none. @throws BENCH_REPORT_INVALID when it cannot be read */
export function readReference(): BenchReport | null {
  if (!existsSync(REPORT)) return null;
  return parseReport(readFileSync(REPORT, 'utf8'), fileURLToPath(REPORT));
}

function startsOf(figures: ReportFigures): string[] {
  const headline = headlineOf(figures);
  if (headline === null) return [];
  const { name, about } = headline.app;
  const intro = `How long one app takes to start, until the head of its response. The app is **${escapeMarkdown(name)}**: ${escapeMarkdown(about)} Medians, and in parentheses quartiles, over rounds in which all ways take their turn.`;
  return [intro, markdownTable(headlineTable(headline))];
}

/** Of what failed, the first line: the whole message is in the report. */
const inOneLine = (table: Table): Table => ({
  ...table,
  rows: table.rows.map(({ header, body }) => ({
    header,
    body: 'kind' in body ? { ...body, message: body.message.split('\n', 1)[0] ?? '' } : body,
  })),
});

function peersOf({ throughput }: ReportFigures): string[] {
  if (throughput === null) return [];
  const intro = `What clients see, beside other servers (${escapeMarkdown(throughput.pinning)}). Compare with those that give each request fresh state; the others do less.`;
  return [intro, markdownTable(inOneLine(peersTable(throughput)))];
}

function machineOf({ machine, begun, thaw }: BenchReport): string {
  const { cpu, cores, kernel, node } = machine;
  const where = escapeMarkdown(`${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}`);
  return `Measured with thaw ${escapeMarkdown(thaw)} on ${where}, ${dateTime(begun)}. Times are of that machine; ratios travel better.`;
}

const OWN = `\`npx thaw bench\` makes such a report on yours, and \`npx thaw bench --app app.js\` one about your app, with advice. [The whole report](bench/reports/reference.md) has every app, phases, percentiles, pages, versions, commands and the formulas; all raw rounds are in [reference.json](bench/reports/reference.json).`;

const sectionOf = (report: BenchReport): string => {
  const figures = figuresOf(report);
  return ['## Performance', ...startsOf(figures), ...peersOf(figures), machineOf(report), OWN].join('\n\n');
};

/**
 * README with its section brought up to date, or put in where it has none.
 *
 * @param report null while there is no reference report: README then may not have the section
 * @throws Error when README has a section without a report, one mark without the other, or lost the place for it
 */
export function readmeWithPerformance(readme: string, report: BenchReport | null): string {
  const [before = '', rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  if ((rest === undefined) !== !readme.includes(END) || (rest !== undefined && after === undefined))
    throw new Error(`README.md has lost ${BEGIN.trim()} or ${END.trim()}`);
  if (report === null) {
    if (rest !== undefined) throw new Error('README.md has a section on performance, but there is no reference report');
    return readme;
  }
  const section = `${BEGIN}\n${sectionOf(report)}\n\n${END}`;
  if (after !== undefined) return `${before}${section}${after}`;
  const [first, ...others] = readme.split(NEXT);
  if (others.length !== 1)
    throw new Error(`README.md has no place for its section on performance, before ${NEXT.trim()}`);
  return `${first}${section}\n${NEXT}${others[0]}`;
}

/** What bench/reports/reference.md holds. */
export const referenceMarkdown = (report: BenchReport): string => reportMarkdown(report);

if (import.meta.main) {
  const report = readReference();
  const before = readFileSync(README, 'utf8');
  const after = readmeWithPerformance(before, report);
  if (after !== before) writeFileSync(README, after);
  if (report === null)
    console.error('there is no bench/reports/reference.json: README.md stays without a section on performance');
  else writeFileSync(MARKDOWN, referenceMarkdown(report));
}
