import { IMAGE_PAGE_BYTES } from './manifest.ts';

/** A stretch of neighbouring image pages. Both numbers count pages. */
export type PageRun = { readonly start: number; readonly pages: number };

const ZERO_PAGE = Buffer.alloc(IMAGE_PAGE_BYTES);

/** The same bytes as a Buffer, whose compare takes offsets: no view is made for each page. */
export const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Whether page `page` of `bytes` is all zero. Bytes past the end count as zero. */
export function isZeroPage(bytes: Buffer, page: number): boolean {
  const start = Math.min(page * IMAGE_PAGE_BYTES, bytes.length);
  const end = Math.min(start + IMAGE_PAGE_BYTES, bytes.length);
  return bytes.compare(ZERO_PAGE, 0, end - start, start, end) === 0;
}

/** The longest stretches of pages that are not zero, in order. The last page may be cut short. */
export function nonZeroRuns(bytes: Uint8Array): PageRun[] {
  const buffer = asBuffer(bytes);
  const pages = Math.ceil(bytes.length / IMAGE_PAGE_BYTES);
  return runsWhere(pages, (page) => !isZeroPage(buffer, page));
}

/** The longest stretches of the pages 0 to `pages` for which `test` holds, in order. */
export function runsWhere(pages: number, test: (page: number) => boolean): PageRun[] {
  const runs: PageRun[] = [];
  let start = 0;
  for (let page = 0; page <= pages; page++) {
    if (page < pages && test(page)) continue;
    if (page > start) runs.push({ start, pages: page - start });
    start = page + 1;
  }
  return runs;
}

export const countPages = (runs: readonly PageRun[]): number => runs.reduce((sum, run) => sum + run.pages, 0);
