import { figuresOf, headlineOf } from './report/figures.ts';
import type { BenchReport } from './report/format.ts';
import { plainText, type Table } from './report/table.ts';
import { appsTable, densityTable, headlineTable, peersTable, verdictOf } from './report/tables.ts';
import { formatTable } from './support/report.ts';

/** What a run found, for a terminal: the answer in a sentence, and one table for each suite. */
export function headlineText(report: BenchReport): string {
  const figures = figuresOf(report);
  const { apps, throughput, density } = figures;
  const headline = headlineOf(figures);
  const tables = [
    headline === null ? null : apps.length > 1 ? appsTable(apps) : headlineTable(headline),
    throughput === null ? null : peersTable(throughput),
    density === null ? null : densityTable(density),
  ];
  const advice = apps.length === 1 ? (apps[0]?.advice ?? []) : [];
  const parts = [
    verdictOf(figures),
    ...tables.map((table) => (table === null ? null : tableText(table))),
    advice.length === 0 ? null : advice.map((text) => `- ${text}`).join('\n'),
  ];
  return parts.filter((part) => part !== null).join('\n\n');
}

function tableText({ caption, columns, rows }: Table): string {
  const headers = columns.map(({ label, unit }) => (unit === undefined ? label : `${label}, ${unit}`));
  const lines = rows.map(({ header, body }) => [
    plainText(header),
    ...('kind' in body ? [`${body.kind}: ${body.message}`] : body.map(plainText)),
  ]);
  return `${caption}\n${formatTable(headers, lines)}`;
}
