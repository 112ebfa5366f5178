import { closeSync, openSync, readSync } from 'node:fs';
import { ThawError } from '../errors.ts';
import { addressOf, ioctl, kernelPageBytes, lastErrno } from './libc.ts';

/**
 * Finds the pages of a mapping that are private to this process: written since the file was mapped, or since zeroes were.
 * Source: Linux, Documentation/admin-guide/mm/pagemap.rst.
 */
export interface DirtyPages {
  /**
   * Calls `visit` with each run of private pages between two addresses, in order. Byte offsets from `start`; a run is a
   * whole number of kernel pages.
   */
  scan(start: bigint, length: number, visit: (from: number, to: number) => void): void;
  close(): void;
}

const PAGEMAP = '/proc/self/pagemap';

/** _IOWR('f', 16, struct pm_scan_arg), and the argument's size in bytes. */
const PAGEMAP_SCAN = 0xc0606610;
const PM_SCAN_ARG_BYTES = 96n;
const PAGE_IS_FILE = 4n;
const PAGE_IS_PRESENT = 8n;
const PAGE_IS_SWAPPED = 16n;

/** Words of `struct pm_scan_arg`, all u64. */
const ARG = {
  size: 0,
  start: 2,
  end: 3,
  walkEnd: 4,
  vec: 5,
  vecLength: 6,
  inverted: 8,
  mask: 9,
  anyOf: 10,
  returned: 11,
} as const;
/** Words of `struct page_region`: start, end, categories. */
const REGION_WORDS = 3;

/** Runs that one call can report. A request of a StarlingMonkey app writes some 30 runs; when it is full, scan goes on. */
const REGIONS = 512;

/** Linux 6.7 and later: one ioctl names the runs. */
export class ScanDirtyPages implements DirtyPages {
  readonly #fd = openSync(PAGEMAP, 'r');
  readonly #regions: BigUint64Array;
  readonly #argument: BigUint64Array;
  readonly #capacity: number;

  /** @param capacity runs per call; tests make it small */
  constructor(capacity: number = REGIONS) {
    this.#capacity = capacity;
    this.#regions = new BigUint64Array(REGION_WORDS * capacity);
    this.#argument = new BigUint64Array(Number(PM_SCAN_ARG_BYTES) / 8);
    const argument = this.#argument;
    argument[ARG.size] = PM_SCAN_ARG_BYTES;
    argument[ARG.vec] = addressOf(this.#regions.buffer);
    argument[ARG.vecLength] = BigInt(capacity);
    // Not file-backed, and present or swapped out.
    argument[ARG.inverted] = PAGE_IS_FILE;
    argument[ARG.mask] = PAGE_IS_FILE;
    argument[ARG.anyOf] = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    argument[ARG.returned] = PAGE_IS_PRESENT;
  }

  scan(start: bigint, length: number, visit: (from: number, to: number) => void): void {
    const argument = this.#argument;
    const end = start + BigInt(length);
    argument[ARG.start] = start;
    argument[ARG.end] = end;
    for (;;) {
      const count = ioctl(this.#fd, PAGEMAP_SCAN, argument);
      if (count < 0) throw new ThawError('INTERNAL', `PAGEMAP_SCAN of ${length} bytes failed with ${lastErrno()}`);
      for (let region = 0; region < count; region++) {
        const at = region * REGION_WORDS;
        visit(Number((this.#regions[at] as bigint) - start), Number((this.#regions[at + 1] as bigint) - start));
      }
      const walked = argument[ARG.walkEnd] as bigint;
      if (count < this.#capacity || walked >= end) return;
      argument[ARG.start] = walked;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Bits of the high word of a pagemap entry: 63 present, 62 swapped, 61 file-mapped or shared. */
const ENTRY_PRESENT = 0x8000_0000;
const ENTRY_SWAPPED = 0x4000_0000;
const ENTRY_FILE = 0x2000_0000;
const ENTRY_BYTES = 8;

/** Any Linux: 8 bytes a page are read and looked at. */
export class PagemapDirtyPages implements DirtyPages {
  readonly #fd = openSync(PAGEMAP, 'r');
  readonly #pageBytes = kernelPageBytes();
  #entries = new Uint32Array(0);

  scan(start: bigint, length: number, visit: (from: number, to: number) => void): void {
    const pages = Math.ceil(length / this.#pageBytes);
    if (this.#entries.length < pages * 2) this.#entries = new Uint32Array(pages * 2);
    this.#read(Number(start / BigInt(this.#pageBytes)), pages);
    let from = -1;
    for (let page = 0; page <= pages; page++) {
      const isPrivate = page < pages && isPrivateEntry(this.#entries[page * 2 + 1] as number);
      if (isPrivate && from < 0) from = page;
      if (!isPrivate && from >= 0) {
        visit(from * this.#pageBytes, page * this.#pageBytes);
        from = -1;
      }
    }
  }

  #read(firstPage: number, pages: number): void {
    const wanted = pages * ENTRY_BYTES;
    const count = readSync(this.#fd, this.#entries, 0, wanted, firstPage * ENTRY_BYTES);
    if (count !== wanted) throw new ThawError('INTERNAL', `reading ${wanted} bytes of ${PAGEMAP} gave ${count}`);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const isPrivateEntry = (high: number): boolean =>
  (high & (ENTRY_PRESENT | ENTRY_SWAPPED)) !== 0 && (high & ENTRY_FILE) === 0;
