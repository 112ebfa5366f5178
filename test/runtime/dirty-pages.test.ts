import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { PagemapDirtyPages, ScanDirtyPages, type DirtyPages } from '../../src/runtime/dirty-pages.ts';
import { addressOf, dropPages, kernelPageBytes, mapFile, mapZeroes } from '../../src/runtime/libc.ts';
import { WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { TIERS, temporaryDirectory } from '../support/runtime.ts';

/** Against a naive account of what was written: a file mapped over the first half of a memory, zeroes over the rest. */

const PAGE_BYTES = kernelPageBytes();
/** 2 MiB. */
const LENGTH = 32 * WASM_PAGE_BYTES;
const PAGES = LENGTH / PAGE_BYTES;
const FILE_PAGES = PAGES / 2;

const path = join(temporaryDirectory(), 'base');
writeFileSync(path, Buffer.alloc(FILE_PAGES * PAGE_BYTES, 1));
const fd = openSync(path, 'r');
after(() => closeSync(fd));

/** One mapping for all cases: `fresh` makes it new. */
const { buffer } = new WebAssembly.Memory({ initial: 32, maximum: 32 });
const bytes = new Uint8Array(buffer);
const address = addressOf(buffer);

function fresh(): void {
  mapZeroes(address, LENGTH);
  mapFile(address, FILE_PAGES * PAGE_BYTES, fd);
}

/** The pages that a scan of [from, to) names; runs must be in order, within bounds and not touch each other. */
function scanned(dirty: DirtyPages, from = 0, to = PAGES): number[] {
  const pages: number[] = [];
  let end = -1;
  dirty.scan(address + BigInt(from * PAGE_BYTES), (to - from) * PAGE_BYTES, (start, stop) => {
    assert.ok(start >= end && start < stop && stop <= (to - from) * PAGE_BYTES, `run ${start} to ${stop} after ${end}`);
    assert.equal(start % PAGE_BYTES, 0);
    assert.equal(stop % PAGE_BYTES, 0);
    end = stop;
    for (let at = start; at < stop; at += PAGE_BYTES) pages.push(from + at / PAGE_BYTES);
  });
  return pages;
}

/** `capacity`: runs that one call can name; every third page makes a run of its own. */
const FINDERS: readonly { name: string; tier: 'scan' | 'pagemap'; make: () => DirtyPages }[] = [
  { name: 'PAGEMAP_SCAN', tier: 'scan', make: () => new ScanDirtyPages() },
  { name: 'PAGEMAP_SCAN one run at a time', tier: 'scan', make: () => new ScanDirtyPages(1) },
  { name: 'PAGEMAP_SCAN two runs at a time', tier: 'scan', make: () => new ScanDirtyPages(2) },
  { name: 'pagemap', tier: 'pagemap', make: () => new PagemapDirtyPages() },
];

for (const { name, tier, make } of FINDERS) {
  const failure = TIERS.find((probe) => probe.tier === tier)?.failure ?? null;
  describe(`${name} finds private pages`, { skip: failure ?? false }, () => {
    const dirty = failure === null ? make() : null;
    const find = (from?: number, to?: number): number[] => (dirty === null ? [] : scanned(dirty, from, to));
    after(() => dirty?.close());

    test('none where nothing was written, and none of a file that is read', () => {
      fresh();
      assert.deepEqual(find(), []);
      let sum = 0;
      for (let page = 0; page < FILE_PAGES; page++) sum += bytes[page * PAGE_BYTES] ?? 0;
      assert.equal(sum, FILE_PAGES);
      assert.deepEqual(find(), []);
    });

    test('those that were written, one byte or all, at every place', () => {
      const page = fc.integer({ min: 0, max: PAGES - 1 });
      const writes = fc.array(fc.record({ page, count: fc.integer({ min: 1, max: 5 }) }), { maxLength: 40 });
      fc.assert(
        fc.property(writes, fc.tuple(page, page), (runs, [one, other]) => {
          fresh();
          const written = new Set<number>();
          for (const { page: first, count } of runs) {
            for (let at = first; at < Math.min(PAGES, first + count); at++) {
              bytes[at * PAGE_BYTES + (at % PAGE_BYTES)] = 7;
              written.add(at);
            }
          }
          const expected = [...written].toSorted((a, b) => a - b);
          assert.deepEqual(find(), expected);
          const [from, to] = [Math.min(one, other), Math.max(one, other) + 1];
          assert.deepEqual(
            find(from, to),
            expected.filter((at) => at >= from && at < to),
          );
        }),
        { numRuns: 50 },
      );
    });

    test('every third page: more runs than one call names', () => {
      fresh();
      const expected: number[] = [];
      for (let page = 0; page < PAGES; page += 3) {
        bytes[page * PAGE_BYTES] = 7;
        expected.push(page);
      }
      assert.deepEqual(find(), expected);
    });

    test('none once they are dropped', () => {
      fresh();
      bytes.fill(7);
      assert.equal(find().length, PAGES);
      dropPages(address, LENGTH);
      assert.deepEqual(find(), []);
      assert.deepEqual([bytes[0], bytes[LENGTH - 1]], [1, 0]);
    });
  });
}
