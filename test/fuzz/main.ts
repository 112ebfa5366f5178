/** `npm run fuzz -- [--seed n] [--count n] [--first n]`: as the test does, for as long as one likes. */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fuzz } from './run.ts';

const DEFAULT_COUNT = 1_000_000;

const { values } = parseArgs({
  options: { seed: { type: 'string' }, count: { type: 'string' }, first: { type: 'string' } },
});
const seed = Number(values.seed ?? randomInt(2 ** 31));
const first = Number(values.first ?? 0);
const end = first + Number(values.count ?? DEFAULT_COUNT);

console.log(`items ${first} to ${end} of seed ${seed}`);
const begun = performance.now();
const { outcomes, worstMs } = await fuzz({ seed, first, end });
for (const [target, counts] of Object.entries(outcomes)) console.log(target, counts);
console.log(`${Math.round((performance.now() - begun) / 1000)} s, the slowest item ${Math.round(worstMs)} ms`);
