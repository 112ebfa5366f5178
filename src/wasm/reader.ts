import { ThawError } from '../errors.ts';

/** Fatal, and a byte order mark is content like any other: names are compared byte by byte. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** As offsets and opcodes are written in messages. */
export const hex = (value: number): string => `0x${value.toString(16)}`;

/** A WASM_MALFORMED error. `what` says what was found wrong, `offset` where in the file. */
export const malformed = (what: string, offset: number): ThawError =>
  new ThawError('WASM_MALFORMED', `reading WebAssembly: ${what} at byte offset ${hex(offset)}`);

/** A WASM_UNSUPPORTED error. `what` names the feature, `offset` where in the file it is used. */
export const unsupported = (what: string, offset: number): ThawError =>
  new ThawError('WASM_UNSUPPORTED', `reading WebAssembly: ${what} at byte offset ${hex(offset)}`);

/**
 * A cursor over part of a WebAssembly file. All offsets are absolute in `data`, also those of a `sub` reader, so that
 * every error names the place in the file. Nothing is read beyond `end`: each method throws WASM_MALFORMED instead, as
 * it does for what the binary format forbids. LEB128 numbers may be padded with redundant bytes up to the length that
 * the specification allows (ceil(bits / 7)), as linkers do, but not be longer, nor have bits that do not fit.
 *
 * Source: WebAssembly 3.0 core specification, section 5.2 (values).
 */
export class Reader {
  readonly data: Uint8Array;
  /** Invariant: 0 <= offset <= end <= data.length. */
  #pos: number;
  readonly end: number;

  constructor(data: Uint8Array, start = 0, end = data.length) {
    this.data = data;
    this.#pos = start;
    this.end = end;
  }

  /** The offset in `data` of the next byte. */
  get offset(): number {
    return this.#pos;
  }

  get eof(): boolean {
    return this.#pos === this.end;
  }

  /** The number of bytes left. */
  get left(): number {
    return this.end - this.#pos;
  }

  byte(): number {
    const byte = this.#pos < this.end ? this.data[this.#pos] : undefined;
    if (byte === undefined) throw malformed('unexpected end', this.#pos);
    this.#pos++;
    return byte;
  }

  /** The next byte, not consumed, or -1 at the end. */
  peek(): number {
    return this.#pos < this.end ? (this.data[this.#pos] ?? -1) : -1;
  }

  /** Moves past `count` bytes. */
  skip(count: number): void {
    if (count > this.end - this.#pos) {
      throw malformed(`${count} bytes wanted, ${this.left} left`, this.#pos);
    }
    this.#pos += count;
  }

  /** The next `count` bytes, as a view of `data`. */
  bytes(count: number): Uint8Array {
    const start = this.#pos;
    this.skip(count);
    return this.data.subarray(start, start + count);
  }

  /** A reader over the next `count` bytes; this reader moves past them. */
  sub(count: number): Reader {
    const start = this.#pos;
    this.skip(count);
    return new Reader(this.data, start, start + count);
  }

  /** An unsigned 32-bit integer: at most 5 bytes, the last of them below 0x10. */
  u32(): number {
    const start = this.#pos;
    const first = this.byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    const last = this.byte();
    if (last > 0x0f) throw malformed('u32 too long or too large', start);
    return (value | (last << 28)) >>> 0;
  }

  /** An unsigned 64-bit integer: at most 10 bytes, the last of them 0 or 1. */
  u64(): bigint {
    const start = this.#pos;
    let value = 0n;
    for (let shift = 0n; shift < 63n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    const last = this.byte();
    if (last > 0x01) throw malformed('u64 too long or too large', start);
    return value | (BigInt(last) << 63n);
  }

  s32(): number {
    return this.#signed(32) | 0;
  }

  /** The 33-bit integers of block types and heap types: type indexes are not negative, abbreviations are. */
  s33(): number {
    return this.#signed(33);
  }

  s64(): bigint {
    const start = this.#pos;
    this.skipS64();
    let value = 0n;
    let shift = 0n;
    for (const byte of this.data.subarray(start, this.#pos)) {
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
    }
    return BigInt.asIntN(64, BigInt.asIntN(Number(shift), value));
  }

  /** Checks and passes an `s64` without making a bigint of it: code has hundreds of thousands of them. */
  skipS64(): void {
    const start = this.#pos;
    for (let i = 0; i < 9; i++) if (this.byte() < 0x80) return;
    const last = this.byte();
    if (last !== 0x00 && last !== 0x7f) throw malformed('s64 too long or too large', start);
  }

  /** Checks and passes a `u64`. */
  skipU64(): void {
    const start = this.#pos;
    for (let i = 0; i < 9; i++) if (this.byte() < 0x80) return;
    if (this.byte() > 0x01) throw malformed('u64 too long or too large', start);
  }

  /** A length-prefixed string, which must be well-formed UTF-8. */
  name(): string {
    const length = this.u32();
    const start = this.#pos;
    const bytes = this.bytes(length);
    try {
      return utf8.decode(bytes);
    } catch {
      throw malformed('name is not UTF-8', start);
    }
  }

  /** A count. Each item takes a byte or more, so a count beyond the bytes left is refused before anything is allotted. */
  count(what: string): number {
    const start = this.#pos;
    const count = this.u32();
    if (count > this.left) throw malformed(`${count} ${what} counted, ${this.left} bytes left`, start);
    return count;
  }

  /** A vector: a count, then that many items, each read by `item`. `what` names them in errors, in the plural. */
  vec<T>(what: string, item: (index: number) => T): T[] {
    const count = this.count(what);
    const items: T[] = [];
    for (let index = 0; index < count; index++) items.push(item(index));
    return items;
  }

  /** Throws unless all bytes are read. `what` names what should have ended. */
  expectEnd(what: string): void {
    if (!this.eof) throw malformed(`${this.left} bytes left over after ${what}`, this.#pos);
  }

  /** A signed integer of 32 or 33 bits: 5 bytes at most, whose unused bits all equal the sign bit. */
  #signed(bits: 32 | 33): number {
    const start = this.#pos;
    let value = 0;
    // Multiplied, not shifted: 33 bits do not fit the 32-bit operators.
    for (let scale = 1; scale < 2 ** 28; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return byte & 0x40 ? value - scale * 128 : value;
    }
    const last = this.byte();
    const sign = 1 << (bits - 29);
    const unused = 0x80 - sign;
    const negative = (last & sign) !== 0;
    if (last >= 0x80 || (last & unused) !== (negative ? unused : 0)) {
      throw malformed(`s${bits} too long or too large`, start);
    }
    return value + (negative ? last - 0x80 : last) * 2 ** 28;
  }
}
