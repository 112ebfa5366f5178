/**
 * Settings from outside the files: flags over environment over file. Each goes through the same schema as a value in a
 * file does.
 */

import { isRecord } from './source.ts';

/** From the command line. An absent one leaves the setting as it is. */
type ConfigFlags = {
  readonly listen?: string | undefined;
  readonly admin?: string | undefined;
  readonly store?: string | undefined;
  readonly threads?: string | undefined;
};

export type ConfigOverrides = {
  readonly flags?: ConfigFlags;
  /** Of the process, usually. An empty variable counts as absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
};

type Setting = {
  readonly path: readonly [string] | readonly [string, string];
  readonly variable: string;
  readonly flag?: keyof ConfigFlags;
  readonly number?: true;
};

const SETTINGS: readonly Setting[] = [
  { path: ['listen'], variable: 'THAW_LISTEN', flag: 'listen' },
  { path: ['admin'], variable: 'THAW_ADMIN', flag: 'admin' },
  { path: ['store'], variable: 'THAW_STORE', flag: 'store' },
  { path: ['threads'], variable: 'THAW_THREADS', flag: 'threads', number: true },
  { path: ['drain'], variable: 'THAW_DRAIN' },
  { path: ['pool', 'memory'], variable: 'THAW_POOL_MEMORY' },
  { path: ['pool', 'slots'], variable: 'THAW_POOL_SLOTS', number: true },
];

/** One setting that came from outside. `origin` is for messages: `--listen`, `THAW_LISTEN`. */
export type Override = { readonly path: Setting['path']; readonly value: string | number; readonly origin: string };

const typed = (text: string, { number }: Setting): string | number =>
  number === true && /^[0-9]{1,15}$/.test(text) ? Number(text) : text;

/** The settings that `overrides` has, each with the strongest of its values. */
export const collectOverrides = ({ flags = {}, env = {} }: ConfigOverrides): readonly Override[] =>
  SETTINGS.flatMap((setting) => {
    const { path, variable, flag } = setting;
    const fromFlag = flag === undefined ? undefined : flags[flag];
    if (fromFlag !== undefined) return [{ path, value: typed(fromFlag, setting), origin: `--${flag}` }];
    const fromEnv = env[variable];
    return fromEnv === undefined || fromEnv === '' ? [] : [{ path, value: typed(fromEnv, setting), origin: variable }];
  });

/** `value` with the overrides in it, itself unchanged. What is no mapping stays, for the schema to refuse. */
export const applyOverrides = (value: unknown, overrides: readonly Override[]): unknown => {
  if (!isRecord(value)) return value;
  const config = { ...value };
  for (const { path, value: setting } of overrides) {
    const [top, inner] = path;
    const group = config[top] ?? {};
    if (inner === undefined) config[top] = setting;
    else if (isRecord(group)) config[top] = { ...group, [inner]: setting };
  }
  return config;
};
