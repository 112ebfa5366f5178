/** Numbers as people read them: three significant digits, whole numbers above a hundred, one unit in a column. */

/** Shown where there is no number. */
export const NONE = '–';

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const padded = new Intl.NumberFormat('en', { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

/** `12,345`, `94.1`, `0.0941`; trailing zeros stay, they were measured. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return NONE;
  if (value === 0) return '0';
  return Math.abs(value) >= 99.95 ? grouped.format(value) : padded.format(value);
}

/** `2,576`, and `58.3` for a mean of counts. */
export function counted(value: number): string {
  if (!Number.isFinite(value)) return NONE;
  return Number.isInteger(value) || value >= 100 ? grouped.format(value) : precise.format(value);
}

const BYTE_UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `312 KiB`, `13.8 MiB`. */
export function bytes(value: number): string {
  if (!Number.isFinite(value)) return NONE;
  const power = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), BYTE_UNITS.length - 1);
  return `${precise.format(value / 1024 ** power)} ${BYTE_UNITS[power]}`;
}

const MICROS_PER_MILLI = 1000;
const MICROS_PER_SECOND = 1e6;

export const toMillis = (micros: number): number => micros / MICROS_PER_MILLI;

/** A time with the unit that suits it: `94.1 µs`, `5.12 ms`. For text; columns have one unit. */
export function time(micros: number): string {
  if (micros >= MICROS_PER_SECOND) return `${significant(micros / MICROS_PER_SECOND)} s`;
  return micros >= MICROS_PER_MILLI ? `${significant(toMillis(micros))} ms` : `${significant(micros)} µs`;
}

/** `2 min 40 s`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** `2026-11-22 10:59 UTC`. */
export const dateTime = (iso: string): string => `${new Date(iso).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
