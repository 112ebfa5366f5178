import { ThawError, invariant } from '../errors.ts';
import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES } from '../snapshot/manifest.ts';
import type { DirtyPages } from './dirty-pages.ts';
import { applyPatch, type BaseLayer, type MemoryImage, type Patch } from './image.ts';
import { addressOf, adviseSmallPages, dropPages, kernelPageBytes, mapFile, mapZeroes, threadFaults } from './libc.ts';
import { MappingBudget, mappingsOfThread } from './mapping-budget.ts';

/**
 * How a memory is brought back to its snapshot.
 * `scan`, `pagemap`: the written pages are found and copied back. `drop`: they are dropped, and the next access faults in
 * the mapped file. `copy`: no mapping; the whole image is copied.
 */
export const RESTORE_TIERS = ['scan', 'pagemap', 'drop', 'copy'] as const;
export type RestoreTier = (typeof RESTORE_TIERS)[number];

export type Restorer =
  | { readonly tier: 'scan' | 'pagemap'; readonly dirty: DirtyPages }
  | { readonly tier: 'drop' }
  | { readonly tier: 'copy' };

/**
 * The most private pages that copying back keeps in a slot: 16 MiB. Beyond, they are dropped and the set starts anew,
 * since it only ever grows and every page of it is copied at every restore.
 */
const MAX_PRIVATE_PAGES = 4096;

/**
 * Under this size a plain copy is cheaper than finding what was written: 44 µs a MiB against some 30 µs for the system
 * calls.
 */
const COPY_WHOLE_BYTES = 512 * 1024;

/** 4 GiB. V8 aborts the process on a memory without maximum when its trap handler is off: always with one. */
const MAX_MEMORY_PAGES = 65_536;

/**
 * What is mapped at the memory's addresses. `overlay` is the image whose delta is mapped over the base, page by page, or
 * null: the delta of whatever image is in force lies in private pages then.
 */
type Mapping =
  | { readonly kind: 'zeroes' }
  /** The first bytes are a private mapping of the base layer; the rest is zeroes. */
  | { readonly kind: 'base'; readonly digest: string; readonly overlay: MemoryImage | null };

/**
 * Restores of one image after which its delta is mapped instead of copied. Mapping takes some 150 µs with the faults that
 * follow; each restore then copies only what the request has written, and not the delta besides: some 100 pages, 15 µs.
 */
const RESTORES_UNTIL_MAPPED = 16;

/** Each run is a mapping of its own, with one behind it, and there are only so many; see mapping-budget.ts. */
const MAX_MAPPED_RUNS = 256;
const MAPPINGS_PER_RUN = 2;

/** What brings private runs to an image, as long as its delta is kept: views of it. */
type Plan = {
  readonly image: MemoryImage;
  readonly delta: Buffer;
  readonly runs: readonly number[];
  readonly pages: number;
  readonly patches: readonly Patch[];
};

/** A slot that two apps take in turn keeps the plans of both. One is some 10 KB. */
const KEPT_PLANS = 2;

/** A scan that was in vain costs as much as forty questions. */
const WARY_REQUESTS = 40;

/**
 * One linear memory of a slot. It outlives instances: V8 reserves 8 to 10 GB of address space for each Memory, so they
 * are few, and never given back.
 *
 * Invariant: beyond what the image in force covers, every byte that no guest has written is zero.
 */
export class SlotMemory {
  readonly memory: WebAssembly.Memory;
  readonly #restorer: Restorer;
  readonly #budget: MappingBudget;
  #bytes: Buffer;
  #address: bigint;
  #mapping: Mapping = { kind: 'zeroes' };
  /** What the overlay has of the budget. */
  #mappings = 0;
  /** 4 KiB pages that were the memory's own after the last restore: copies, not the mapped file. */
  #privatePages = 0;
  /** The image that the memory was last brought to, and how often in a row. */
  #image: MemoryImage | null = null;
  #restores = 0;
  /** The pages that were private after the last restore, as byte offsets: from, to, from, to. Null when not known. */
  #known: readonly number[] | null = null;
  /** Whether a guest has run since the last restore. */
  #hasRun = false;
  /** Page faults that the thread had had at some time at which exactly the pages in `#known` were private. */
  #faults = 0;
  /** Requests for which that is asked again right before the guest begins. */
  #wary = 0;
  /** The last ones first. */
  #plans: readonly Plan[] = [];
  /** False once mapping a delta has failed. */
  #canOverlay = true;

  /**
   * @param pages initial size in 64 KiB pages
   * @param budget of all memories of the thread
   * @throws ThawError OUT_OF_ADDRESS_SPACE when V8 cannot reserve another memory
   */
  constructor(pages: number, restorer: Restorer, budget = new MappingBudget(mappingsOfThread())) {
    this.memory = newMemory(pages);
    this.#restorer = restorer;
    this.#budget = budget;
    this.#bytes = Buffer.from(this.memory.buffer);
    this.#address = this.#locate();
  }

  /** Where the memory lies, or 0 where that does not matter. Also what it will grow into gets small pages. */
  #locate(): bigint {
    const { buffer } = this.memory;
    if (this.#restorer.tier === 'copy' || buffer.byteLength === 0) return 0n;
    const address = addressOf(buffer);
    adviseSmallPages(address, MAX_MEMORY_PAGES * WASM_PAGE_BYTES);
    return address;
  }

  /** The memory as it is now, all of it: also what lies beyond the logical size. */
  get bytes(): Buffer {
    if (this.#bytes.length === 0 && this.memory.buffer.byteLength > 0) {
      this.#bytes = Buffer.from(this.memory.buffer);
      if (this.#address === 0n) this.#address = this.#locate();
    }
    return this.#bytes;
  }

  /** Bytes of the kernel's memory that the clean memory takes up for itself. */
  get residentBytes(): number {
    return this.#privatePages * IMAGE_PAGE_BYTES;
  }

  /** A guest may write from now on, until the next restore. */
  begin(): void {
    // What the guest has written since the first time would be taken for known.
    if (this.#hasRun) return;
    this.#hasRun = true;
    if (this.#known === null || this.#wary === 0) return;
    this.#wary--;
    this.#faults = threadFaults();
  }

  /**
   * Brings the memory to `image`, whatever it held before.
   * @returns how many 4 KiB pages were copied or dropped
   * @throws ThawError STORE_OBJECT_MISSING, STORE_OBJECT_CORRUPT when the delta had to be read again and could not be
   */
  restore(image: MemoryImage): number {
    const delta = image.readDelta();
    this.#ensure(image.pages);
    if (this.bytes.length === 0) return 0;
    this.#restores = this.#image === image ? this.#restores + 1 : 0;
    const pages = this.#restoreTo(image, delta);
    this.#image = image;
    this.#hasRun = false;
    this.#privatePages = pages;
    return pages;
  }

  #restoreTo(image: MemoryImage, delta: Buffer): number {
    const isMapped = this.#isMapped(image);
    if (this.#restorer.tier === 'copy' || (isMapped && this.bytes.length <= COPY_WHOLE_BYTES)) {
      return image.copyPages(this.bytes, 0, this.bytes.length / IMAGE_PAGE_BYTES);
    }
    if (!isMapped || this.#isWorthMapping(image)) return this.#map(image);
    if (this.#restorer.tier === 'drop') return this.#drop(image);
    return this.#copyBack(image, delta, this.#restorer.dirty);
  }

  #isWorthMapping(image: MemoryImage): boolean {
    const mapping = this.#mapping;
    const isCopied = mapping.kind === 'base' && mapping.overlay !== image && image.deltaFile !== null;
    return isCopied && this.#canOverlay && this.#restores === RESTORES_UNTIL_MAPPED;
  }

  /** Makes every byte zero, for a guest that is instantiated afresh. */
  clear(pages: number): void {
    this.#ensure(pages);
    if (this.bytes.length === 0) return;
    if (this.#restorer.tier === 'copy') this.bytes.fill(0);
    else this.#mapZeroes();
    this.#forget();
  }

  /** Nobody holds it: its pages go back to the kernel, where it is mapped. */
  rest(): void {
    if (this.#restorer.tier === 'copy' || this.bytes.length === 0) return;
    this.#mapZeroes();
    this.#forget();
  }

  #forget(): void {
    this.#image = null;
    this.#known = null;
    this.#plans = [];
    this.#privatePages = 0;
  }

  #ensure(pages: number): void {
    const missing = pages - this.bytes.length / WASM_PAGE_BYTES;
    if (missing <= 0) return;
    try {
      this.memory.grow(missing);
    } catch (cause) {
      throw new ThawError('OUT_OF_ADDRESS_SPACE', `a memory could not grow to ${pages} pages of 64 KiB`, { cause });
    }
  }

  #isMapped({ base }: MemoryImage): boolean {
    const mapping = this.#mapping;
    return base === null ? mapping.kind === 'zeroes' : mapping.kind === 'base' && mapping.digest === base.digest;
  }

  #mapAddress(): bigint {
    const { length } = this.bytes;
    invariant(length > 0 && this.#address !== 0n, 'a memory that is mapped has an address');
    return this.#address;
  }

  /** Maps the image anew. @returns how many pages had to be copied nevertheless */
  #map(image: MemoryImage): number {
    this.#known = null;
    const { base } = image;
    if (base === null || base.bytes.length === 0) {
      this.#mapZeroes();
      return image.applyDelta(this.bytes);
    }
    this.#mapBase(base);
    if (this.#overlay(image)) {
      this.#mapping = { kind: 'base', digest: base.digest, overlay: image };
      return 0;
    }
    this.#mapping = { kind: 'base', digest: base.digest, overlay: null };
    return image.applyDelta(this.bytes);
  }

  /** Zeroes everywhere, whatever was mapped. */
  #mapZeroes(): void {
    mapZeroes(this.#mapAddress(), this.bytes.length);
    this.#mapping = { kind: 'zeroes' };
    this.#budget.give(this.#mappings);
    this.#mappings = 0;
  }

  #mapBase({ bytes, fd }: BaseLayer): void {
    this.#mapZeroes();
    // The kernel fills the last page of a file with zeroes up to its own page size.
    mapFile(this.#mapAddress(), roundUp(bytes.length, kernelPageBytes()), fd);
  }

  /** Maps the delta's pages over the base where the kernel's pages are as small. @returns whether it did */
  #overlay({ deltaFile, base }: MemoryImage): boolean {
    const canMap = this.#canOverlay && kernelPageBytes() === IMAGE_PAGE_BYTES && base !== null;
    if (!canMap || deltaFile === null || deltaFile.runs.length > MAX_MAPPED_RUNS) return false;
    const mappings = deltaFile.runs.length * MAPPINGS_PER_RUN;
    if (!this.#budget.take(mappings)) return false;
    this.#mappings = mappings;
    const address = this.#mapAddress();
    try {
      deltaFile.use((fd) => {
        let at = deltaFile.offset;
        for (const { start, pages } of deltaFile.runs) {
          const length = pages * IMAGE_PAGE_BYTES;
          mapFile(address + BigInt(start * IMAGE_PAGE_BYTES), length, fd, at);
          at += length;
        }
      });
      return true;
    } catch {
      // The object is gone from the store, or the kernel refuses. The delta in memory does as well.
      this.#canOverlay = false;
      this.#mapBase(base);
      return false;
    }
  }

  #drop(image: MemoryImage): number {
    this.#known = null;
    const mapping = this.#mapping;
    if (mapping.kind === 'base' && mapping.overlay !== null && mapping.overlay !== image) return this.#map(image);
    dropPages(this.#mapAddress(), this.bytes.length);
    return mapping.kind === 'base' && mapping.overlay === image ? 0 : image.applyDelta(this.bytes);
  }

  #copyBack(image: MemoryImage, delta: Buffer, dirty: DirtyPages): number {
    const runs = this.#privateRuns(dirty);
    const copied = this.#copyRuns(image, delta, runs);
    const others = this.#image === image ? NO_PAGES : this.#turnTo(image, runs);
    this.#known = others.length === 0 ? runs : [...runs, ...runsOf(others)];
    const pages = copied + others.length;
    return pages > MAX_PRIVATE_PAGES ? this.#drop(image) : pages;
  }

  /** Copies what is private. @returns how many pages that are */
  #copyRuns(image: MemoryImage, delta: Buffer, runs: readonly number[]): number {
    const { bytes } = this;
    let plan = this.#plans.find((known) => known.image === image && known.runs === runs && known.delta === delta);
    if (plan === undefined && this.#image === image) plan = this.#newPlan(image, delta, runs);
    if (plan !== undefined) {
      for (const patch of plan.patches) applyPatch(bytes, patch);
      return plan.pages;
    }
    let pages = 0;
    for (let index = 0; index < runs.length; index += 2) {
      const [from, to] = [runs[index] as number, runs[index + 1] as number];
      pages += image.copyPages(bytes, from / IMAGE_PAGE_BYTES, to / IMAGE_PAGE_BYTES);
    }
    return pages;
  }

  /** The image has come to stay: what is copied will be the same for most of its requests. */
  #newPlan(image: MemoryImage, delta: Buffer, runs: readonly number[]): Plan {
    const pageRuns = runs.map((at) => at / IMAGE_PAGE_BYTES);
    let pages = 0;
    for (let index = 0; index < pageRuns.length; index += 2) {
      pages += (pageRuns[index + 1] as number) - (pageRuns[index] as number);
    }
    const plan = { image, delta, runs, pages, patches: image.patchesOf(pageRuns) };
    this.#plans = [plan, ...this.#plans.slice(0, KEPT_PLANS - 1)];
    return plan;
  }

  /**
   * The private pages as byte offsets: from, to, from, to.
   *
   * A page becomes private by a fault of the thread that writes to it, and only the memory's own thread does. So when the
   * thread has had no fault while the guest ran, the private pages are those of before: most requests of a warm slot write
   * to the same pages as the one before. Source: Linux, mm/memory.c, mm_account_fault: every completed fault is counted,
   * those of system calls too.
   *
   * Nor are there many faults between two guests, so the thread is asked once a request, and not twice. When one was found in
   * vain, for the thread has faults elsewhere, it is asked twice for a while.
   */
  #privateRuns(dirty: DirtyPages): readonly number[] {
    const known = this.#known;
    if (known !== null && (!this.#hasRun || this.#faults === threadFaults())) return known;
    // Until all of it is restored: whatever throws on the way, the next restore looks again.
    this.#known = null;
    const runs: number[] = [];
    dirty.scan(this.#mapAddress(), this.bytes.length, (from, to) => runs.push(from, to));
    this.#faults = threadFaults();
    this.#wary = WARY_REQUESTS;
    return runs;
  }

  /**
   * Another image of the same base, whose private pages are right already: what else its delta has, and the delta that is
   * mapped, which from here on lies under private pages.
   *
   * @param runs what is private
   * @returns the pages that were copied, which are private now
   */
  #turnTo(image: MemoryImage, runs: readonly number[]): readonly number[] {
    const isRight = new Uint8Array(this.bytes.length / IMAGE_PAGE_BYTES);
    for (let index = 0; index < runs.length; index += 2) {
      isRight.fill(1, (runs[index] as number) / IMAGE_PAGE_BYTES, (runs[index + 1] as number) / IMAGE_PAGE_BYTES);
    }
    const copied: number[] = [];
    const copy = (page: number): void => {
      if (isRight[page] === 1) return;
      isRight[page] = 1;
      image.copyPages(this.bytes, page, page + 1);
      copied.push(page);
    };
    const mapping = this.#mapping;
    if (mapping.kind === 'base' && mapping.overlay !== null && mapping.overlay !== image) {
      mapping.overlay.deltaPages.forEach(copy);
    }
    image.deltaPages.forEach(copy);
    return copied;
  }
}

const NO_PAGES: readonly number[] = [];

/** The kernel's pages around image pages, as byte offsets: from, to, from, to. */
function runsOf(pages: readonly number[]): number[] {
  const unit = kernelPageBytes();
  return pages.flatMap((page) => {
    const from = page * IMAGE_PAGE_BYTES;
    return [from - (from % unit), roundUp(from + IMAGE_PAGE_BYTES, unit)];
  });
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

function newMemory(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: MAX_MEMORY_PAGES });
  } catch (cause) {
    throw new ThawError(
      'OUT_OF_ADDRESS_SPACE',
      `V8 could not reserve address space for another memory of ${pages} pages`,
      { cause },
    );
  }
}
