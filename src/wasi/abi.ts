import { ThawError } from '../errors.ts';
import type { StringEncoding } from '../wasm/plan.ts';
import type { HandleTable } from './handles.ts';

/** A value of core WebAssembly as JavaScript sees it. */
export type CoreValue = number | bigint;

/** `cabi_realloc`: (old pointer, old size, alignment, new size) → pointer. Pointers arrive signed. */
export type Realloc = (oldPointer: number, oldSize: number, align: number, newSize: number) => number;

/** Up to here a loop over the characters beats a call into C++. */
const SHORT_STRING = 64;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const strictUtf16 = new TextDecoder('utf-16le', { fatal: true, ignoreBOM: true });

/** CanonicalABI.md: set in the length of a `latin1+utf16` string that is UTF-16. */
const UTF16_TAG = 0x8000_0000;

/**
 * What lifting the parameters of one call may take of the host's memory, counted as the bytes that strings and the
 * elements of lists have in the guest's. Elements may overlap: without a bound, a list of a million strings that are all
 * the same megabyte would be copied in full. Enough for eight header sections of 128 KiB.
 */
export const MAX_LIFTED_BYTES = 1_048_576;

/**
 * Whether a guest's realloc runs, called by the host: the opposite of `may_leave` in CanonicalABI.md. One for all lowerings
 * of an instance.
 */
export type Reallocating = { now: boolean };

/**
 * The view that one `canon lower` or `canon lift` has of its instance: memory, realloc, string encoding, handles. Every
 * access is checked against the memory as it is now; what is wrong is an ABI_VIOLATION, which traps the guest.
 *
 * Source: component-model, design/mvp/CanonicalABI.md.
 */
export class Abi {
  readonly handles: HandleTable;
  readonly #memory: WebAssembly.Memory | null;
  readonly #realloc: Realloc | null;
  readonly #encoding: StringEncoding;
  readonly #reallocating: Reallocating;
  /** Both views are over the memory's current buffer; growing detaches it, and they are made anew at the next use. */
  #view = new DataView(new ArrayBuffer(0));
  #bytes = Buffer.alloc(0);
  /** Bytes lifted in the call that is going on, of {@link MAX_LIFTED_BYTES}. */
  #lifted = 0;

  constructor(options: {
    handles: HandleTable;
    memory: WebAssembly.Memory | null;
    realloc: Realloc | null;
    encoding: StringEncoding;
    reallocating?: Reallocating;
  }) {
    this.handles = options.handles;
    this.#memory = options.memory;
    this.#realloc = options.realloc;
    this.#encoding = options.encoding;
    this.#reallocating = options.reallocating ?? { now: false };
  }

  get view(): DataView {
    // Asked of the bytes: the length of a detached DataView throws.
    if (this.#bytes.byteLength === 0) this.#refresh();
    return this.#view;
  }

  /** The whole memory as bytes. */
  get bytes(): Buffer {
    if (this.#bytes.byteLength === 0) this.#refresh();
    return this.#bytes;
  }

  #refresh(): void {
    if (this.#memory === null)
      throw new ThawError('ABI_VIOLATION', 'a value needs memory, but the lowering names none');
    this.#view = new DataView(this.#memory.buffer);
    this.#bytes = Buffer.from(this.#memory.buffer);
  }

  /**
   * Checks that `size` bytes at `pointer` lie in the memory and that the pointer is aligned.
   * @returns the pointer, unsigned
   */
  check(pointer: number, size: number, align: number): number {
    const at = pointer >>> 0;
    if (at % align !== 0) throw new ThawError('ABI_VIOLATION', `pointer ${at} is not aligned to ${align}`);
    const limit = this.view.byteLength;
    if (at + size > limit) {
      throw new ThawError('ABI_VIOLATION', `${size} bytes at ${at} reach beyond the memory of ${limit} bytes`);
    }
    return at;
  }

  /**
   * A call begins: nothing of it is lifted yet.
   * @throws ThawError ABI_VIOLATION for one from within realloc: there are frames of the host's on the stack, so nothing
   *   that it began could be waited for
   */
  beginCall(): void {
    if (this.#reallocating.now) throw new ThawError('ABI_VIOLATION', 'the guest called an import from its realloc');
    this.#lifted = 0;
  }

  /** Counts bytes that are about to be copied out of the guest's memory; GUEST_LIMIT when one call lifts too many. */
  charge(bytes: number): void {
    this.#lifted += bytes;
    if (this.#lifted > MAX_LIFTED_BYTES) {
      throw new ThawError(
        'GUEST_LIMIT',
        `one call passes strings and lists of ${this.#lifted} bytes or more, where ${MAX_LIFTED_BYTES} are the limit`,
      );
    }
  }

  /** Memory from the guest's allocator. May grow the memory: views taken before must not be used after. */
  allocate(size: number, align: number): number {
    if (this.#realloc === null)
      throw new ThawError('ABI_VIOLATION', 'a value needs realloc, but the lowering names none');
    return this.check(this.#reallocate(this.#realloc, size, align), size, align);
  }

  #reallocate(realloc: Realloc, size: number, align: number): number {
    const reallocating = this.#reallocating;
    reallocating.now = true;
    try {
      return realloc(0, 0, align, size);
    } finally {
      reallocating.now = false;
    }
  }

  /**
   * A list of u8 as the guest wrote it. A view: it is good until the guest runs again, and whoever keeps it copies it.
   */
  loadBytes(pointer: number, length: number): Uint8Array {
    const count = length >>> 0;
    const at = this.check(pointer, count, 1);
    return this.bytes.subarray(at, at + count);
  }

  /** Copies bytes into memory of the guest's and returns their pointer. A string stands for its Latin-1 bytes. */
  storeBytes(value: Uint8Array | string): number {
    const at = this.allocate(value.length, 1);
    if (typeof value === 'string') this.bytes.write(value, at, value.length, 'latin1');
    else this.bytes.set(value, at);
    return at;
  }

  /** Decodes a string parameter; invalid encoding traps. `length` is in code units, tagged for `latin1+utf16`. */
  loadString(pointer: number, length: number): string {
    const units = length >>> 0;
    switch (this.#encoding) {
      case 'utf8':
        return this.#loadUtf8(pointer, units);
      case 'utf16':
        return this.#loadUtf16(pointer, units);
      case 'latin1+utf16':
        return units >= UTF16_TAG ? this.#loadUtf16(pointer, units - UTF16_TAG) : this.#loadLatin1(pointer, units);
    }
  }

  #loadUtf8(pointer: number, length: number): string {
    const at = this.check(pointer, length, 1);
    this.charge(length);
    // Short strings are mostly ASCII: one pass in JavaScript is cheaper than a call into the decoder.
    if (length <= SHORT_STRING) {
      const ascii = asciiOf(this.bytes, at, length);
      if (ascii !== null) return ascii;
    }
    return decode(strictUtf8, this.bytes.subarray(at, at + length), 'UTF-8');
  }

  #loadUtf16(pointer: number, units: number): string {
    const at = this.check(pointer, units * 2, 2);
    this.charge(units * 2);
    return decode(strictUtf16, this.bytes.subarray(at, at + units * 2), 'UTF-16');
  }

  #loadLatin1(pointer: number, length: number): string {
    const at = this.check(pointer, length, 2);
    this.charge(length);
    return this.bytes.toString('latin1', at, at + length);
  }

  /**
   * Encodes a string into memory of the guest's. Lone surrogates become U+FFFD.
   * @returns pointer and length, the latter in code units, tagged for `latin1+utf16`
   */
  storeString(value: string): readonly [pointer: number, length: number] {
    switch (this.#encoding) {
      case 'utf8':
        return this.#storeUtf8(value);
      case 'utf16':
        return this.#storeUtf16(value, 0);
      case 'latin1+utf16':
        return isLatin1(value) ? this.#storeLatin1(value) : this.#storeUtf16(value, UTF16_TAG);
    }
  }

  #storeUtf8(value: string): readonly [number, number] {
    // Short strings are mostly ASCII: one pass in JavaScript is cheaper than two calls into the encoder.
    if (value.length <= SHORT_STRING && isAscii(value)) {
      const at = this.allocate(value.length, 1);
      const { bytes } = this;
      for (let index = 0; index < value.length; index++) bytes[at + index] = value.charCodeAt(index);
      return [at, value.length];
    }
    const length = Buffer.byteLength(value, 'utf8');
    const at = this.allocate(length, 1);
    this.bytes.write(value, at, length, 'utf8');
    return [at, length];
  }

  #storeUtf16(value: string, tag: number): readonly [number, number] {
    const text = value.toWellFormed();
    const at = this.allocate(text.length * 2, 2);
    this.bytes.write(text, at, text.length * 2, 'utf16le');
    return [at, text.length + tag];
  }

  #storeLatin1(value: string): readonly [number, number] {
    const at = this.allocate(value.length, 2);
    this.bytes.write(value, at, value.length, 'latin1');
    return [at, value.length];
  }
}

function isAscii(value: string): boolean {
  for (let index = 0; index < value.length; index++) if (value.charCodeAt(index) > 0x7f) return false;
  return true;
}

function asciiOf(bytes: Buffer, at: number, length: number): string | null {
  for (let index = at; index < at + length; index++) {
    if ((bytes[index] as number) > 0x7f) return null;
  }
  return bytes.toString('latin1', at, at + length);
}

function decode(decoder: TextDecoder, bytes: Uint8Array, encoding: string): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new ThawError('ABI_VIOLATION', `a string of ${bytes.length} bytes is not valid ${encoding}`, { cause });
  }
}

const isLatin1 = (value: string): boolean => !/[^\0-\xff]/.test(value);
