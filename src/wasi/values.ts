import { ThawError } from '../errors.ts';

/**
 * What a host function sees of the values that it takes and returns: bool → boolean; integers up to 32 bits and floats →
 * number; 64-bit integers → bigint; char and string → string; list<u8> → Uint8Array (a view when lifted: copy what is kept;
 * a string stands for its Latin-1 bytes when lowered); other lists and tuples → array; record → object with camelCase keys;
 * option → value or undefined; result and variant → {@link Tagged}; enum → its name; flags → set of names; own and borrow →
 * HostResource, of handles.ts.
 *
 * They lie in the guest's memory (`stored-values.ts`) or pass as core values (`flat-values.ts`).
 */

export type Tagged<Tag extends string = string, Value = unknown> = { readonly tag: Tag; readonly val?: Value };
export type Result<Ok, Err> = { readonly tag: 'ok'; readonly val: Ok } | { readonly tag: 'err'; readonly val: Err };

export const ok = <Ok>(val: Ok): { tag: 'ok'; val: Ok } => ({ tag: 'ok', val });
export const err = <const Err>(val: Err): { tag: 'err'; val: Err } => ({ tag: 'err', val });
/** `ok` of a result without a payload. */
export const OK = { tag: 'ok', val: undefined } as const;
/** `err` of a result without a payload. */
export const ERR = { tag: 'err', val: undefined } as const;

/** The host's name of a field. */
export const camelCase = (name: string): string =>
  name.toLowerCase().replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

/** @throws ThawError ABI_VIOLATION */
export function liftChar(code: number): string {
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    throw new ThawError('ABI_VIOLATION', `0x${code.toString(16)} is not a Unicode scalar value`);
  }
  return String.fromCodePoint(code);
}

export function liftFlags(names: readonly string[], bits: number): ReadonlySet<string> {
  return new Set(names.filter((_, index) => bits & (1 << index)));
}

export function lowerFlags(names: readonly string[], value: unknown): number {
  const set = value as ReadonlySet<string>;
  return names.reduce((bits, name, index) => (set.has(name) ? bits | (1 << index) : bits), 0) >>> 0;
}
