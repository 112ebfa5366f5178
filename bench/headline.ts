import { figuresOf, headlineOf } from './report/figures.ts';
import type { BenchReport } from './report/format.ts';
import type { Cell, Table } from './report/table.ts';
import { appsTable, densityTable, headlineTable, peersTable, verdictOf } from './report/tables.ts';
import { formatTable } from './support/report.ts';

/** What a run found, for a terminal: the answer in a sentence, and one table for each suite. Quartiles are in the report. */
export function headlineText(report: BenchReport): string {
  const figures = figuresOf(report);
  const { apps, throughput, density } = figures;
  const headline = headlineOf(figures);
  // One app is the user's: what to do about it is what was asked.
  const [only] = apps.length === 1 ? apps : [];
  const parts = [
    verdictOf(figures),
    headline === null ? null : tableText(only === undefined ? appsTable(apps) : headlineTable(headline)),
    throughput === null ? null : tableText(peersTable(throughput)),
    density === null ? null : tableText(densityTable(density)),
    only === undefined ? null : only.advice.map((text) => `- ${text}`).join('\n'),
  ];
  return parts.filter((part) => part !== null && part !== '').join('\n\n');
}

const cellText = (cell: Cell): string => (cell.kind === 'none' ? '-' : cell.text);

/** Rows without numbers, with the first line of why, come below the others. */
function tableText({ caption, columns, rows }: Table): string {
  const headers = columns.map(({ label, unit }) => (unit === undefined ? label : `${label}, ${unit}`));
  const lines = rows.flatMap(({ header, body }) => ('kind' in body ? [] : [[header, ...body].map(cellText)]));
  const absent = rows.flatMap(({ header, body }) =>
    'kind' in body ? [`${cellText(header)}: ${body.kind}: ${body.message.split('\n', 1)[0] ?? ''}`] : [],
  );
  return [caption, formatTable(headers, lines), ...absent].join('\n');
}
