import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ThawError, messageOf } from '../../src/errors.ts';
import type { BenchReport } from './format.ts';
import { reportMarkdown } from './markdown.ts';
import { reportPage } from './page/page.ts';
import { parseReport } from './parse.ts';

/**
 * Writes report.json, report.md and report.html into a directory, which is made when it is missing. Each file appears
 * whole or not at all. The raw data is written first: whatever goes wrong after that, the run was not for nothing.
 *
 * @returns the three paths, the page first
 * @throws BENCH_REPORT_UNWRITABLE with the path, and BENCH_REPORT_INVALID when the report does not fit its format: a NaN
 *   among the numbers, say
 */
export async function writeReport(report: BenchReport, directory: string): Promise<readonly string[]> {
  const pathOf = (name: string): string => join(directory, name);
  const json = `${JSON.stringify(report)}\n`;
  await replace(directory, pathOf('report.json'), json);
  // From what was written, and not from what is in memory: the numbers are those that a reader of the file gets.
  const written = parseReport(json, pathOf('report.json'));
  const markdown = reportMarkdown(written);
  const page = await reportPage(written, json, markdown);
  await replace(directory, pathOf('report.md'), markdown);
  await replace(directory, pathOf('report.html'), page);
  return ['report.html', 'report.md', 'report.json'].map(pathOf);
}

async function replace(directory: string, path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomUUID()}`;
  try {
    await mkdir(directory, { recursive: true });
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new ThawError('BENCH_REPORT_UNWRITABLE', `writing ${path}: ${messageOf(error)}`, { cause: error });
  }
}
