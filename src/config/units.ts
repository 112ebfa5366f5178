import { ThawError } from '../errors.ts';

const SIZE_UNITS = {
  B: 1n,
  KB: 1000n,
  MB: 1000n ** 2n,
  GB: 1000n ** 3n,
  KiB: 1024n,
  MiB: 1024n ** 2n,
  GiB: 1024n ** 3n,
} as const;

const DURATION_UNITS = { ms: 1n, s: 1000n, m: 60_000n, h: 3_600_000n } as const;

type Units = Readonly<Record<string, bigint>>;

/** 15 digits hold every size and duration that a double holds exactly, and bound the work on a hostile file. */
const NUMBER = String.raw`[0-9]{1,15}(\.[0-9]{1,15})?`;

export const SIZE_PATTERN = `^${NUMBER}(${Object.keys(SIZE_UNITS).join('|')})$`;
export const DURATION_PATTERN = `^${NUMBER}(${Object.keys(DURATION_UNITS).join('|')})$`;

/** The longest delay that a timer of Node takes: one more, and it fires after 1 ms instead. About 24.8 days. */
const MAX_DURATION_MS = 2 ** 31 - 1;

type Kind = {
  readonly name: string;
  readonly units: Units;
  readonly example: string;
  readonly whole: string;
  readonly max: number;
};

const SIZE: Kind = {
  name: 'size',
  units: SIZE_UNITS,
  example: '64MiB',
  whole: 'bytes',
  max: Number.MAX_SAFE_INTEGER,
};

const DURATION: Kind = {
  name: 'duration',
  units: DURATION_UNITS,
  example: '500ms',
  whole: 'milliseconds',
  max: MAX_DURATION_MS,
};

const refuse = (message: string): never => {
  throw new ThawError('CONFIG_INVALID', message);
};

const PARTS = new RegExp(`^(${NUMBER})([A-Za-z]+)$`);

/** What was probably meant: `64 mib`, `64M` and `64mb` all name a unit, in a way that this syntax does not take. */
const repaired = (text: string, { units }: Kind): string => {
  const parts = /^\s*([0-9.]+)\s*([A-Za-z]+)\s*$/.exec(text);
  const [, number = '', unit = ''] = parts ?? [];
  const spelled = Object.keys(units).filter((name) =>
    [name, name.replace('iB', ''), `${name}ec`].some((spelling) => spelling.toLowerCase() === unit.toLowerCase()),
  );
  return spelled.length === 0 ? '' : `; did you mean ${spelled.map((name) => `"${number}${name}"`).join(' or ')}?`;
};

/** The number in the kind's smallest unit. Exact: decimals are scaled as integers, never as floating point. */
const parse = (text: string, kind: Kind): number => {
  const parts = PARTS.exec(text);
  const [, digits = '', fraction = '', unit = ''] = parts ?? [];
  const scale = Object.hasOwn(kind.units, unit) ? kind.units[unit] : undefined;
  if (parts === null || scale === undefined) {
    const names = Object.keys(kind.units).join(', ');
    const hint = repaired(text, kind) || `; write a number and a unit (${names}), such as "${kind.example}"`;
    return refuse(`${JSON.stringify(text)} is not a ${kind.name}${hint}`);
  }
  const divisor = 10n ** BigInt(Math.max(0, fraction.length - 1));
  const scaled = BigInt(digits.replace('.', '')) * scale;
  if (scaled % divisor !== 0n) return refuse(`"${text}" is not a whole number of ${kind.whole}`);
  const value = scaled / divisor;
  if (value > BigInt(kind.max)) return refuse(`"${text}" is over the largest ${kind.name}, ${kind.max} ${kind.whole}`);
  return Number(value);
};

/** The largest unit, by factor, of which the value is a whole multiple. */
const format = (value: number, units: Units, among: readonly string[]): string => {
  const exact = BigInt(value);
  const unit = among.find((name) => exact % (units[name] ?? 1n) === 0n && exact !== 0n) ?? among.at(-1) ?? '';
  return `${exact / (units[unit] ?? 1n)}${unit}`;
};

/**
 * Bytes in a size such as `64MiB`, `1.5GiB` or `10MB` (B, KiB, MiB and GiB are powers of 1,024; KB, MB and GB of 1,000).
 * @throws CONFIG_INVALID when it is not one, is not a whole number of bytes, or is over 2⁵³ − 1.
 */
export const parseSize = (text: string): number => parse(text, SIZE);

/**
 * Milliseconds in a duration such as `500ms`, `2s`, `1.5m` or `1h`.
 * @throws CONFIG_INVALID when it is not one, is not a whole number of milliseconds, or is longer than a timer can wait.
 */
export const parseDuration = (text: string): number => parse(text, DURATION);

/** `parseSize` backwards: the shortest exact way to write so many bytes, in powers of 1,024. */
export const formatSize = (bytes: number): string => format(bytes, SIZE_UNITS, ['GiB', 'MiB', 'KiB', 'B']);

/** `parseDuration` backwards: the shortest exact way to write so many milliseconds. */
export const formatDuration = (ms: number): string => format(ms, DURATION_UNITS, ['h', 'm', 's', 'ms']);
