import { createHash } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Float64Histogram, HistogramLogWriter } from 'hdr-histogram-js';
import { ThawError, messageOf } from '../errors.ts';
import type { NamedSeries, StartupHistograms } from './histograms.ts';
import type { Series } from './series.ts';
import { UNITS_PER_MICROSECOND } from './series.ts';

/** HDR logs hold nanoseconds by custom: HistogramLogProcessor divides by a million and shows milliseconds. */
const NANOSECONDS_PER_UNIT = 1000 / UNITS_PER_MICROSECOND;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;

/** Longest file name without its ending: ext4 and most others allow 255 bytes, the hash and `.tmp` want room. */
const FILE_NAME_MAX = 200;

/** The series in nanoseconds, with 3 digits. 64-bit counts: 32 bits would wrap, and this copy does not live long. */
function inNanoseconds(series: Series): Float64Histogram {
  const histogram = new Float64Histogram(1, 2, 3);
  histogram.autoResize = true;
  series.forEachValue((units, count) => histogram.recordValueWithCount(units * NANOSECONDS_PER_UNIT, count));
  return histogram;
}

/**
 * A histogram log, format 1.3 with V2 histograms
 * (https://hdrhistogram.github.io/HdrHistogram/JavaDoc/org/HdrHistogram/HistogramLogWriter.html): one interval, from the
 * first recording until now, for each kind and phase, told apart by the tag `<kind>.<phase>`. Values in nanoseconds.
 */
export function hlogText(series: Iterable<NamedSeries>, startedAtMs: number, nowMs: number): string {
  let text = '';
  const writer = new HistogramLogWriter((line) => {
    text += line;
  });
  writer.outputComment('[Logged by thaw, values in nanoseconds]');
  writer.outputLogFormatVersion();
  const startedAt = new Date(startedAtMs).toISOString();
  writer.outputComment(`[StartTime: ${(startedAtMs / 1000).toFixed(3)} (seconds since epoch), ${startedAt}]`);
  writer.outputLegend();
  for (const { kind, phase, series: recorded } of series) {
    const histogram = inNanoseconds(recorded);
    histogram.tag = `${kind}.${phase}`;
    writer.outputIntervalHistogram(histogram, startedAtMs / 1000, nowMs / 1000, NANOSECONDS_PER_MILLISECOND);
  }
  return text;
}

/**
 * A file name for a route id: letters, digits, hyphen, underscore and inner dots stay, other bytes become `%XX`. Names
 * that would be too long end in a hash of the id. Two ids never share a name.
 */
export function hlogFileName(routeId: string): string {
  const safe = Array.from(Buffer.from(routeId), (byte, index) => {
    const char = String.fromCharCode(byte);
    const plain = /[A-Za-z0-9_-]/.test(char) || (char === '.' && index > 0);
    return plain ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
  if (safe.length <= FILE_NAME_MAX) return `${safe}.hlog`;
  const hash = createHash('sha256').update(routeId).digest('hex').slice(0, 32);
  return `${safe.slice(0, FILE_NAME_MAX - hash.length - 1)}~${hash}.hlog`;
}

/** Readers see the old file or the new one, never a part. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Writes `all.hlog` and `routes/<route>.hlog` for each route with a start to `dir`, which is made if need be.
 *
 * @returns the number of files written.
 * @throws ThawError `HLOG_UNWRITABLE` when the directory or a file cannot be written.
 */
export async function writeHlog(
  histograms: StartupHistograms,
  dir: string,
  nowMs: number = Date.now(),
): Promise<number> {
  const { startedAtMs } = histograms;
  const routeIds = histograms.routeIds();
  try {
    await mkdir(join(dir, 'routes'), { recursive: true });
    await replaceFile(join(dir, 'all.hlog'), hlogText(histograms.ofAll(), startedAtMs, nowMs));
    for (const routeId of routeIds) {
      const path = join(dir, 'routes', hlogFileName(routeId));
      await replaceFile(path, hlogText(histograms.ofRoute(routeId), startedAtMs, nowMs));
    }
  } catch (error) {
    throw new ThawError('HLOG_UNWRITABLE', `writing histogram logs to ${dir}: ${messageOf(error)}`, { cause: error });
  }
  return routeIds.length + 1;
}
