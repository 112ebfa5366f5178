/**
 * Readers for JSON that was written by this or another program: each takes an unknown value and returns it as its type,
 * or throws with the path of the field at fault. The reader of a type is checked against the type by the compiler.
 */
import { isUtf8 } from 'node:buffer';

export type Reader<T> = (value: unknown, path: string) => T;

type JsonObject = Readonly<Record<string, unknown>>;

/** Thrown by readers; `refusing` turns it into the caller's error. */
class FieldError extends Error {}

export function refuseField(path: string, expected: string, found: unknown): never {
  const text = JSON.stringify(found) ?? String(found);
  const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  throw new FieldError(`field ${path === '' ? '(top level)' : path}: expected ${expected}, found ${shown}`);
}

/** Runs a check whose refusals of fields become the caller's error: `refuse` makes it of the problem in words. */
export function refusing<T>(refuse: (problem: string) => Error, check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw error instanceof FieldError || error instanceof SyntaxError ? refuse(error.message) : error;
  }
}

const decoder = new TextDecoder();

/**
 * Decodes UTF-8, parses JSON and reads it. `refuse` makes the error for a problem in words: not UTF-8, not JSON, or a
 * field by its path.
 */
export function readJson<T>(bytes: Uint8Array, reader: Reader<T>, refuse: (problem: string) => Error): T {
  if (!isUtf8(bytes)) throw refuse('it is not UTF-8');
  return refusing(refuse, () => reader(JSON.parse(decoder.decode(bytes)), ''));
}

export const text: Reader<string> = (value, path) =>
  typeof value === 'string' ? value : refuseField(path, 'a string', value);

export const textWhere =
  (expected: string, test: (value: string) => boolean): Reader<string> =>
  (value, path) =>
    typeof value === 'string' && test(value) ? value : refuseField(path, expected, value);

export const oneOf =
  <const T extends string | number>(...allowed: readonly T[]): Reader<T> =>
  (value, path) =>
    allowed.find((one) => one === value) ??
    refuseField(path, allowed.map((one) => JSON.stringify(one)).join(' or '), value);

/** An integer from 0 to `max`. Not -0, which JSON can say and canonical JSON cannot. */
export const count =
  (max: number = Number.MAX_SAFE_INTEGER): Reader<number> =>
  (value, path) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max && !Object.is(value, -0)
      ? value
      : refuseField(path, `an integer from 0 to ${max}`, value);

export const nullable =
  <T>(reader: Reader<T>): Reader<T | null> =>
  (value, path) =>
    value === null ? null : reader(value, path);

export const list =
  <T>(reader: Reader<T>): Reader<readonly T[]> =>
  (value, path) =>
    Array.isArray(value)
      ? value.map((item, index) => reader(item, `${path}[${index}]`))
      : refuseField(path, 'a list', value);

/** An object with exactly these members: a format that gains a member is another format. */
export const object = <T extends object>(members: { readonly [K in keyof T]-?: Reader<T[K]> }): Reader<T> => {
  const readers = Object.entries<Reader<unknown>>(members);
  return (value, path) => {
    const found = asRecord(value, path);
    const read: Record<string, unknown> = {};
    for (const [key, reader] of readers) {
      if (!Object.hasOwn(found, key)) refuseField(join(path, key), 'a value', undefined);
      read[key] = reader(found[key], join(path, key));
    }
    const extra = Object.keys(found).find((key) => !Object.hasOwn(members, key));
    if (extra !== undefined) refuseField(join(path, extra), 'no such member', found[extra]);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the type of `members` has one reader per member of T
    return read as T;
  };
};

/** A union told apart by its member `kind`. */
export const variant = <T extends { readonly kind: string }>(cases: {
  readonly [K in T['kind']]: Reader<Extract<T, { readonly kind: K }>>;
}): Reader<T> => {
  const readers = new Map<unknown, Reader<T>>(Object.entries<Reader<T>>(cases));
  return (value, path) => {
    const { kind } = asRecord(value, path);
    const reader = readers.get(kind);
    return reader?.(value, path) ?? refuseField(join(path, 'kind'), [...readers.keys()].join(' or '), kind);
  };
};

export const asRecord: Reader<JsonObject> = (value, path) =>
  isRecord(value) ? value : refuseField(path, 'an object', value);

const isRecord = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);
