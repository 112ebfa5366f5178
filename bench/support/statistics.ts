/** What rounds are summed up with. Quotients of rounds are robust where times are not. */

export type Spread = {
  readonly median: number;
  /** First and third quartile. */
  readonly q1: number;
  readonly q3: number;
  readonly count: number;
};

/**
 * A quantile by linear interpolation between neighbours (Hyndman and Fan, type 7).
 *
 * @param sorted ascending
 * @param at from 0 to 1
 * @returns NaN when there are no values
 */
export function quantile(sorted: ArrayLike<number>, at: number): number {
  const position = (sorted.length - 1) * at;
  const below = Math.floor(position);
  const low = sorted[below] ?? Number.NaN;
  const high = sorted[Math.ceil(position)] ?? Number.NaN;
  // A value that is hit is the quantile as it stands: -0 + 0 would be 0.
  return position === below ? low : low + (high - low) * (position - below);
}

/** Median and quartiles; NaN without values. */
export function spreadOf(values: Iterable<number>): Spread {
  const sorted = Float64Array.from(values).toSorted();
  return {
    median: quantile(sorted, 0.5),
    q1: quantile(sorted, 0.25),
    q3: quantile(sorted, 0.75),
    count: sorted.length,
  };
}

/** The quotients of rounds that belong together: round by round, since noise of a round hits both sides. */
export const ratios = (above: readonly number[], below: readonly number[]): number[] =>
  above.slice(0, below.length).map((value, round) => value / (below[round] as number));

/**
 * The slope of the line that fits best (least squares): y units per x unit.
 *
 * @returns NaN for fewer than two different x
 */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (axis: 0 | 1): number => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  let covariance = 0;
  let variance = 0;
  for (const [x, y] of points) {
    covariance += (x - meanX) * (y - meanY);
    variance += (x - meanX) ** 2;
  }
  return variance === 0 ? Number.NaN : covariance / variance;
}

/** The order of the sides in a round: reversed every other round, so that drift favours neither. */
export const inOrder = <T>(sides: readonly T[], round: number): readonly T[] =>
  round % 2 === 0 ? sides : sides.toReversed();

/** Whether the last value is no longer well above the best before it: warming up is over. */
export function hasSettled(values: readonly number[], rise = 1.03): boolean {
  const last = values.at(-1);
  if (last === undefined || values.length < 2) return false;
  return last < Math.max(...values.slice(0, -1)) * rise;
}
