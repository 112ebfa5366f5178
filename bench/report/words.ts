/** What things are called where people read them, and what the words mean. */

import { START_PHASES, type StartPhase, type StartupWay, type Way } from './format.ts';

type Word = { readonly name: string; readonly about: string };

/** `short` stands beside a number. */
type WayWord = Word & { readonly short: string };

export const WAY_WORDS: Readonly<Record<Way, WayWord>> = {
  initialise: {
    name: 'no snapshot',
    short: 'engine and app start anew',
    about: 'a new instance of the engine; its start-up and the top level of the app run, then the request',
  },
  wizer: {
    name: 'Wizer',
    short: 'snapshot copied into new memory',
    about: "Wizer's snapshot as any runtime has it: a new memory filled from data segments, new instances, the request",
  },
  mapped: {
    name: 'Wizer, mapped',
    short: 'snapshot mapped into new memory',
    about:
      "Wizer's snapshot, the content of the memory mapped copy-on-write instead of copied; new instances, the request",
  },
  instantiate: {
    name: 'thaw instantiate',
    short: 'a new slot',
    about: 'a new slot: the image mapped, code without data segments, new instances, the request',
  },
  switch: {
    name: 'thaw switch',
    short: "another app's slot is turned to this one",
    about: 'a slot that held another app of the same code is turned to this one, then the request',
  },
  hot: {
    name: 'thaw hot',
    short: 'a clean slot of this app is waiting',
    about: 'a clean slot of this app is waiting: it was restored after the response before',
  },
};

export const FRESHNESS_WORDS: Readonly<Record<StartupWay['freshness'], string>> = {
  process: 'new process each round',
  start: 'new process each start',
};

/** Said of phases that no request waits for. */
export const AFTER = 'after the response';

/** The phases as the format has them, in the order in which they happen. */
export const PHASE_NAMES: readonly string[] = Object.keys(START_PHASES);

/** For sorting. Phases of another version of thaw come last, and keep the order of their ways. */
export function phaseRank(name: string): number {
  const rank = PHASE_NAMES.indexOf(name);
  return rank === -1 ? PHASE_NAMES.length : rank;
}

/** What happens in a phase, or undefined for a phase of another version. */
export const phaseAbout = (name: string): string | undefined =>
  Object.hasOwn(START_PHASES, name) ? START_PHASES[name as StartPhase] : undefined;

/** What a reader must know before quoting a number. Those of the run itself are the report's notes. */
export const CAVEATS: readonly string[] = [
  'Times are of this machine, at this load. Quote ratios, with their quartiles, and not times.',
  'All ways of all apps take their turn in each round, and every other round goes backwards, so that drift favours none.',
  'A start is measured inside the process, from the request to the response head. What a client sees is in the part about servers: it has the network stack and the load generator in it, too.',
  'Open-loop latency counts from when a request was due, not from when it could be sent: a server that stalls cannot hide it. Requests that could not be sent are counted as dropped.',
  'Servers that share state between requests do less than those that do not: such a row is no measure of what a fresh start costs.',
  'Percentiles are over all rounds together; the maximum is one single event, often one of the machine and not of the program.',
];
