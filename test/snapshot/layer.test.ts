import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ThawError } from '../../src/errors.ts';
import {
  applyDelta,
  countNonZeroPages,
  diffImage,
  encodeDelta,
  parseDelta,
  trimImage,
} from '../../src/snapshot/layer.ts';
import { SNAPSHOT_FORMAT } from '../../src/snapshot/manifest.ts';
import { PAGE, thawError } from './support.ts';

const MAX_PAGES = 12;

/** Sparse images: each page is zero or has one byte set, from few values, so that pages of two images often agree. */
const image = fc
  .array(fc.constantFrom(0, 0, 0, 1, 2), { maxLength: MAX_PAGES })
  .chain((marks) => fc.record({ marks: fc.constant(marks), at: fc.constantFrom(0, 17, PAGE - 1) }))
  .map(({ marks, at }) => imageOf(marks, at));

function imageOf(marks: readonly number[], at = 0): Uint8Array {
  const bytes = new Uint8Array(marks.length * PAGE);
  marks.forEach((mark, page) => bytes.fill(mark, page * PAGE + at, page * PAGE + at + 1));
  return bytes;
}

/** A memory that holds the image and zeros after it. */
function memoryWith(bytes: Uint8Array): Uint8Array {
  const memory = new Uint8Array(MAX_PAGES * PAGE);
  memory.set(bytes);
  return memory;
}

test('applyDelta(base, diff of base and image) is the image, shorter or longer than the base', () => {
  fc.assert(
    fc.property(image, image, (base, image) => {
      const memory = memoryWith(base);
      applyDelta(memory, encodeDelta(diffImage(base, image)));
      assert.deepEqual(memory, memoryWith(image));
    }),
  );
});

test('diffImage() lists just the pages that differ', () => {
  fc.assert(
    fc.property(image, image, (base, image) => {
      const [below, above] = [memoryWith(base), memoryWith(image)];
      const differing = Array.from({ length: MAX_PAGES }, (_, page) => page).filter(
        (page) =>
          Buffer.compare(
            below.subarray(page * PAGE, (page + 1) * PAGE),
            above.subarray(page * PAGE, (page + 1) * PAGE),
          ) !== 0,
      );
      assert.deepEqual([...diffImage(base, image).pages], differing);
    }),
  );
});

test('diffImage() has a page of zeros where only the base has something', () => {
  const { pages, bytes } = diffImage(imageOf([1, 1, 1]), imageOf([1, 0]));
  assert.deepEqual([...pages], [1, 2]);
  assert.deepEqual(bytes, new Uint8Array(2 * PAGE));
});

test('diffImage() works on views at odd offsets of larger buffers', () => {
  const view = new Uint8Array(2 * PAGE + 5).subarray(5);
  view[PAGE] = 7;
  assert.deepEqual([...diffImage(imageOf([0, 0]), view).pages], [1]);
});

test('encodeDelta() packs runs, and contents at a page boundary', () => {
  const delta = encodeDelta(diffImage(new Uint8Array(0), imageOf([1, 2, 0, 3])));
  const parsed = parseDelta(delta);
  assert.deepEqual(parsed, {
    runs: [
      { start: 0, pages: 2 },
      { start: 3, pages: 1 },
    ],
    pages: 3,
    endPage: 4,
    pagesOffset: PAGE,
  });
  assert.equal(delta.length, PAGE + 3 * PAGE);
  assert.deepEqual(
    [PAGE, 2 * PAGE, 3 * PAGE].map((at) => delta[at]),
    [1, 2, 3],
  );
});

test('encodeDelta() of no difference is a head that parses', () => {
  const delta = encodeDelta(diffImage(imageOf([1]), imageOf([1])));
  assert.deepEqual(parseDelta(delta), { runs: [], pages: 0, endPage: 0, pagesOffset: PAGE });
});

test('encodeDelta() keeps contents aligned when the runs need more than a page', () => {
  // One run is 8 bytes and the head 24: 510 runs are more than 4,096 bytes.
  const sparse = new Uint8Array(1020 * PAGE);
  for (let page = 0; page < 1020; page += 2) sparse[page * PAGE] = 1;
  const delta = encodeDelta(diffImage(new Uint8Array(0), sparse));
  assert.equal(parseDelta(delta).pagesOffset, 2 * PAGE);
  const memory = new Uint8Array(sparse.length);
  applyDelta(memory, delta);
  assert.equal(Buffer.compare(memory, sparse), 0);
});

test('parseDelta() of changed bytes is an error of the layer, or runs within a memory', () => {
  const delta = encodeDelta(diffImage(new Uint8Array(0), imageOf([1, 0, 1, 1, 0, 2])));
  const change = fc.record({ at: fc.nat(63), byte: fc.constantFrom(0, 1, 2, 3, 127, 128, 255) });
  const outcomes = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 3 }),
      fc.option(fc.nat(delta.length), { freq: 2 }),
      (changes, cut) => {
        const changed = delta.slice(0, cut ?? delta.length);
        for (const { at, byte } of changes) if (at < changed.length) changed[at] = byte;
        outcomes.add(outcomeOf(changed));
      },
    ),
    { numRuns: 1000 },
  );
  assert.deepEqual([...outcomes].toSorted(), ['applied', 'refused']);
});

function outcomeOf(delta: Uint8Array): 'applied' | 'refused' {
  const memory = new Uint8Array(MAX_PAGES * PAGE);
  try {
    const { runs, pages, pagesOffset } = parseDelta(delta);
    assert.equal(pagesOffset + pages * PAGE, delta.length);
    let free = 0;
    for (const run of runs) {
      assert.ok(run.start >= free && run.pages > 0 && run.start + run.pages <= 2 ** 20);
      free = run.start + run.pages + 1;
    }
    applyDelta(memory, delta);
    return 'applied';
  } catch (error) {
    if (!(error instanceof ThawError) || error.code !== 'STORE_LAYER_INVALID') throw error;
    assert.ok(
      memory.every((byte) => byte === 0),
      'a refused delta writes nothing',
    );
    return 'refused';
  }
}

test('parseDelta() says what is wrong', () => {
  const whole = encodeDelta(diffImage(new Uint8Array(0), imageOf([1, 0, 1])));
  const withWord = (at: number, word: number): Uint8Array => {
    const changed = Buffer.from(whole);
    changed.writeUInt32LE(word, at);
    return changed;
  };
  const refusals: readonly (readonly [Uint8Array, string])[] = [
    [new Uint8Array(0), 'its 0 bytes do not begin with'],
    [whole.subarray(0, 23), 'its 23 bytes do not begin with'],
    [withWord(0, 0), 'do not begin with "thawdlta"'],
    [withWord(8, 1), `format is 1, expected ${SNAPSHOT_FORMAT}`],
    [withWord(12, 65_536), 'page size is 65536, expected 4096'],
    [withWord(16, 3), `length in bytes is ${whole.length}, expected ${whole.length + PAGE}`],
    [withWord(20, 0xffff_ffff), 'length in bytes'],
    [whole.subarray(0, -1), 'length in bytes'],
    [withWord(28, 0), 'run 0 (page 0, 0 pages) is empty'],
    [withWord(32, 0), 'run 1 (page 0, 1 pages) begins before page 2'],
    [withWord(32, 1), 'run 1 (page 1, 1 pages) begins before page 2'],
    [withWord(32, 2 ** 20), 'run 1 (page 1048576, 1 pages) ends beyond page 1048576'],
    [withWord(36, 2), 'number of pages is 3, expected 2'],
  ];
  for (const [bytes, problem] of refusals)
    assert.throws(() => parseDelta(bytes), thawError('STORE_LAYER_INVALID', problem));
});

test('applyDelta() refuses a memory that ends before the delta does', () => {
  const delta = encodeDelta(diffImage(new Uint8Array(0), imageOf([1, 0, 1])));
  const memory = new Uint8Array(2 * PAGE);
  assert.throws(() => applyDelta(memory, delta), thawError('STORE_LAYER_INVALID', 'byte 12288', '8192 bytes'));
  assert.deepEqual(memory, new Uint8Array(2 * PAGE));
});

test('trimImage() drops trailing zero pages and nothing else', () => {
  fc.assert(
    fc.property(image, (image) => {
      const trimmed = trimImage(image);
      assert.deepEqual(memoryWith(trimmed), memoryWith(image));
      assert.ok(trimmed.length === 0 || trimmed.subarray(-PAGE).some((byte) => byte !== 0));
      assert.equal(trimmed.length % PAGE, 0);
    }),
  );
});

test('countNonZeroPages() counts pages with any byte set', () => {
  assert.equal(countNonZeroPages(imageOf([0, 1, 0, 2, 2], PAGE - 1)), 3);
  assert.equal(countNonZeroPages(new Uint8Array(0)), 0);
});

test('an image that is not whole pages is a bug of the caller', () => {
  assert.throws(() => trimImage(new Uint8Array(PAGE + 1)), thawError('INTERNAL', 'whole pages'));
  assert.throws(() => diffImage(new Uint8Array(1), new Uint8Array(0)), thawError('INTERNAL', 'whole pages'));
});
