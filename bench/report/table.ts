/** Tables as page, Markdown and README have in common; each renders them in its own way. */

import type { Figure } from './figures/figure.ts';
import { NONE, significant } from './numbers.ts';

export type Cell =
  /** Text from anywhere: renderers escape it. */
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'code'; readonly text: string }
  /** `value` is the number before it was rounded, in the unit of the column. */
  | { readonly kind: 'number'; readonly value: number; readonly text: string; readonly quartiles: string | null }
  | { readonly kind: 'none' };

export type Column = { readonly label: string; readonly unit?: string; readonly isNumeric: boolean };

export type Row = {
  readonly header: Cell;
  /** A message takes the place of the cells: why there are none. */
  readonly body: readonly Cell[] | { readonly kind: 'skipped' | 'failed'; readonly message: string };
};

export type Table = {
  readonly caption: string;
  /** The first is the column of row headers. */
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
};

export const words = (label: string): Column => ({ label, isNumeric: false });

export const numbers = (label: string, unit?: string): Column =>
  unit === undefined ? { label, isNumeric: true } : { label, unit, isNumeric: true };

export const textCell = (text: string): Cell => ({ kind: 'text', text });

export const codeCell = (text: string): Cell => ({ kind: 'code', text });

type Format = (value: number) => string;

/** A number, or nothing where there is none. */
export const numberCell = (value: number | null, format: Format = significant): Cell =>
  value === null || !Number.isFinite(value)
    ? { kind: 'none' }
    : { kind: 'number', value, text: format(value), quartiles: null };

/** Median and quartiles. @param scale what the figure's unit is multiplied with for the unit of the column */
export function figureCell(figure: Figure | null, format: Format = significant, scale = 1): Cell {
  if (figure === null) return { kind: 'none' };
  const { median, q1, q3 } = figure;
  return {
    kind: 'number',
    value: median * scale,
    text: format(median * scale),
    quartiles: quartilesText({ q1: q1 * scale, q3: q3 * scale }, format),
  };
}

/** `92.0 to 97.3`. */
export const quartilesText = ({ q1, q3 }: { q1: number; q3: number }, format: Format = significant): string =>
  `${format(q1)} to ${format(q3)}`;

/** A cell as plain text. */
export function plainText(cell: Cell): string {
  if (cell.kind === 'none') return NONE;
  if (cell.kind !== 'number' || cell.quartiles === null) return cell.text;
  return `${cell.text} (${cell.quartiles})`;
}
