const utf8 = new TextEncoder();

/**
 * A growing byte buffer that writes the WebAssembly binary format. Integers are written in their shortest form, so that
 * equal inputs give equal bytes.
 *
 * Source: WebAssembly 3.0 core specification, section 5.2 (values) and 5.5.2 (sections).
 */
export class Writer {
  #data: Uint8Array<ArrayBuffer>;
  /** Invariant: 0 <= length <= data.length. */
  #length = 0;

  /** `capacity`: the bytes expected, to spare copies while growing. */
  constructor(capacity = 256) {
    this.#data = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** What was written, as a view that later writes may leave behind. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#data.subarray(0, this.#length);
  }

  byte(value: number): this {
    this.#reserve(1);
    this.#data[this.#length++] = value;
    return this;
  }

  bytes(values: Uint8Array | readonly number[]): this {
    this.#reserve(values.length);
    this.#data.set(values, this.#length);
    this.#length += values.length;
    return this;
  }

  u32(value: number): this {
    let rest = value >>> 0;
    for (; rest >= 0x80; rest >>>= 7) this.byte((rest & 0x7f) | 0x80);
    return this.byte(rest);
  }

  s32(value: number): this {
    return this.s64(BigInt(value | 0));
  }

  s64(value: bigint): this {
    let rest = BigInt.asIntN(64, value);
    for (; rest < -64n || rest > 63n; rest >>= 7n) this.byte(Number(rest & 0x7fn) | 0x80);
    return this.byte(Number(rest & 0x7fn));
  }

  /** A length-prefixed UTF-8 string. */
  name(text: string): this {
    const bytes = utf8.encode(text);
    return this.u32(bytes.length).bytes(bytes);
  }

  /** A count, then each item, written by `item`. */
  vec<T>(items: readonly T[], item: (value: T, index: number) => void): this {
    this.u32(items.length);
    items.forEach(item);
    return this;
  }

  /** A section, or anything else that is an id byte and a length-prefixed body. */
  section(id: number, body: Uint8Array): this {
    return this.byte(id).u32(body.length).bytes(body);
  }

  #reserve(count: number): void {
    const wanted = this.#length + count;
    if (wanted <= this.#data.length) return;
    const grown = new Uint8Array(Math.max(wanted, this.#data.length * 2));
    grown.set(this.finish());
    this.#data = grown;
  }
}
