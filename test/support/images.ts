import { openSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { DeltaCache } from '../../src/runtime/delta-cache.ts';
import { MemoryImage, type BaseLayer, type DeltaLayer } from '../../src/runtime/image.ts';
import { encodeDelta } from '../../src/snapshot/layer.ts';
import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { temporaryDirectory } from './runtime.ts';

/** An image as a test describes it: sizes in pages, contents by seed. */
export type ImageSpec = {
  /** Logical size, in pages of 64 KiB. */
  readonly pages: number;
  /** Pages of 4 KiB. Images with equal base seeds and sizes share one base. */
  readonly base?: { readonly seed: number; readonly pages: number };
  readonly delta?: { readonly seed: number; readonly pages: readonly number[] };
};

/** A page of which no byte is 0 and each depends on seed and page. */
export const pageOf = (seed: number, page: number): Buffer =>
  Buffer.alloc(IMAGE_PAGE_BYTES, Buffer.from([seed, (page % 251) + 1, (page >> 8) + 1, 1]));

const directory = temporaryDirectory();
const bases = new Map<string, BaseLayer>();
// Here, and not where one is opened: within a test it would be that test's end.
after(() => {
  for (const { fd } of bases.values()) closeSync(fd);
});

function baseOf({ seed, pages }: NonNullable<ImageSpec['base']>): BaseLayer {
  const digest = `${seed}-${pages}`;
  let base = bases.get(digest);
  if (base === undefined) {
    const bytes = Buffer.concat(Array.from({ length: pages }, (_, page) => pageOf(seed, page)));
    const path = join(directory, digest);
    writeFileSync(path, bytes);
    const fd = openSync(path, 'r');
    base = { digest, fd, bytes };
    bases.set(digest, base);
  }
  return base;
}

let layers = 0;

/** So few that images lose their deltas while memories hold them, as where there are more apps than fit. */
const KEPT_DELTA_BYTES = 48 * 1024;

const deltas = new DeltaCache(
  { readObjectAgain: ({ digest }) => Uint8Array.from(readFileSync(join(directory, digest))) },
  KEPT_DELTA_BYTES,
);

/** A delta with a file to map it from, as the store has one. */
function layerOf(bytes: Uint8Array, unmappable?: () => never): DeltaLayer {
  const digest = `delta-${layers++}`;
  const path = join(directory, digest);
  writeFileSync(path, bytes);
  const use = (map: (fd: number) => void): void => {
    const fd = openSync(path, 'r');
    try {
      map(fd);
    } finally {
      closeSync(fd);
    }
  };
  return { read: () => deltas.bytesOf({ digest, bytes: bytes.length }, digest), use: unmappable ?? use };
}

/** An image of an application, with what a memory must hold that has been brought to it. */
export class TestImage {
  readonly image: MemoryImage;
  readonly #spec: ImageSpec;

  /** @param unmappable takes the place of the delta's file */
  constructor(spec: ImageSpec, unmappable?: () => never) {
    this.#spec = spec;
    const { pages, base, delta } = spec;
    const encoded = delta === undefined ? null : encodeDelta(diffOf(delta));
    const state = {
      instance: 0,
      index: 0,
      pages,
      max: null,
      base: null,
      delta: null,
      nonZeroPages: 0,
      deltaPages: delta?.pages.length ?? 0,
    };
    this.image = new MemoryImage(
      state,
      base === undefined ? null : baseOf(base),
      encoded === null ? null : layerOf(encoded, unmappable),
    );
  }

  /** The whole memory, zero beyond the image: as naive as can be. */
  expected(bytes: number): Buffer {
    const memory = Buffer.alloc(bytes);
    const { base, delta } = this.#spec;
    for (let page = 0; page < (base?.pages ?? 0); page++) {
      pageOf(base?.seed ?? 0, page).copy(memory, page * IMAGE_PAGE_BYTES);
    }
    for (const page of delta?.pages ?? []) pageOf(delta?.seed ?? 0, page).copy(memory, page * IMAGE_PAGE_BYTES);
    return memory;
  }

  get bytes(): number {
    return this.#spec.pages * WASM_PAGE_BYTES;
  }
}

function diffOf({ seed, pages }: NonNullable<ImageSpec['delta']>): { pages: Uint32Array; bytes: Uint8Array } {
  return { pages: Uint32Array.from(pages), bytes: Buffer.concat(pages.map((page) => pageOf(seed, page))) };
}
