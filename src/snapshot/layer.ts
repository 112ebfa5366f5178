/**
 * Images and the layers they are stored as. An image is the content of a linear memory in 4 KiB pages; a delta lays
 * some pages over a base. A delta is, in little-endian 32-bit words:
 *
 *     "thawdlta" · format · bytes in a page · pages · runs · { first page, pages } per run · zeros · pages' contents
 *
 * Runs ascend and never touch, so that a set of pages has one encoding. The contents follow one another in the order of
 * the runs and begin at a multiple of the page size: applying a delta is one scatter read (`preadv`) of its file.
 */
import { ThawError, invariant } from '../errors.ts';
import { IMAGE_PAGE_BYTES, SNAPSHOT_FORMAT } from './manifest.ts';
import { asBuffer, countPages, isZeroPage, nonZeroRuns, runsWhere } from './pages.ts';
import type { PageRun } from './pages.ts';

const MAGIC = 'thawdlta';
const FORMAT_AT = 8;
const PAGE_BYTES_AT = 12;
const PAGES_AT = 16;
const RUN_COUNT_AT = 20;
const RUNS_AT = 24;
const RUN_BYTES = 8;

/** What a 32-bit linear memory can hold: 4 GiB. */
const MAX_PAGES = 2 ** 32 / IMAGE_PAGE_BYTES;

/** The pages of an image that differ from its base, ascending, and their contents in the same order. */
export type PageDiff = { readonly pages: Uint32Array; readonly bytes: Uint8Array };

/**
 * Where a delta's pages go and come from. `pages` counts those of all runs, `endPage` is one past the last page
 * written, `pagesOffset` is the byte offset in the delta at which the contents begin.
 */
export type Delta = {
  readonly runs: readonly PageRun[];
  readonly pages: number;
  readonly endPage: number;
  readonly pagesOffset: number;
};

/** How many pages of an image are not all zero. */
export const countNonZeroPages = (image: Uint8Array): number => countPages(nonZeroRuns(image));

/** A view of the image without its trailing zero pages; empty when all is zero. */
export function trimImage(image: Uint8Array): Uint8Array {
  const buffer = asBuffer(image);
  let pages = pagesOf(image);
  while (pages > 0 && isZeroPage(buffer, pages - 1)) pages--;
  return image.subarray(0, pages * IMAGE_PAGE_BYTES);
}

/**
 * The pages in which `image` differs from `base`. Both are whole pages; the shorter counts as going on with zeros, so a
 * page that only the base has, and not all zero there, is among them as a page of zeros.
 */
export function diffImage(base: Uint8Array, image: Uint8Array): PageDiff {
  const [below, above] = [asBuffer(base), asBuffer(image)];
  const runs = runsWhere(Math.max(pagesOf(base), pagesOf(image)), (page) => !isSamePage(below, above, page));
  const pages = new Uint32Array(countPages(runs));
  const bytes = new Uint8Array(pages.length * IMAGE_PAGE_BYTES);
  let at = 0;
  for (const run of runs) {
    const start = run.start * IMAGE_PAGE_BYTES;
    bytes.set(image.subarray(start, start + run.pages * IMAGE_PAGE_BYTES), at * IMAGE_PAGE_BYTES);
    for (let page = 0; page < run.pages; page++) pages[at++] = run.start + page;
  }
  return { pages, bytes };
}

function isSamePage(a: Buffer, b: Buffer, page: number): boolean {
  const start = page * IMAGE_PAGE_BYTES;
  const end = start + IMAGE_PAGE_BYTES;
  if (start >= a.length) return isZeroPage(b, page);
  if (start >= b.length) return isZeroPage(a, page);
  return a.compare(b, start, end, start, end) === 0;
}

/** The delta object of a diff: equal diffs give equal bytes. */
export function encodeDelta({ pages, bytes }: PageDiff): Uint8Array {
  invariant(bytes.length === pages.length * IMAGE_PAGE_BYTES, 'a diff has one page of bytes for each of its pages');
  const runs = runsOf(pages);
  const pagesOffset = contentsOffset(runs.length);
  const object = new Uint8Array(pagesOffset + bytes.length);
  const delta = asBuffer(object);
  delta.write(MAGIC, 'latin1');
  delta.writeUInt32LE(SNAPSHOT_FORMAT, FORMAT_AT);
  delta.writeUInt32LE(IMAGE_PAGE_BYTES, PAGE_BYTES_AT);
  delta.writeUInt32LE(pages.length, PAGES_AT);
  delta.writeUInt32LE(runs.length, RUN_COUNT_AT);
  runs.forEach((run, index) => {
    delta.writeUInt32LE(run.start, RUNS_AT + index * RUN_BYTES);
    delta.writeUInt32LE(run.pages, RUNS_AT + index * RUN_BYTES + 4);
  });
  delta.set(bytes, pagesOffset);
  return object;
}

/**
 * Reads and checks the head of a delta object given whole.
 *
 * @throws STORE_LAYER_INVALID when it is cut short, of another format, or when its runs overlap, are out of order or
 *   leave the 4 GiB of a memory.
 */
export function parseDelta(bytes: Uint8Array): Delta {
  const delta = asBuffer(bytes);
  if (delta.length < RUNS_AT || delta.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    refuse(`its ${delta.length} bytes do not begin with ${JSON.stringify(MAGIC)} and a head of ${RUNS_AT} bytes`);
  }
  expectWord('format', delta.readUInt32LE(FORMAT_AT), SNAPSHOT_FORMAT);
  expectWord('page size', delta.readUInt32LE(PAGE_BYTES_AT), IMAGE_PAGE_BYTES);
  const pages = delta.readUInt32LE(PAGES_AT);
  const runCount = delta.readUInt32LE(RUN_COUNT_AT);
  const pagesOffset = contentsOffset(runCount);
  expectWord('length in bytes', delta.length, pagesOffset + pages * IMAGE_PAGE_BYTES);
  const runs = readRuns(delta, runCount);
  expectWord('number of pages', countPages(runs), pages);
  const last = runs.at(-1);
  return { runs, pages, endPage: last === undefined ? 0 : last.start + last.pages, pagesOffset };
}

/**
 * Lays a delta object over the base in `memory`.
 *
 * @throws STORE_LAYER_INVALID, before a byte is written, when the delta is malformed or the memory ends before it does.
 */
export function applyDelta(memory: Uint8Array, bytes: Uint8Array): void {
  const { runs, endPage, pagesOffset } = parseDelta(bytes);
  if (endPage * IMAGE_PAGE_BYTES > memory.length) {
    refuse(`it writes up to byte ${endPage * IMAGE_PAGE_BYTES}, but the memory has ${memory.length} bytes`);
  }
  let from = pagesOffset;
  for (const run of runs) {
    const length = run.pages * IMAGE_PAGE_BYTES;
    memory.set(bytes.subarray(from, from + length), run.start * IMAGE_PAGE_BYTES);
    from += length;
  }
}

function readRuns(delta: Buffer, count: number): PageRun[] {
  const runs: PageRun[] = [];
  let free = 0;
  for (let index = 0; index < count; index++) {
    const start = delta.readUInt32LE(RUNS_AT + index * RUN_BYTES);
    const pages = delta.readUInt32LE(RUNS_AT + index * RUN_BYTES + 4);
    const where = `run ${index} (page ${start}, ${pages} pages)`;
    if (pages === 0) refuse(`${where} is empty`);
    if (start < free) refuse(`${where} begins before page ${free}, where the run before it allows one`);
    if (start + pages > MAX_PAGES) refuse(`${where} ends beyond page ${MAX_PAGES}, the end of a memory`);
    runs.push({ start, pages });
    free = start + pages + 1;
  }
  return runs;
}

function runsOf(pages: Uint32Array): PageRun[] {
  const runs: { start: number; pages: number }[] = [];
  let end = -1;
  for (const page of pages) {
    invariant(page >= end && page < MAX_PAGES, 'the pages of a diff ascend and lie in a memory');
    const run = runs.at(-1);
    if (run !== undefined && page === end) run.pages++;
    else runs.push({ start: page, pages: 1 });
    end = page + 1;
  }
  return runs;
}

function pagesOf(image: Uint8Array): number {
  invariant(image.length % IMAGE_PAGE_BYTES === 0, `an image is whole pages of ${IMAGE_PAGE_BYTES} bytes`);
  return image.length / IMAGE_PAGE_BYTES;
}

const contentsOffset = (runs: number): number =>
  Math.ceil((RUNS_AT + runs * RUN_BYTES) / IMAGE_PAGE_BYTES) * IMAGE_PAGE_BYTES;

function expectWord(what: string, found: number, expected: number): void {
  if (found !== expected) refuse(`its ${what} is ${found}, expected ${expected}`);
}

function refuse(problem: string): never {
  throw new ThawError('STORE_LAYER_INVALID', `cannot read the delta layer: ${problem}`);
}
