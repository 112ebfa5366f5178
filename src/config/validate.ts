import { Ajv } from 'ajv';
import type { ErrorObject, ValidateFunction } from 'ajv';
import { messageOf, ThawError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { parseHostPattern, parseListen } from './host.ts';
import { parseNetwork } from './networks.ts';
import { parseAllowedHost } from './outbound.ts';
import { parseRoutePattern } from './route-pattern.ts';
import { CONFIG_SCHEMA, ROUTES_FILE_SCHEMA } from './schema.ts';
import type { Parsed } from './schema.ts';
import type { Path } from './source.ts';
import { isRecord } from './source.ts';
import { didYouMean } from './suggest.ts';
import { parseDuration, parseSize } from './units.ts';

/** Something wrong with the value, or the key, at a path. */
export type Finding = {
  readonly path: Path;
  readonly part: 'key' | 'value';
  readonly code: ErrorCode;
  readonly message: string;
};

/** The parts of JSON Schema that the config's schema uses. */
type Schema = {
  readonly type?: string;
  readonly title?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly enum?: readonly (string | number)[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
};

/** Every mapping may be a schema: all keys of one are optional, and these come from our own. */
const isSchema = (value: unknown): value is Schema => isRecord(value);

const WASM_PAGE = '64KiB';

const refuse = (message: string): never => {
  throw new ThawError('CONFIG_INVALID', message);
};

const parseMemory = (text: string): number => {
  const bytes = parseSize(text);
  return bytes >= parseSize(WASM_PAGE)
    ? bytes
    : refuse(`"${text}" is less than ${WASM_PAGE}, one page of linear memory`);
};

const parseTimeLimit = (text: string): number => {
  const ms = parseDuration(text);
  return ms > 0 ? ms : refuse(`"${text}" leaves no time at all: the least is "1ms"`);
};

/** A guest that runs keeps its thread from all others, so there is an end to what an operator can allow it. */
const MAX_CPU_LIMIT = '1m';

const parseCpuLimit = (text: string): number => {
  const ms = parseTimeLimit(text);
  return ms <= parseDuration(MAX_CPU_LIMIT)
    ? ms
    : refuse(`"${text}" is over the largest CPU time limit, ${MAX_CPU_LIMIT}`);
};

/** What memories with 32-bit addresses can have. */
const MAX_MEMORY_LIMIT = '4GiB';

const parseMemoryLimit = (text: string): number => {
  const bytes = parseMemory(text);
  return bytes <= parseSize(MAX_MEMORY_LIMIT)
    ? bytes
    : refuse(`"${text}" is over ${MAX_MEMORY_LIMIT}, which is all that linear memory can have`);
};

const PARSERS: { readonly [Title in keyof Parsed]: (text: string) => Parsed[Title] } = {
  size: parseSize,
  'memory size': parseMemory,
  duration: parseDuration,
  'time limit': parseTimeLimit,
  'CPU time limit': parseCpuLimit,
  'memory limit': parseMemoryLimit,
  address: parseListen,
  host: parseHostPattern,
  route: parseRoutePattern,
  'outbound host': parseAllowedHost,
  network: parseNetwork,
};

const hasParser = (title: string | undefined): title is keyof Parsed =>
  title !== undefined && Object.hasOwn(PARSERS, title);

const MAX_SHOWN_TEXT = 80;

/** A value in a message: short, whatever it is. */
const describe = (value: unknown): string => {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > MAX_SHOWN_TEXT ? `${value.slice(0, MAX_SHOWN_TEXT)}…` : value);
  }
  if (typeof value === 'number') return `the number ${value}`;
  if (value === null || value === undefined) return 'empty';
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a mapping';
  return typeof value === 'boolean' ? String(value) : `a ${typeof value}`;
};

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'a whole number',
  object: 'a mapping of keys to values',
  array: 'a list',
};

const named = (title = 'value'): string => `${/^[aeiou]/.test(title) ? 'an' : 'a'} ${title}`;

/** `routes[0].limits.wall`. */
const pathText = (path: Path): string =>
  path
    .map((name) => (typeof name === 'number' ? `[${name}]` : `.${name}`))
    .join('')
    .replace(/^\./, '');

const exampleOf = ({ examples }: Schema): string =>
  examples?.[0] === undefined ? '' : `, such as ${JSON.stringify(examples[0])}`;

const pathOf = ({ instancePath }: ErrorObject): Path =>
  instancePath
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((name) => (/^(0|[1-9][0-9]*)$/.test(name) ? Number(name) : name));

const typeMessage = (schema: Schema, value: unknown): string => {
  const expected =
    schema.type === 'string' && schema.title !== undefined ? named(schema.title) : TYPE_NAMES[schema.type ?? ''];
  const quotable = schema.type === 'string' && !hasParser(schema.title);
  const quote = quotable && (typeof value === 'number' || typeof value === 'boolean') ? '; put it in quotes' : '';
  return `must be ${expected}${exampleOf(schema)}, and is ${describe(value)}${quote}`;
};

const unknownKey = (path: Path, key: string, schema: Schema): Finding => {
  const known = Object.keys(schema.properties ?? {}).filter((name) => name !== '$schema');
  const where = path.length === 0 ? 'at the top' : `in ${pathText(path)}`;
  const hint = didYouMean(key, known) || `; the keys here are ${known.join(', ')}`;
  return {
    path: [...path, key],
    part: 'key',
    code: 'CONFIG_UNKNOWN_KEY',
    message: `unknown key ${describe(key)} ${where}${hint}`,
  };
};

/** No number is near another in the way that a word is. */
const memberHint = (value: unknown, members: readonly (string | number)[]): string => {
  if (typeof value !== 'string') return '';
  return members.includes(Number(value)) ? '; write it without quotes' : didYouMean(value, members.map(String));
};

/** What ajv found, for people. Null for what another finding says better. */
const toFinding = (error: ErrorObject): Finding | null => {
  const path = pathOf(error);
  const schema = isSchema(error.parentSchema) ? error.parentSchema : {};
  const params: Readonly<Record<string, unknown>> = error.params;
  const finding = (message: string): Finding => ({
    path,
    part: 'value',
    code: 'CONFIG_INVALID',
    message: path.length === 0 ? message : `${pathText(path)} ${message}`,
  });
  // The error of the name itself: 'propertyNames' follows it, with the place.
  if (error.propertyName !== undefined) return null;
  switch (error.keyword) {
    case 'additionalProperties':
      return unknownKey(path, String(params['additionalProperty']), schema);
    case 'propertyNames':
      return {
        ...finding(`has the key ${describe(params['propertyName'])}, which is no name of a variable`),
        path: [...path, String(params['propertyName'])],
        part: 'key',
      };
    case 'required': {
      const key = String(params['missingProperty']);
      const lacks = finding(`lacks the key "${key}"${exampleOf(schema.properties?.[key] ?? {})}`);
      return { ...lacks, path: [...path, key] };
    }
    case 'type':
      return finding(typeMessage(schema, error.data));
    case 'enum':
      return finding(
        `is ${describe(error.data)}, which is not ${named(schema.title)}${memberHint(error.data, schema.enum ?? [])}`,
      );
    case 'pattern':
      return finding(`is ${describe(error.data)}, which is not ${named(schema.title)}${exampleOf(schema)}`);
    case 'minLength':
      return finding('is empty');
    case 'minItems':
      return finding('is an empty list: name at least one, or leave the key out');
    default:
      return finding(`${error.message ?? error.keyword}, and is ${describe(error.data)}`);
  }
};

/** Fills in defaults and parses texts along the schema, and keeps what is wrong. */
class Resolution {
  readonly findings: Finding[] = [];
  /** Where `resolve` is: one list that grows and shrinks, since a config of many routes has a hundred thousand places. */
  readonly #path: (string | number)[] = [];

  /** Values of a wrong type stay out. What several places have by default is one object. */
  resolve(schema: Schema, value: unknown): unknown {
    if (value !== undefined) return this.#given(schema, value);
    if (schema.default === undefined) return undefined;
    const known = defaults.get(schema);
    if (known !== undefined) return known;
    const resolved = Object.freeze(this.#given(schema, schema.default));
    defaults.set(schema, resolved);
    return resolved;
  }

  #given(schema: Schema, given: unknown): unknown {
    if (hasParser(schema.title)) return typeof given === 'string' ? this.#parse(schema.title, given) : undefined;
    const { properties, items } = schema;
    if (properties !== undefined && isRecord(given)) {
      const resolved: Record<string, unknown> = {};
      for (const key of Object.keys(properties)) {
        const own = Object.hasOwn(given, key) ? given[key] : undefined;
        resolved[key] = this.#below(key, properties[key] ?? {}, own);
      }
      return resolved;
    }
    if (items !== undefined && Array.isArray(given)) {
      return given.map((item: unknown, index) => this.#below(index, items, item));
    }
    return given;
  }

  #below(step: string | number, schema: Schema, value: unknown): unknown {
    this.#path.push(step);
    const resolved = this.resolve(schema, value);
    this.#path.pop();
    return resolved;
  }

  #parse(title: keyof Parsed, text: string): unknown {
    try {
      return PARSERS[title](text);
    } catch (error) {
      if (!(error instanceof ThawError)) throw error;
      const path = [...this.#path];
      const message = `${pathText(path)}: ${messageOf(error)}`;
      this.findings.push({ path, part: 'value', code: error.code, message });
      return undefined;
    }
  }
}

/** What the default of a schema resolves to, which is sound: it is ours. Frozen, since many routes share it. */
const defaults = new Map<Schema, unknown>();

const validators = new Map<object, ValidateFunction>();

/** Compiled once, on first use: commands that read no config do not pay for it. */
const validatorOf = (schema: object): ValidateFunction => {
  const known = validators.get(schema);
  if (known !== undefined) return known;
  const compiled = new Ajv({ allErrors: true, verbose: true, strict: true, logger: false }).compile(schema);
  validators.set(schema, compiled);
  return compiled;
};

export type FileSchema = typeof CONFIG_SCHEMA | typeof ROUTES_FILE_SCHEMA;

/**
 * Checks `value` against a schema. The result's `value` has the shape `Resolved<Schema>` where no finding lies; at most
 * one finding is kept for each path, the parser's before the schema's.
 */
export const check = (
  schema: FileSchema,
  value: unknown,
): { readonly value: unknown; readonly findings: readonly Finding[] } => {
  const resolution = new Resolution();
  const resolved = resolution.resolve(schema, value);
  const { findings } = resolution;
  const validate = validatorOf(schema);
  validate(value);
  findings.push(...(validate.errors ?? []).map(toFinding).filter((finding) => finding !== null));
  const first = new Map<string, Finding>();
  for (const finding of findings) {
    const key = JSON.stringify(finding.path);
    if (!first.has(key)) first.set(key, finding);
  }
  return { value: resolved, findings: [...first.values()] };
};
