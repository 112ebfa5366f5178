import type { RestoreTier } from '../../src/runtime/slot-memory.ts';
import type { Way } from '../report/format.ts';

/** How an app is initialised at request time. Paths of files. */
export type InitSpec = {
  /** The component before its initialisation. */
  readonly component: string;
  /** The export that does it. */
  readonly func: string;
  /** What an engine reads while it initialises; null for a module that reads nothing. */
  readonly engine: { readonly inputs: string; readonly app: string } | null;
};

/** What startup-child.ts is to do, as JSON in its argument: one way of one app, in one round. */
export type ChildSpec = {
  readonly way: Way;
  /** Directory of the store, and names in it. */
  readonly store: string;
  readonly snapshot: string;
  /** Another snapshot of the same code; null where there is none. */
  readonly other: string | null;
  /** The file that the snapshot was frozen from. */
  readonly component: string;
  /** Null where the app cannot be had uninitialised. */
  readonly init: InitSpec | null;
  readonly path: string;
  readonly tier: RestoreTier;
  /** Starts before the first that counts. */
  readonly warmUp: number;
  readonly starts: number;
};

/** What it prints, as JSON. Microseconds, one for each start. */
export type ChildResult = {
  readonly total: readonly number[];
  readonly phase: Readonly<Record<string, readonly number[]>>;
  /** Means over the starts. */
  readonly pagesWritten: number | null;
  readonly pageFaults: number;
};
