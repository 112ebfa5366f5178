import { ThawError, invariant } from '../errors.ts';
import { casesOf, type VariantLike } from './layout.ts';
import { quoted, type Source } from './source.ts';
import type { WitType } from './wit.ts';

/** Code for values that have cases: options, results, enums and variants. What they are in the host is in `values.ts`. */

/** One with more cases has a function of its own: thirty payloads in place of each error would make every caller large. */
const INLINE_CASES = 16;

/** Whether values of the type are lifted and lowered by a function of its own, and not in place. */
export const isLarge = (type: WitType): boolean => 'cases' in type && type.cases.length > INLINE_CASES;

/**
 * Makes the host's value of a case.
 *
 * @param index the name of the discriminant, as the guest gave it
 * @param payload adds the code that lifts the payload of a case; returns its name
 * @returns the name of the value
 */
export function liftCase(
  source: Source,
  type: VariantLike,
  index: string,
  payload: (type: WitType, index: number) => string,
): string {
  const cases = casesOf(type);
  source.add(
    `if (${index} >>> 0 >= ${cases.length}) ${source.constant(noSuchDiscriminant)}(${index}, ${cases.length});`,
  );
  if (type.kind === 'enum') return source.evaluated(`${source.constant(type.names)}[${index}]`);
  const value = source.variable();
  if (type.kind === 'option') {
    checkOption(type);
    source.add(`if (${index} === 1) {`);
    const lifted = payload(type.some, 1);
    source.add(`${value} = ${lifted};`, '}');
    return value;
  }
  const names = namesOf(type);
  source.add(`switch (${index}) {`);
  for (const [at, found] of cases.entries()) {
    if (found === null) continue;
    source.add(`case ${at}: {`);
    const lifted = payload(found, at);
    source.add(`${value} = { tag: ${quoted(names[at] as string)}, val: ${lifted} };`, 'break; }');
  }
  source.add(`default: ${value} = { tag: ${source.constant(names)}[${index}], val: undefined };`, '}');
  return value;
}

/**
 * Tells the cases of the host's value apart.
 *
 * @param lower adds the code for a case: its discriminant, and its payload with the expression for it, or null
 */
export function lowerCase(
  source: Source,
  type: VariantLike,
  value: string,
  lower: (index: number, payload: WitType | null, value: string) => void,
): void {
  if (type.kind === 'option') {
    checkOption(type);
    source.add(`if (${value} === undefined) {`);
    lower(0, null, value);
    source.add('} else {');
    lower(1, type.some, value);
    source.add('}');
    return;
  }
  const subject = type.kind === 'enum' ? value : `${value}.tag`;
  const cases = casesOf(type);
  source.add(`switch (${subject}) {`);
  for (const [index, name] of namesOf(type).entries()) {
    source.add(`case ${quoted(name)}: {`);
    lower(index, cases[index] ?? null, `${value}.val`);
    source.add('break; }');
  }
  source.add(`default: ${source.constant(noSuchCase)}(${subject});`, '}');
}

/** In the order of their discriminants. */
function namesOf(type: Exclude<VariantLike, { kind: 'option' }>): readonly string[] {
  if (type.kind === 'result') return RESULT_NAMES;
  return type.kind === 'enum' ? type.names : type.cases.map(([name]) => name);
}

const RESULT_NAMES = ['ok', 'err'];

/** `undefined` would be both of its `none`. */
function checkOption(type: Extract<WitType, { kind: 'option' }>): void {
  invariant(type.some.kind !== 'option', 'option<option<T>> has no representation in the host');
}

function noSuchCase(name: unknown): never {
  throw new ThawError('INTERNAL', `the host lowered case ${String(name)}, which its type does not have`);
}

function noSuchDiscriminant(index: number, count: number): never {
  throw new ThawError('ABI_VIOLATION', `discriminant ${index >>> 0} of a variant with ${count} cases`);
}
