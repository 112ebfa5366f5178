import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { DirtyPages } from '../../src/runtime/dirty-pages.ts';
import { addressOf, kernelPageBytes } from '../../src/runtime/libc.ts';
import { MappingBudget } from '../../src/runtime/mapping-budget.ts';
import { createRestorer } from '../../src/runtime/restore-tier.ts';
import { SlotMemory, type Restorer } from '../../src/runtime/slot-memory.ts';
import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { TestImage, type ImageSpec } from '../support/images.ts';
import { TIERS } from '../support/runtime.ts';
import { thawError } from '../snapshot/support.ts';

/** One contract for all tiers: after `restore`, the memory is what a naive copy of the image would be, all of it. */

/** More than COPY_WHOLE_BYTES, so that memories of this size are restored page by page. 16 image pages each. */
const PAGES = 10;
const last = PAGES * 16 - 1;

const SPECS = {
  empty: { pages: 0 },
  zero: { pages: PAGES },
  small: { pages: 1, base: { seed: 1, pages: 3 }, delta: { seed: 2, pages: [1, 7] } },
  base: { pages: PAGES, base: { seed: 3, pages: 37 } },
  // The same base, and pages over it, at its end, beyond it and at the end of the memory.
  onBase: { pages: PAGES, base: { seed: 3, pages: 37 }, delta: { seed: 4, pages: [0, 1, 5, 36, 37, 90, last] } },
  otherOnBase: { pages: PAGES + 2, base: { seed: 3, pages: 37 }, delta: { seed: 5, pages: [1, 2, 36, 120] } },
  shorterOnBase: { pages: 3, base: { seed: 3, pages: 37 }, delta: { seed: 6, pages: [40] } },
  otherBase: { pages: PAGES, base: { seed: 7, pages: 160 } },
  longer: { pages: PAGES + 4, base: { seed: 8, pages: 200 }, delta: { seed: 9, pages: [3, 199, 210] } },
  deltaOnly: { pages: PAGES, delta: { seed: 10, pages: [2, 3, 100] } },
} as const satisfies Record<string, ImageSpec>;

const images = new Map(Object.entries(SPECS).map(([name, spec]) => [name, new TestImage(spec)]));

function named(name: keyof typeof SPECS): TestImage {
  const image = images.get(name);
  assert.ok(image);
  return image;
}

function assertHolds(memory: SlotMemory, image: TestImage, what: string): void {
  const expected = image.expected(memory.bytes.length);
  assert.ok(memory.bytes.length >= image.bytes, `${what}: the memory is as large as the image`);
  if (memory.bytes.equals(expected)) return;
  const at = memory.bytes.findIndex((byte, index) => byte !== expected[index]);
  assert.fail(`${what}: byte ${at} (page ${Math.floor(at / IMAGE_PAGE_BYTES)}) is ${memory.bytes[at]}`);
}

/** Fills bytes as a guest would, through the memory's own buffer. */
function write(memory: SlotMemory, at: number, length: number): void {
  memory.begin();
  new Uint8Array(memory.memory.buffer).fill(0xee, at, at + length);
}

/** The kernel's flags of the mapping at an address. `nh`: no huge pages. */
function flagsAt(address: bigint): string {
  const mappings = readFileSync('/proc/self/smaps', 'latin1').matchAll(
    /^([0-9a-f]+)-([0-9a-f]+) [^]*?^VmFlags: (.*)$/gm,
  );
  for (const [, start, end, flags] of mappings) {
    if (BigInt(`0x${start}`) <= address && address < BigInt(`0x${end}`)) return flags ?? '';
  }
  return 'not mapped';
}

const mappingCount = (): number => readFileSync('/proc/self/maps', 'latin1').split('\n').length;

/** Names pages in groups of four, as a kernel with pages of 16 KiB would. */
const coarse = (dirty: DirtyPages): DirtyPages => ({
  scan(start, length, visit) {
    const unit = 4 * IMAGE_PAGE_BYTES;
    dirty.scan(start, length, (from, to) => visit(from - (from % unit), to + ((unit - (to % unit)) % unit)));
  },
  close: () => dirty.close(),
});

type Variant = { readonly name: string; readonly failure: string | null; readonly make: () => Restorer };

const VARIANTS: readonly Variant[] = TIERS.flatMap(({ tier, failure }) => {
  const variant = { name: `tier ${tier}`, failure, make: () => createRestorer(tier) };
  if (tier !== 'scan') return [variant];
  const make = (): Restorer => {
    const restorer = createRestorer(tier);
    assert.ok('dirty' in restorer);
    return { tier, dirty: coarse(restorer.dirty) };
  };
  return [variant, { name: 'tier scan with pages of 16 KiB', failure, make }];
});

for (const { name, failure, make } of VARIANTS) {
  describe(name, { skip: failure ?? false }, () => {
    const restorer = failure === null ? make() : ({ tier: 'copy' } as const);
    const newMemory = (pages = 0): SlotMemory => new SlotMemory(pages, restorer);

    test('a memory goes from every image to every other, written all over between', () => {
      const memory = newMemory();
      for (const [from, before] of images) {
        for (const [to, after] of images) {
          memory.restore(before.image);
          assertHolds(memory, before, from);
          write(memory, 0, memory.bytes.length);
          memory.restore(after.image);
          assertHolds(memory, after, `${from} → ${to}`);
        }
      }
    });

    test('a memory of no pages holds the empty image', () => {
      const memory = newMemory();
      assert.equal(memory.restore(named('empty').image), 0);
      assert.equal(memory.bytes.length, 0);
      memory.clear(0);
      memory.rest();
      memory.restore(named('base').image);
      assertHolds(memory, named('base'), 'base after empty');
    });

    test('what a guest writes beyond the image, in memory that it grew, is gone', () => {
      const memory = newMemory(PAGES);
      const image = named('onBase');
      memory.restore(image.image);
      memory.memory.grow(5);
      write(memory, 0, 100);
      write(memory, image.bytes - 10, 5 * WASM_PAGE_BYTES + 10);
      memory.restore(image.image);
      assert.equal(memory.bytes.length, (PAGES + 5) * WASM_PAGE_BYTES);
      assertHolds(memory, image, 'after growth');
    });

    test('more pages than copying back keeps are brought back all the same', () => {
      // 17 MiB, with the limit at 16.
      const pages = 17 * 16;
      const image = new TestImage({ pages, base: { seed: 3, pages: 37 }, delta: { seed: 4, pages: [0, 40, 4000] } });
      const memory = newMemory(pages);
      memory.restore(image.image);
      write(memory, 0, memory.bytes.length);
      memory.restore(image.image);
      assertHolds(memory, image, 'all pages written');
      write(memory, 5000, 1);
      memory.restore(image.image);
      assertHolds(memory, image, 'one page written after all were');
    });

    test('clear makes all zero, whatever was mapped and written', () => {
      for (const image of ['onBase', 'deltaOnly', 'small'] as const) {
        const memory = newMemory();
        memory.restore(named(image).image);
        memory.memory.grow(1);
        write(memory, memory.bytes.length - 5, 5);
        memory.clear(PAGES);
        assert.ok(memory.bytes.length >= PAGES * WASM_PAGE_BYTES);
        assert.ok(memory.bytes.equals(Buffer.alloc(memory.bytes.length)), image);
        write(memory, 0, memory.bytes.length);
        memory.restore(named(image).image);
        assertHolds(memory, named(image), `${image} after clear`);
      }
    });

    test('a memory that rested holds the next image, written or not before', () => {
      const memory = newMemory();
      for (const image of ['onBase', 'deltaOnly', 'zero', 'small', 'onBase'] as const) {
        memory.restore(named(image).image);
        assertHolds(memory, named(image), image);
        write(memory, 0, memory.bytes.length);
        memory.rest();
      }
    });

    test('any sequence of images, writes and growth leaves what a naive copy would', () => {
      const names = fc.constantFrom(...(Object.keys(SPECS) as (keyof typeof SPECS)[]));
      const step = fc.oneof(
        fc.record({ kind: fc.constant('restore' as const), image: names, times: fc.constantFrom(1, 1, 2, 18) }),
        fc.record({
          kind: fc.constant('write' as const),
          at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
          length: fc.integer({ min: 1, max: 20_000 }),
        }),
        fc.record({ kind: fc.constant('grow' as const), pages: fc.integer({ min: 0, max: 2 }) }),
        fc.record({ kind: fc.constantFrom('clear' as const, 'rest' as const) }),
      );
      fc.assert(
        fc.property(fc.array(step, { minLength: 3, maxLength: 25 }), names, (steps, final) => {
          const memory = newMemory();
          for (const one of [...steps, { kind: 'restore' as const, image: final, times: 1 }]) {
            if (one.kind === 'restore') {
              for (let time = 0; time < one.times; time++) memory.restore(named(one.image).image);
              assertHolds(memory, named(one.image), one.image);
            } else if (one.kind === 'write') {
              write(memory, Math.floor(one.at * memory.bytes.length), one.length);
            } else if (one.kind === 'grow') {
              memory.memory.grow(one.pages);
            } else if (one.kind === 'clear') {
              memory.clear(PAGES);
            } else {
              memory.rest();
            }
          }
        }),
        { numRuns: 20 },
      );
    });
  });
}

/** That pages are found, and not merely all of them copied, shows in their number only. */
for (const tier of ['scan', 'pagemap'] as const) {
  const failure = TIERS.find((probe) => probe.tier === tier)?.failure ?? null;
  describe(`tier ${tier} copies what was written`, { skip: failure ?? false }, () => {
    const image = named('onBase').image;
    const restored = (): SlotMemory => {
      const memory = new SlotMemory(PAGES, createRestorer(tier));
      memory.restore(image);
      return memory;
    };
    const sparse = [10, 20, 60].map((page) => page * IMAGE_PAGE_BYTES);

    test(
      'the pages that were written, and no others: the delta is mapped',
      { skip: kernelPageBytes() !== 4096 },
      () => {
        const memory = restored();
        assert.equal(memory.restore(image), 0);
        for (const at of sparse) write(memory, at, 1);
        assert.equal(memory.restore(image), sparse.length);
        assertHolds(memory, named('onBase'), 'sparse writes');
      },
    );

    test(
      'after a switch the delta too, until it has stayed long enough to be mapped',
      { skip: kernelPageBytes() !== 4096 },
      () => {
        const memory = restored();
        const other = named('otherOnBase');
        memory.restore(other.image);
        assertHolds(memory, other, 'switched');
        const copied = memory.restore(other.image);
        assert.ok(copied >= other.image.deltaPages.length, `${copied} pages`);
        for (let time = 0; time < 20; time++) memory.restore(other.image);
        assert.equal(memory.restore(other.image), 0);
        assertHolds(memory, other, 'mapped');
        memory.restore(image);
        assertHolds(memory, named('onBase'), 'switched back');
      },
    );

    test('a delta that cannot be mapped is copied', () => {
      const { base } = SPECS.onBase;
      const unmappable = new TestImage({ pages: PAGES, base, delta: SPECS.onBase.delta }, () => {
        throw new Error('no more mappings');
      });
      const memory = new SlotMemory(PAGES, createRestorer(tier));
      memory.restore(unmappable.image);
      assertHolds(memory, unmappable, 'first');
      write(memory, 0, memory.bytes.length);
      memory.restore(unmappable.image);
      assertHolds(memory, unmappable, 'written');
      memory.restore(named('otherOnBase').image);
      assertHolds(memory, named('otherOnBase'), 'switched');
    });

    test(
      'deltas of all memories take so many mappings and no more; one that rests leaves its own to others',
      { skip: kernelPageBytes() !== 4096 },
      () => {
        // Runs: 0-1, 5, 36-37, 90, last.
        const budget = new MappingBudget(2 * 5 * 2);
        const all = [1, 2, 3].map(() => new SlotMemory(PAGES, createRestorer(tier), budget));
        const [first, , third] = all as [SlotMemory, SlotMemory, SlotMemory];
        const copies = (): number[] => all.map((memory) => memory.restore(image));
        const before = mappingCount();
        assert.deepEqual(copies(), [0, 0, image.deltaPages.length]);
        assert.ok(mappingCount() - before < 30, 'the third has none');
        for (let time = 0; time < 20; time++) third.restore(image);
        assert.deepEqual(copies(), [0, 0, image.deltaPages.length]);
        // Mapped anew, and not counted twice.
        first.clear(PAGES);
        first.restore(image);
        first.restore(named('zero').image);
        third.rest();
        assert.equal(third.restore(image), 0);
        first.rest();
        assert.deepEqual(copies(), [image.deltaPages.length, 0, 0]);
        for (const memory of all) assertHolds(memory, named('onBase'), 'restored');
      },
    );

    test('a request that writes where the last one wrote needs no scan, one that writes elsewhere does', () => {
      const restorer = createRestorer(tier);
      assert.ok('dirty' in restorer);
      const { dirty } = restorer;
      let scans = 0;
      const counting: DirtyPages = {
        scan(start, length, visit) {
          scans++;
          dirty.scan(start, length, visit);
        },
        close: () => dirty.close(),
      };
      const memory = new SlotMemory(PAGES, { tier, dirty: counting });
      const request = (at: number): void => {
        write(memory, at, 1);
        memory.restore(image);
        assertHolds(memory, named('onBase'), `written at ${at}`);
      };
      memory.restore(image);
      // The test itself may fault at any time, for its own memory; over a hundred requests most have none.
      for (let time = 0; time < 100; time++) request(10 * IMAGE_PAGE_BYTES);
      assert.ok(scans < 60, `${scans} scans of 100`);
      for (let page = 11; page < 30; page++) {
        const before = scans;
        request(page * IMAGE_PAGE_BYTES);
        assert.equal(scans, before + 1, `page ${page}`);
      }
    });

    test('what a guest wrote is gone after a restore that failed on the way and one that did not', () => {
      // Each time the list of what to copy is made anew, and fails; without a look at the pages then, page 20 stays.
      for (let time = 0; time < 20; time++) {
        const own = new TestImage(SPECS.onBase);
        const memory = new SlotMemory(PAGES, createRestorer(tier));
        memory.restore(own.image);
        for (let round = 0; round < 5; round++) {
          write(memory, 10 * IMAGE_PAGE_BYTES, 1);
          memory.restore(own.image);
        }
        write(memory, 20 * IMAGE_PAGE_BYTES, 1);
        own.image.patchesOf = () => {
          throw new RangeError('Array buffer allocation failed');
        };
        assert.throws(() => memory.restore(own.image), RangeError);
        Reflect.deleteProperty(own.image, 'patchesOf');
        memory.restore(own.image);
        assertHolds(memory, own, `time ${time}`);
      }
    });

    test('what a guest wrote before `begin` was called again is gone', () => {
      const memory = restored();
      memory.begin();
      memory.restore(image);
      write(memory, 20 * IMAGE_PAGE_BYTES, 1);
      memory.begin();
      memory.restore(image);
      assertHolds(memory, named('onBase'), 'begun twice');
    });

    test('pages that are to be zero again keep no buffer', () => {
      const { image: zeroes } = new TestImage({ pages: PAGES, base: { seed: 3, pages: 37 } });
      const patches = zeroes.patchesOf([30, 40, 100, 130]);
      const kept = patches.map(({ at, to, bytes }) =>
        [at, to, bytes?.length ?? 0].map((end) => end / IMAGE_PAGE_BYTES),
      );
      assert.deepEqual(kept, [
        [30, 37, 7],
        [37, 40, 0],
        [100, 130, 0],
      ]);
    });

    test('pages of a base that is only read are not copied', { skip: kernelPageBytes() !== 4096 }, () => {
      const memory = restored();
      let sum = 0;
      for (let at = 0; at < 37 * IMAGE_PAGE_BYTES; at += IMAGE_PAGE_BYTES) sum += memory.bytes[at] ?? 0;
      assert.ok(sum > 0);
      assert.equal(memory.restore(image), 0);
    });

    test('no page of it is huge, also where the guest makes it grow', () => {
      for (const pages of [0, 128]) {
        const memory = new SlotMemory(pages, createRestorer(tier));
        memory.restore(new TestImage({ pages: 128 }).image);
        memory.memory.grow(128);
        const start = addressOf(memory.memory.buffer);
        for (const at of [0, 100, 130, 255]) {
          assert.match(flagsAt(start + BigInt(at * WASM_PAGE_BYTES)), /\bnh\b/, `page ${at} of 64 KiB`);
        }
      }
    });

    test('the private pages are let go when there are more than 16 MiB of them', () => {
      const large = new TestImage({ pages: 17 * 16, base: { seed: 3, pages: 37 } });
      const memory = new SlotMemory(17 * 16, createRestorer(tier));
      memory.restore(large.image);
      write(memory, 0, memory.bytes.length);
      memory.restore(large.image);
      assert.equal(memory.restore(large.image), 0);
    });

    test('as many as 16 MiB are kept, and copied each time', () => {
      const large = new TestImage({ pages: 17 * 16, base: { seed: 3, pages: 37 } });
      const memory = new SlotMemory(17 * 16, createRestorer(tier));
      memory.restore(large.image);
      write(memory, 0, 4096 * IMAGE_PAGE_BYTES);
      assert.equal(memory.restore(large.image), 4096);
      assert.equal(memory.restore(large.image), 4096);
    });
  });
}

test('a memory that V8 cannot make is OUT_OF_ADDRESS_SPACE', () => {
  assert.throws(() => new SlotMemory(65_537, { tier: 'copy' }), thawError('OUT_OF_ADDRESS_SPACE', '65537 pages'));
});
