import { invariant } from '../errors.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * The one text of a JSON value: no white space, keys in the order of their UTF-16 code units, numbers and strings as
 * `JSON.stringify` writes them (RFC 8785). Values that are equal up to the order of keys have equal texts, and values
 * that differ have texts that differ.
 *
 * @throws INTERNAL for what JSON has no text of its own for (undefined, NaN, the infinities, -0), naming where it is.
 */
export function canonicalJson(value: Json, at = '$'): string {
  if (isList(value)) return `[${value.map((item, index) => canonicalJson(item, `${at}[${index}]`)).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.keys(value)
      .toSorted(byCodeUnits)
      .map((key) => {
        const member = value[key];
        // Dropping it, as JSON.stringify does, would make two values one text.
        invariant(member !== undefined, `canonical JSON has no undefined (at ${at}.${key})`);
        return `${JSON.stringify(key)}:${canonicalJson(member, `${at}.${key}`)}`;
      });
    return `{${members.join(',')}}`;
  }
  if (typeof value === 'number') {
    invariant(Number.isFinite(value) && !Object.is(value, -0), `canonical JSON has no number ${value} (at ${at})`);
  }
  return JSON.stringify(value);
}

/** `Array.isArray` does not narrow to a readonly array. */
const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
