/**
 * One way of starting one app, in a process of its own: so many starts to warm up, then those that count. Argument: a
 * {@link ChildSpec} as JSON. Prints a {@link ChildResult} as JSON.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Way } from '../report/format.ts';
import { initialiseWay, mappedWay, wizerWay } from './bare-ways.ts';
import { hotWay, instantiateWay, switchWay } from './slot-ways.ts';
import type { ChildResult, ChildSpec } from './startup-spec.ts';
import type { Start } from './startup-start.ts';

const WAY_STARTERS: Readonly<Record<Way, (spec: ChildSpec) => Promise<Start>>> = {
  initialise: initialiseWay,
  wizer: wizerWay,
  mapped: mappedWay,
  instantiate: instantiateWay,
  switch: switchWay,
  hot: hotWay,
};

/** Those of the whole process: collections and compilations that a start causes are part of it. */
const faults = (): number => process.resourceUsage().minorPageFault;

async function run(spec: ChildSpec): Promise<ChildResult> {
  const start = await WAY_STARTERS[spec.way](spec);
  const total: number[] = [];
  const phase: Record<string, number[]> = {};
  let pages: number | null = 0;
  let pageFaults = 0;
  for (let index = -spec.warmUp; index < spec.starts; index++) {
    // As between requests that arrive one after the other: what V8 has put off gets its turn.
    await nextTurn();
    const before = faults();
    const { laps, pagesWritten } = await start();
    if (index < 0) continue;
    pageFaults += faults() - before;
    pages = pages === null || pagesWritten === null ? null : pages + pagesWritten;
    total.push(laps.total);
    for (const [name, micros] of Object.entries(laps.phase)) (phase[name] ??= []).push(micros);
  }
  const { starts } = spec;
  return { total, phase, pagesWritten: pages === null ? null : pages / starts, pageFaults: pageFaults / starts };
}

process.stdout.write(JSON.stringify(await run(JSON.parse(process.argv[2] ?? '') as ChildSpec)));
