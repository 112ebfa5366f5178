import { Buffer } from 'node:buffer';
import { ThawError } from '../errors.ts';
import { Allowance } from './allowance.ts';
import { HostResource } from './handles.ts';
import { OK, err, ok, type Result } from './values.ts';

/** wasi:http/types `fields`. Source: WASI proposals, wasi-http; RFC 9110, section 5. */

export type HeaderError = { readonly tag: 'invalid-syntax' | 'forbidden' | 'immutable' };

const INVALID_SYNTAX: HeaderError = { tag: 'invalid-syntax' };
const FORBIDDEN: HeaderError = { tag: 'forbidden' };
const IMMUTABLE: HeaderError = { tag: 'immutable' };

/** Fields that belong to the connection and so to the node: a guest may not set them and does not see them. */
const FORBIDDEN_NAMES = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'host',
  'http2-settings',
]);

/** RFC 9110 `token`. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110 `field-value` forbids CR, LF and NUL, and HTTP/1 parsers refuse the other controls but tab. */
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const BAD_VALUE = /[\0-\x08\x0a-\x1f\x7f]/;

/** What peers allow for a header section: 128 KiB, and a line for each of some hundred bytes. */
export const MAX_FIELDS_BYTES = 131_072;
const MAX_FIELDS_COUNT = 1024;
/** RFC 9112 separators, ": " and CRLF, count too. */
const LINE_OVERHEAD = 4;
/** What a line takes beside its text: two strings and their places in the list. */
const LINE_KEPT_BYTES = 64;

/** Most names have none of these lengths: they need no string in lower case, and no hash of it. */
const FORBIDDEN_LENGTHS: ReadonlySet<number> = new Set(Array.from(FORBIDDEN_NAMES, ({ length }) => length));

export const isForbiddenName = (name: string): boolean =>
  FORBIDDEN_LENGTHS.has(name.length) && FORBIDDEN_NAMES.has(name.toLowerCase());

/** Values are Latin-1 strings, one character a byte, as Node has them on the wire. */
export class Fields extends HostResource {
  override readonly resource = 'wasi:http/types#fields';
  /** Name, value, name, value, in order. */
  #entries: string[] = [];
  /** Fields obtained from a request or a response cannot be changed. */
  readonly #immutable: boolean;
  /** What the lines are counted against. What is moved into a message stays counted until the request is over. */
  readonly #allowance: Allowance;
  #bytes = 0;

  private constructor(immutable: boolean, allowance: Allowance) {
    super();
    this.#immutable = immutable;
    this.#allowance = allowance;
  }

  /** @param allowance of the guest that makes them */
  static empty(allowance: Allowance = new Allowance()): Fields {
    return new Fields(false, allowance);
  }

  /** What a peer sent, without the fields that are the connection's. @param raw name, value, name, value */
  static received(raw: readonly string[]): Fields {
    const fields = new Fields(true, NOT_COUNTED);
    for (let index = 0; index < raw.length; index += 2) {
      const name = raw[index] as string;
      if (!isForbiddenName(name)) fields.#entries.push(name, raw[index + 1] as string);
    }
    return fields;
  }

  static fromList(
    list: readonly (readonly [string, Uint8Array])[],
    allowance: Allowance = new Allowance(),
  ): Result<Fields, HeaderError> {
    const fields = new Fields(false, allowance);
    for (const [name, value] of list) {
      const added = fields.append(name, value);
      if (added.tag === 'ok') continue;
      fields.dispose();
      return added;
    }
    return ok(fields);
  }

  /** The fields themselves as immutable: what `headers()` of a message hands out. Shares the entries. */
  frozen(): Fields {
    const fields = new Fields(true, this.#allowance);
    fields.#entries = this.#entries;
    return fields;
  }

  clone(allowance: Allowance = this.#allowance): Fields {
    const bytes = textBytes(this.#entries);
    const fields = new Fields(false, allowance);
    allowance.take(keptBytes(this.#entries.length / 2, bytes), 'header fields');
    fields.#entries = [...this.#entries];
    fields.#bytes = bytes;
    return fields;
  }

  /** What the lines are counted against. */
  get allowance(): Allowance {
    return this.#allowance;
  }

  /** Name, value, name, value: the form that Node's `writeHead` takes. */
  get raw(): readonly string[] {
    return this.#entries;
  }

  entries(): [string, string][] {
    const list: [string, string][] = [];
    for (let index = 0; index < this.#entries.length; index += 2) {
      list.push([this.#entries[index] as string, this.#entries[index + 1] as string]);
    }
    return list;
  }

  get(name: string): string[] {
    const key = name.toLowerCase();
    const values: string[] = [];
    for (let index = 0; index < this.#entries.length; index += 2) {
      if (isNamed(this.#entries[index] as string, key)) values.push(this.#entries[index + 1] as string);
    }
    return values;
  }

  has(name: string): boolean {
    const key = name.toLowerCase();
    return this.#entries.some((text, index) => index % 2 === 0 && isNamed(text, key));
  }

  set(name: string, values: readonly Uint8Array[]): Result<undefined, HeaderError> {
    checkSize(
      values.length,
      values.reduce((sum, { length }) => sum + length, 0),
    );
    const texts = values.map(latin1);
    const refused = this.#refusal(name) ?? texts.map(valueRefusal).find((refusal) => refusal !== null);
    if (refused) return err(refused);
    this.#remove(name);
    for (const text of texts) this.#push(name, text);
    return OK;
  }

  append(name: string, value: Uint8Array): Result<undefined, HeaderError> {
    checkSize(1, value.length);
    const text = latin1(value);
    const refused = this.#refusal(name) ?? valueRefusal(text);
    if (refused !== null) return err(refused);
    this.#push(name, text);
    return OK;
  }

  delete(name: string): Result<undefined, HeaderError> {
    const refused = this.#refusal(name);
    if (refused !== null) return err(refused);
    this.#remove(name);
    return OK;
  }

  #refusal(name: string): HeaderError | null {
    if (this.#immutable) return IMMUTABLE;
    if (!TOKEN.test(name)) return INVALID_SYNTAX;
    return isForbiddenName(name) ? FORBIDDEN : null;
  }

  #push(name: string, value: string): void {
    const count = this.#entries.length / 2 + 1;
    const bytes = this.#bytes + name.length + value.length;
    if (isTooLarge(count, bytes)) throw tooLarge(count, bytes);
    this.#allowance.take(keptBytes(1, name.length + value.length), 'header fields');
    this.#entries.push(name, value);
    this.#bytes = bytes;
  }

  #remove(name: string): void {
    const key = name.toLowerCase();
    const kept = this.entries().filter(([other]) => other.toLowerCase() !== key);
    this.#give();
    this.#entries = kept.flat();
    this.#bytes = textBytes(this.#entries);
    this.#allowance.take(keptBytes(kept.length, this.#bytes), 'header fields');
  }

  #give(): void {
    this.#allowance.give(keptBytes(this.#entries.length / 2, this.#bytes));
  }

  /** The guest's own are gone. Others share their lines with a message. */
  override dispose(): void {
    if (!this.#immutable) this.#give();
  }
}

/** Of lines that nobody counts: what peers may send is limited where it is received. */
const NOT_COUNTED = new Allowance(Infinity);

const textBytes = (entries: readonly string[]): number => entries.reduce((sum, text) => sum + text.length, 0);

const keptBytes = (count: number, bytes: number): number => bytes + count * LINE_KEPT_BYTES;

const isTooLarge = (count: number, bytes: number): boolean =>
  count > MAX_FIELDS_COUNT || bytes + count * LINE_OVERHEAD > MAX_FIELDS_BYTES;

const tooLarge = (count: number, bytes: number): ThawError =>
  new ThawError(
    'GUEST_LIMIT',
    `fields of ${count} lines and ${bytes} bytes, where ${MAX_FIELDS_COUNT} lines and ${MAX_FIELDS_BYTES} bytes are the limit`,
  );

/** Values are views of the guest's memory: what can never be fields is not copied out of it, valid or not. */
function checkSize(count: number, bytes: number): void {
  if (isTooLarge(count, bytes)) throw tooLarge(count, bytes);
}

/** Whether a field name, in any casing, is `key`, in lower case. Most names differ in length: no string is made for them. */
const isNamed = (name: string, key: string): boolean => name.length === key.length && name.toLowerCase() === key;

const latin1 = (value: Uint8Array): string =>
  (value instanceof Buffer ? value : Buffer.from(value.buffer, value.byteOffset, value.length)).toString('latin1');

const valueRefusal = (text: string): HeaderError | null => (BAD_VALUE.test(text) ? INVALID_SYNTAX : null);
