import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ENGINE_APP, engineLayers } from '../../src/build/engine.ts';
import { freeze, type Frozen } from '../../src/build/freeze.ts';
import { applyDelta, diffImage, encodeDelta } from '../../src/snapshot/layer.ts';
import { nodeFileOps, type FileOps } from '../../src/snapshot/file-ops.ts';
import {
  IMAGE_PAGE_BYTES,
  WASM_PAGE_BYTES,
  objectsOf,
  type Manifest,
  type MemoryState,
} from '../../src/snapshot/manifest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import type { Digest } from '../../src/wasm/plan.ts';
import { atExit } from './at-exit.ts';
import { APPS, componentFile, watComponent, type Tell, type WatOptions } from './components.ts';

export { appComponent } from './components.ts';

/** Nothing is made durable: a store of ten thousand snapshots would be waited for, and is thrown away. */
const unsynced: FileOps = {
  ...nodeFileOps,
  create: async (path, mode) => ({ ...(await nodeFileOps.create(path, mode)), sync: () => Promise.resolve() }),
  makeDirectory: async (path) => void (await mkdir(path, { recursive: true })),
  syncDirectory: () => Promise.resolve(),
};

/** A store of the bench's own, gone when it is disposed of or the process ends. */
export class BenchStore implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'thaw-bench-'));
  readonly store = SnapshotStore.open(this.directory, { create: true, ops: unsynced });
  readonly #tell: Tell | undefined;
  readonly #forget = atExit(() => this.#remove());

  /** @param tell what is being built, which takes seconds; on stderr unless given */
  constructor(tell?: Tell) {
    this.#tell = tell;
  }

  /** Builds an app of bench/apps over its engine, as `thaw build` does, and names the snapshot. */
  async buildApp(name: string): Promise<Frozen> {
    return this.freezeScript(name, join(APPS, `${name}.js`));
  }

  /** The same for any app in JavaScript or TypeScript. @param source path of its file */
  async freezeScript(name: string, source: string): Promise<Frozen> {
    const buildEngine = async (): Promise<Uint8Array> => readFile(await componentFile(ENGINE_APP, this.#tell));
    return this.#freeze(name, await componentFile(source, this.#tell), buildEngine);
  }

  /** Freezes a core module or a component of bench/apps that is text, and names the snapshot. */
  async freezeWat(name: string, options?: WatOptions): Promise<Frozen> {
    return this.#freeze(name, await watComponent(name, options), null);
  }

  /** Freezes a component. @param path of its file */
  freezeComponent(name: string, path: string): Promise<Frozen> {
    return this.#freeze(name, path, null);
  }

  async #freeze(name: string, path: string, buildEngine: (() => Promise<Uint8Array>) | null): Promise<Frozen> {
    const baseOf = engineLayers(this.store, buildEngine);
    const frozen = await freeze(await readFile(path), this.store, { baseOf });
    await this.store.setRef(name, frozen.digest, 'a bench');
    return frozen;
  }

  #remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.#forget();
    this.store.close();
    this.#remove();
  }
}

/** Text that is looked for in an image, and what takes its place: of the same length. */
export type Replacement = readonly [marker: string, text: string];

/**
 * Makes snapshots that differ from a real one by constants in their image: as many distinct apps as a bench wants from one
 * build.
 */
export class Variants {
  readonly #store: SnapshotStore;
  readonly #manifest: Manifest;
  readonly #memory: MemoryState;
  readonly #pages: Uint32Array;
  /** The contents of `#pages`, one after the other. */
  readonly #bytes: Buffer;
  readonly #places: ReadonlyMap<string, readonly number[]>;

  /**
   * @param markers the constants, as they stand in the image of the first memory; each must be found
   */
  constructor(store: SnapshotStore, digest: Digest, markers: readonly string[]) {
    this.#store = store;
    this.#manifest = store.loadManifest(digest);
    const { state } = this.#manifest;
    if (state.kind !== 'restorable') throw new Error('only restorable snapshots have an image to vary');
    this.#memory = state.memories[0] as MemoryState;
    const { base, image } = readLayers(store, this.#memory);
    const found = new Map(markers.map((marker) => [marker, placesOf(image, marker)]));
    const pages = new Set(diffImage(base, image).pages);
    for (const [marker, places] of found) {
      for (const place of places) for (const page of pagesAt(place, marker.length)) pages.add(page);
    }
    this.#pages = Uint32Array.from(pages).toSorted();
    this.#bytes = Buffer.concat(Array.from(this.#pages, (page) => pageOf(image, page)));
    this.#places = new Map(
      Array.from(found, ([marker, places]) => [marker, places.map((place) => this.#positionOf(place, marker))]),
    );
  }

  /** Where a byte of the image is in `#bytes`. */
  #positionOf(place: number, marker: string): number {
    const page = Math.floor(place / IMAGE_PAGE_BYTES);
    const position = this.#pages.indexOf(page) * IMAGE_PAGE_BYTES + (place % IMAGE_PAGE_BYTES);
    // Runs across pages stay whole, because pages that follow each other in the image do so here.
    if (this.#bytes.toString('latin1', position, position + marker.length) !== marker) {
      throw new Error(`${marker} is not where it was found, at byte ${place} of the image`);
    }
    return position;
  }

  /** Stores one variant. @returns its digest */
  async add(replacements: readonly Replacement[]): Promise<Digest> {
    const bytes = Buffer.from(this.#bytes);
    for (const [marker, text] of replacements) {
      if (text.length !== marker.length) throw new Error(`${text} has not the length of ${marker}`);
      for (const position of this.#places.get(marker) ?? []) bytes.write(text, position, 'latin1');
    }
    const delta = await this.#store.putObject(encodeDelta({ pages: this.#pages, bytes }));
    const { state } = this.#manifest;
    if (state.kind !== 'restorable') throw new Error('a variant has an image');
    const [first, ...others] = state.memories;
    const memories = [{ ...(first as MemoryState), delta, deltaPages: this.#pages.length }, ...others];
    const { digest } = await this.#store.putManifest({ ...this.#manifest, state: { ...state, memories } });
    return digest;
  }
}

/** The base layer of a memory, and the whole image. */
function readLayers(store: SnapshotStore, memory: MemoryState): { base: Uint8Array; image: Buffer } {
  const base = memory.base === null ? new Uint8Array(0) : store.readObject(memory.base);
  const image = Buffer.alloc(memory.pages * WASM_PAGE_BYTES);
  image.set(base);
  if (memory.delta !== null) applyDelta(image, store.readObject(memory.delta));
  return { base, image };
}

function placesOf(image: Buffer, marker: string): number[] {
  const places: number[] = [];
  for (let at = image.indexOf(marker, 0, 'latin1'); at >= 0; at = image.indexOf(marker, at + 1, 'latin1')) {
    places.push(at);
  }
  if (places.length === 0) throw new Error(`${JSON.stringify(marker)} is not in the image`);
  return places;
}

function pagesAt(place: number, length: number): number[] {
  const first = Math.floor(place / IMAGE_PAGE_BYTES);
  const last = Math.floor((place + length - 1) / IMAGE_PAGE_BYTES);
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

const pageOf = (image: Buffer, page: number): Buffer =>
  image.subarray(page * IMAGE_PAGE_BYTES, (page + 1) * IMAGE_PAGE_BYTES);

/** Bytes on disk that `manifest` needs and `other` does not, without the manifest itself. */
export function bytesBeside(manifest: Manifest, other: Manifest): number {
  const shared = new Set(objectsOf(other).map(({ ref }) => ref.digest));
  return objectsOf(manifest).reduce((sum, { ref }) => sum + (shared.has(ref.digest) ? 0 : ref.bytes), 0);
}
