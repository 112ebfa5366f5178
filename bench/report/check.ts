/**
 * Checks of values that were read from JSON, built from the types that they are checks of: a field that is added to a type
 * has to be added to its check, or TypeScript complains. They return the value as it is or throw an Unexpected.
 */

/** Returns `value` when it is a T. `at` is where it stands: `startup.apps[0].name`. */
export type Check<T> = (value: unknown, at: string) => T;

/** What is wrong, and where. */
export class Unexpected extends Error {
  constructor(at: string, wanted: string, value: unknown) {
    super(`${at === '' ? 'the whole' : at} is ${shown(value)}, not ${wanted}`);
  }
}

const SHOWN_CHARACTERS = 60;

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = JSON.stringify(value);
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}

export const text: Check<string> = (value, at) => {
  if (typeof value !== 'string') throw new Unexpected(at, 'a text', value);
  return value;
};

export const flag: Check<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw new Unexpected(at, 'true or false', value);
  return value;
};

/** A time, a size or a count: none of them can be negative. */
export const amount: Check<number> = (value, at) => {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw new Unexpected(at, 'a number from 0', value);
  return value;
};

export const oneOf =
  <const T extends string | number>(values: readonly T[]): Check<T> =>
  (value, at) => {
    const found = values.find((one) => one === value);
    if (found === undefined) throw new Unexpected(at, values.map((one) => JSON.stringify(one)).join(' or '), value);
    return found;
  };

export const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (value, at) =>
    value === null ? null : check(value, at);

export const listOf =
  <T>(check: Check<T>): Check<readonly T[]> =>
  (value, at) => {
    if (!Array.isArray(value)) throw new Unexpected(at, 'a list', value);
    for (const [index, item] of value.entries()) check(item, `${at}[${index}]`);
    return value as readonly T[];
  };

const objectAt = (value: unknown, at: string): Readonly<Record<string, unknown>> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Unexpected(at, 'an object', value);
  return value as Readonly<Record<string, unknown>>;
};

/** Keys can be any. */
export const recordOf =
  <T>(check: Check<T>): Check<Readonly<Record<string, T>>> =>
  (value, at) => {
    const record = objectAt(value, at);
    for (const [key, item] of Object.entries(record)) check(item, `${at}[${JSON.stringify(key)}]`);
    return record as Readonly<Record<string, T>>;
  };

/** Fields that are not in the type are let through: a newer writer of the same format may add some. */
export const objectOf =
  <T extends object>(fields: { readonly [K in keyof T]-?: Check<T[K]> }): Check<T> =>
  (value, at) => {
    const record = objectAt(value, at);
    for (const [key, check] of Object.entries<Check<unknown>>(fields))
      check(record[key], at === '' ? key : `${at}.${key}`);
    return record as T;
  };

/** One of several objects that differ in `kind`. */
export const unionOf =
  <T extends { readonly kind: string }>(kinds: {
    readonly [K in T['kind']]: Check<Extract<T, { readonly kind: K }>>;
  }): Check<T> =>
  (value, at) => {
    const checks: Readonly<Record<string, Check<T>>> = kinds;
    const { kind } = objectAt(value, at);
    const check = checks[oneOf(Object.keys(checks))(kind, `${at}.kind`)];
    if (check === undefined) throw new Unexpected(`${at}.kind`, 'one that is known', kind);
    return check(value, at);
  };
