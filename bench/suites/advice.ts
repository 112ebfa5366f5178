import type { StartupApp, StartupWay, Way } from '../report/format.ts';
import { spreadOf } from '../support/statistics.ts';

/** What the smallest app of the same engine does on the same machine. */
export type Reference = {
  /** Pages that one request writes, counted in a new slot. */
  readonly pagesWritten: number | null;
  /** Median of its hot starts, in microseconds. */
  readonly hotMicros: number;
};

export type AdviceInput = {
  readonly ways: readonly StartupWay[];
  readonly snapshot: StartupApp['snapshot'];
  /** Why it cannot be restored in place; empty when it can. */
  readonly reasons: readonly string[];
  /** Of the app's source with its packages; null where there is none. */
  readonly sourceBytes: number | null;
  /** Null for the smallest app itself, and where no app has its engine. */
  readonly reference: Reference | null;
};

/** One piece of advice. `worth`: microseconds of a start that it is about. */
type Finding = { readonly worth: number; readonly text: string };

/**
 * What the author of an app could change, most worthwhile first, and where the time of its starts goes. Says nothing that
 * the measurements do not show; what commonly causes it is said to be just that.
 */
export function adviceFor(input: AdviceInput): string[] {
  const findings = [fresh, handler, pages, delta, faults, saved].flatMap((find) => find(input) ?? []);
  return findings.toSorted((a, b) => b.worth - a.worth).map(({ text }) => text);
}

const wayOf = ({ ways }: AdviceInput, name: Way): StartupWay | undefined =>
  ways.find(({ way, outcome, rounds }) => way === name && outcome.kind === 'ran' && rounds.length > 0);

/** Median over all starts, in microseconds; NaN when the way did not run. */
const totalOf = (input: AdviceInput, name: Way): number =>
  spreadOf(wayOf(input, name)?.rounds.flatMap(({ total }) => total) ?? []).median;

const phaseOf = (input: AdviceInput, name: Way, phase: string): number =>
  spreadOf(wayOf(input, name)?.rounds.flatMap((round) => round.phase[phase] ?? []) ?? []).median;

/** A new instance for every request costs more than all else. */
function fresh(input: AdviceInput): Finding | null {
  if (input.reasons.length === 0) return null;
  const cost = totalOf(input, 'instantiate');
  const why = input.reasons.join('; ');
  const taken = Number.isNaN(cost) ? '' : ` A start in a new slot takes ${time(cost)}.`;
  const text = `Every request needs a new instance, as the app cannot be restored in place: ${why}.${taken} docs/guests.md says what can be restored.`;
  return { worth: Number.POSITIVE_INFINITY, text };
}

/** So many times the smallest app's time make a handler worth a look; less is what routers and headers take. */
const SLOW_HANDLER = 3;

/** Work in the handler. */
function handler(input: AdviceInput): Finding | null {
  const [guest, total] = [phaseOf(input, 'hot', 'guest'), totalOf(input, 'hot')];
  const reference = input.reference?.hotMicros ?? Number.NaN;
  if (!(guest > reference * SLOW_HANDLER)) return null;
  const text =
    `The handler takes ${time(guest)} of the ${time(total)} of a hot start, ${times(guest / reference)} as long as the smallest app's. ` +
    'Whatever in it is the same for every request (tables, parsed data, compiled expressions, routers) can be made at the top level: then it is in the snapshot.';
  return { worth: guest - reference, text };
}

/** So many times the smallest app's pages, and so many more, are worth a word: 256 KiB. */
const MANY_TIMES = 2;
const MANY_PAGES = 64;

/** Memory that a request writes: each page is faulted in once a slot, and copied back after each response. */
function pages(input: AdviceInput): Finding | null {
  const written = (wayOf(input, 'instantiate') ?? wayOf(input, 'hot'))?.pagesWritten ?? null;
  const least = input.reference?.pagesWritten ?? 0;
  if (input.reasons.length > 0 || written === null) return null;
  if (written < least * MANY_TIMES || written < least + MANY_PAGES) return null;
  // The smallest app of an engine has nothing to be compared with, and nothing that could be left out.
  if (input.reference === null && input.sourceBytes !== null) return null;
  const restore = phaseOf(input, 'hot', 'restore');
  if (Number.isNaN(restore)) return null;
  const compared = least === 0 ? '' : `, where the smallest app writes ${count(least)}`;
  const causes =
    input.sourceBytes === null
      ? 'buffers that are filled, an allocator that spreads, tables that change'
      : 'large arrays, strings and JSON made for one request, buffers that are filled, tables at the top level that change, and the collector of the engine, which writes to the heap that it goes through';
  const text =
    `A request writes ${count(written)} pages of 4 KiB${compared}. They are copied back after each response, which takes ${time(restore)}. ` +
    `Common causes: ${causes}.`;
  return { worth: restore, text };
}

/** A switch copies the app's own pages: so many of them, 1 MiB, and half of its time, make it worth a word. */
const LARGE_DELTA = 256;

function delta(input: AdviceInput): Finding | null {
  const { deltaPages, deltaBytes } = input.snapshot;
  const [turning, total] = [phaseOf(input, 'switch', 'switch'), totalOf(input, 'switch')];
  if (deltaPages < LARGE_DELTA || !(turning > total / 2)) return null;
  const text =
    `The app adds ${count(deltaPages)} pages (${mebibytes(deltaBytes)}) to its engine's, and a slot that had another app copies them: ${time(turning)} of the ${time(total)} of such a start. ` +
    'What the top level leaves behind is all kept: drop what only building needed, and keep large tables as typed arrays or one string.';
  return { worth: turning, text };
}

/** A warm slot has no page faults but those of the process around it. */
const MANY_FAULTS = 32;

function faults(input: AdviceInput): Finding | null {
  const found = wayOf(input, 'hot')?.pageFaults ?? null;
  if (found === null || found < MANY_FAULTS || input.reasons.length > 0) return null;
  const text =
    `A hot start has ${count(found)} page faults: requests write to memory that those before them did not. ` +
    'Commonly they need different amounts of it, or grow it.';
  // Between 0.2 and 3 µs each; a guess at the lower end does not put this before what is measured.
  return { worth: found * 0.2, text };
}

/** Not advice, but what the author has by having a top level: the last word. */
function saved(input: AdviceInput): Finding | null {
  const [all, hot] = [totalOf(input, 'initialise'), totalOf(input, 'hot')];
  const [initialise, topLevel] = [
    phaseOf(input, 'initialise', 'initialise'),
    phaseOf(input, 'initialise', 'top level'),
  ];
  if ([all, hot, initialise].some(Number.isNaN)) return null;
  const parts = Number.isNaN(topLevel)
    ? `${time(initialise)} for its initialisation`
    : `${time(initialise)} for the engine and its bindings, ${time(topLevel)} for the app's source${sourceText(input)} and its top level`;
  const text = `Without a snapshot a start takes ${time(all)}: ${parts}. The snapshot has all of that in it.`;
  return { worth: 0, text };
}

const sourceText = ({ sourceBytes }: AdviceInput): string =>
  sourceBytes === null ? '' : ` (${Math.ceil(sourceBytes / 1000)} KB)`;

/** Of a positive number, to three digits. */
const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3))));
const time = (micros: number): string => (micros < 1000 ? `${digits(micros)} µs` : `${digits(micros / 1000)} ms`);
const times = (ratio: number): string => `${digits(ratio)} times`;
const count = (value: number): string => Math.round(value).toLocaleString('en-US');
const mebibytes = (bytes: number): string => `${digits(bytes / 2 ** 20)} MiB`;
