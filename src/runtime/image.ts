import { LRUCache } from 'lru-cache';
import { ThawError, invariant } from '../errors.ts';
import { readFully } from '../snapshot/file-ops.ts';
import { parseDelta } from '../snapshot/layer.ts';
import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES, type MemoryState, type ObjectRef } from '../snapshot/manifest.ts';
import type { PageRun } from '../snapshot/pages.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import { DeltaCache } from './delta-cache.ts';

/** The base layer of an image: mapped by its descriptor, copied from its bytes. Shared by all images of one engine. */
export type BaseLayer = { readonly digest: string; readonly fd: number; readonly bytes: Buffer };

/**
 * A delta's bytes, and its file for mapping. `read` gives the whole object; what it gave before may be gone then, and
 * has length 0.
 */
export type DeltaLayer = { readonly read: () => Buffer; readonly use: DeltaFile['use'] };

/** Runs of 4 KiB pages whose contents follow one another in the file from `offset` on. */
export type DeltaFile = {
  readonly runs: readonly PageRun[];
  readonly offset: number;
  /** Calls back with the file's descriptor, which is open during the call only. */
  readonly use: (map: (fd: number) => void) => void;
};

/** The page is not in the delta: it is the base's, or zero beyond the base. */
const NOT_IN_DELTA = -1;

/**
 * What one linear memory holds at the snapshot: a base layer with the delta's pages over it, zeroes beyond both.
 *
 * Invariant: every page of base and delta lies within `pages`.
 */
export class MemoryImage {
  /** Where the delta's pages lie in its file, for mapping them; null without a delta. */
  readonly deltaFile: DeltaFile | null;
  /** Logical size in 64 KiB pages. */
  readonly pages: number;
  /** Declared maximum in 64 KiB pages, or null. */
  readonly max: number | null;
  readonly base: BaseLayer | null;
  /** 4 KiB page numbers of the delta, ascending, and their contents in the same order. */
  readonly deltaPages: Uint32Array;
  readonly #read: DeltaLayer['read'];
  /** The delta object as it was read last. */
  #delta: Buffer;
  /** Where the pages' contents begin in it. */
  readonly #contents: number;
  /** By 4 KiB page: its position in the delta, or {@link NOT_IN_DELTA}. */
  readonly #positions: Int32Array;

  constructor(state: MemoryState, base: BaseLayer | null, delta: DeltaLayer | null) {
    this.pages = state.pages;
    this.max = state.max;
    this.base = base;
    const limit = (state.pages * WASM_PAGE_BYTES) / IMAGE_PAGE_BYTES;
    this.#read = delta?.read ?? noDelta;
    this.#delta = this.#read();
    const { pages, runs, offset } = delta === null ? NO_PAGES : pagesOfDelta(this.#delta);
    this.#contents = offset;
    this.deltaFile = delta === null ? null : { runs, offset, use: delta.use };
    if ((pages.at(-1) ?? -1) >= limit || (base?.bytes.length ?? 0) > state.pages * WASM_PAGE_BYTES) {
      throw new ThawError(
        'STORE_MANIFEST_INVALID',
        `the layers of a memory reach beyond its ${state.pages} pages of 64 KiB`,
      );
    }
    this.deltaPages = Uint32Array.from(pages);
    this.#positions = new Int32Array((pages.at(-1) ?? -1) + 1).fill(NOT_IN_DELTA);
    for (const [position, page] of this.deltaPages.entries()) this.#positions[page] = position;
  }

  /** Bytes that the image takes up itself: what it knows about its pages, not what they hold. */
  get ownBytes(): number {
    const runs = (this.deltaFile?.runs.length ?? 0) * RUN_BYTES;
    return this.#positions.byteLength + this.deltaPages.byteLength + runs;
  }

  /**
   * The delta object, read if need be. Must be called before pages are copied, since another image may have been used
   * meanwhile; pieces are good as long as it returns the same.
   *
   * @throws ThawError STORE_OBJECT_MISSING, STORE_OBJECT_CORRUPT
   */
  readDelta(): Buffer {
    this.#delta = this.#read();
    return this.#delta;
  }

  /** Bytes of the base layer, 0 without one. */
  get baseBytes(): number {
    return this.base?.bytes.length ?? 0;
  }

  /** Copies every page of the delta into `memory`. @returns how many */
  applyDelta(memory: Buffer): number {
    for (const page of this.deltaPages) this.copyPages(memory, page, page + 1);
    return this.deltaPages.length;
  }

  /** Brings the pages from `first` to `end` (exclusive) to their content at the snapshot. @returns how many */
  copyPages(memory: Buffer, first: number, end: number): number {
    this.#forEachPiece(first, end, (piece) => copyPiece(memory, piece));
    return end - first;
  }

  /** What `copyPages` copies for several runs of pages: for who does it again and again. @param runs first, end, first, end */
  patchesOf(runs: readonly number[]): Patch[] {
    const patches: Patch[] = [];
    const add = ({ source, from, at, to }: Piece): void => {
      patches.push({ at, to, bytes: source === null ? null : source.subarray(from, from + to - at) });
    };
    for (let index = 0; index < runs.length; index += 2) {
      this.#forEachPiece(runs[index] as number, runs[index + 1] as number, add);
    }
    return patches;
  }

  #forEachPiece(first: number, end: number, visit: (piece: Piece) => void): void {
    for (let page = first; page < end;) {
      const position = this.#positionOf(page);
      let stop = page + 1;
      // Pages that follow each other in the delta do so in memory, too.
      while (stop < end && this.#positionOf(stop) === (position < 0 ? NOT_IN_DELTA : position + stop - page)) stop++;
      const [at, to] = [page * IMAGE_PAGE_BYTES, stop * IMAGE_PAGE_BYTES];
      if (position < 0) this.#forEachBasePiece(at, to, visit);
      else visit(this.#deltaPiece(position, at, to));
      page = stop;
    }
  }

  #positionOf(page: number): number {
    return page < this.#positions.length ? (this.#positions[page] as number) : NOT_IN_DELTA;
  }

  #deltaPiece(position: number, at: number, to: number): Piece {
    invariant(this.#delta.length > 0, 'a delta is read before its pages are copied');
    return { source: this.#delta, from: this.#contents + position * IMAGE_PAGE_BYTES, at, to };
  }

  /** Base where there is base, zeroes beyond. Byte offsets. */
  #forEachBasePiece(at: number, to: number, visit: (piece: Piece) => void): void {
    const edge = Math.min(Math.max(this.baseBytes, at), to);
    if (edge > at && this.base !== null) visit({ source: this.base.bytes, from: at, at, to: edge });
    if (to > edge) visit({ source: null, from: 0, at: edge, to });
  }
}

/** Bytes of an image and where they belong: `source` from `from` on, or zeroes, between `at` and `to` of the memory. */
type Piece = {
  readonly source: Buffer | null;
  readonly from: number;
  readonly at: number;
  readonly to: number;
};

/** The same as a view, null for zeroes. */
export type Patch = { readonly at: number; readonly to: number; readonly bytes: Uint8Array | null };

/** `TypedArray.set` is the cheapest way to copy some pages: it takes 20 ns less than `Buffer.copy`. */
export function applyPatch(memory: Buffer, { at, to, bytes }: Patch): void {
  if (bytes === null) memory.fill(0, at, to);
  else memory.set(bytes, at);
}

function copyPiece(memory: Buffer, { source, from, at, to }: Piece): void {
  if (source === null) memory.fill(0, at, to);
  else source.copy(memory, at, from, from + to - at);
}

/** What V8 takes for a run, about. */
const RUN_BYTES = 64;

const NO_BYTES = Buffer.alloc(0);
const noDelta = (): Buffer => NO_BYTES;
const NO_PAGES = { pages: [], runs: [], offset: 0 };

function pagesOfDelta(delta: Buffer): {
  readonly pages: readonly number[];
  readonly runs: readonly PageRun[];
  readonly offset: number;
} {
  const { runs, pagesOffset } = parseDelta(delta);
  const pages = runs.flatMap(({ start, pages: count }) => Array.from({ length: count }, (_, index) => start + index));
  return { pages, runs, offset: pagesOffset };
}

/** Base layers kept in memory, in bytes: some ten engines. Those that slots hold stay beyond that. */
const BASE_CACHE_BYTES = 128 * 1024 * 1024;

/** Opens images of a store; base layers are read once, while there are few. */
export class ImageLoader {
  readonly #store: SnapshotStore;
  readonly #deltas: DeltaCache;
  readonly #bases = new LRUCache<string, BaseLayer>({
    maxSize: BASE_CACHE_BYTES,
    sizeCalculation: ({ bytes }) => Math.max(1, bytes.length),
  });

  constructor(store: SnapshotStore) {
    this.#store = store;
    this.#deltas = new DeltaCache(store);
  }

  /** @throws ThawError STORE_OBJECT_MISSING, STORE_OBJECT_CORRUPT */
  load(state: MemoryState, role: string): MemoryImage {
    const base = state.base === null ? null : this.#base(state.base, `base layer of ${role}`);
    return new MemoryImage(
      state,
      base,
      state.delta === null ? null : this.#delta(state.delta, `delta layer of ${role}`),
    );
  }

  #delta(ref: ObjectRef, role: string): DeltaLayer {
    return {
      read: () => this.#deltas.bytesOf(ref, role),
      use: (map) => this.#store.useObject(ref, role, map),
    };
  }

  #base(ref: ObjectRef, role: string): BaseLayer {
    let base = this.#bases.get(ref.digest);
    if (base === undefined) {
      const { fd, bytes } = this.#store.openObject(ref, role);
      base = { digest: ref.digest, fd, bytes: readWhole(fd, bytes) };
      this.#bases.set(ref.digest, base);
    }
    return base;
  }
}

function readWhole(fd: number, length: number): Buffer {
  const bytes = readFully(fd, length);
  if (bytes.length === length) return bytes;
  throw new ThawError(
    'STORE_OBJECT_CORRUPT',
    `a base layer ended after ${bytes.length} of ${length} bytes while it was read`,
  );
}
