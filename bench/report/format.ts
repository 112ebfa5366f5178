/**
 * What a report of `thaw bench` holds: every raw round, and what a reader needs to judge it. The page, the tables and the
 * README's section are computed from it by bench/report/figures.ts, and by nothing else.
 *
 * Times are in microseconds unless the name says otherwise, rounded to a tenth; memory is in bytes.
 */

import type { Machine } from '../support/machine.ts';

/** Counted up whenever an older reader would misread a report. */
export const REPORT_FORMAT = 1;

export type BenchReport = {
  readonly format: typeof REPORT_FORMAT;
  /** ISO 8601, of the begin. */
  readonly begun: string;
  readonly seconds: number;
  /** As it was typed. */
  readonly command: string;
  readonly isQuick: boolean;
  readonly thaw: string;
  readonly machine: Machine & { readonly restoreTier: string; readonly pageBytes: number };
  /** Load averages over 1, 5 and 15 minutes. */
  readonly load: { readonly before: readonly number[]; readonly after: readonly number[] };
  readonly startup: StartupSuite | null;
  readonly throughput: ThroughputSuite | null;
  readonly density: DensitySuite | null;
  /** What a reader of the numbers must know: what was skipped and why, what was busy. */
  readonly notes: readonly string[];
};

/** How something that was tried ended. What did not run is shown with its reason, never dropped. */
export type Outcome =
  | { readonly kind: 'ran' }
  | { readonly kind: 'skipped'; readonly reason: string }
  | { readonly kind: 'failed'; readonly message: string };

/**
 * The ways of starting one app for one request, from the dearest:
 * - `initialise`: no snapshot. The engine is instantiated, its start-up and the app's top level run, then the request.
 * - `wizer`: Wizer's snapshot as any runtime has it: a new memory filled from data segments, new instances, the request.
 * - `mapped`: the same, with the memory's content mapped copy-on-write.
 * - `instantiate`, `switch`, `hot`: what thaw does; see START_KINDS in src/metrics/phases.ts.
 */
export const WAYS = ['initialise', 'wizer', 'mapped', 'instantiate', 'switch', 'hot'] as const;
export type Way = (typeof WAYS)[number];

/**
 * The phases of a start, in the order in which they happen. `restore` is after the response head and no part of a start's
 * time; those before it add up to little less than `total`.
 */
export const START_PHASES = {
  memory: 'new memories; with a mapped image, the mapping too',
  instantiate: 'new instances; data segments are copied; in thaw, a whole new slot',
  initialise: "the start-up of the engine, or of a core module; an engine's includes the bindings of its world",
  'top level': "the app's source, packages included, is read and compiled, and its top level runs",
  switch: 'a slot of another app is turned to this one',
  guest: 'from calling the guest until its response head',
  restore: 'after the response: the slot is brought back to the snapshot',
} as const;
export type StartPhase = keyof typeof START_PHASES;

export type StartupSuite = {
  /** The app that the headline is about: the first, or the one that the user named. */
  readonly apps: readonly StartupApp[];
};

export type StartupApp = {
  readonly name: string;
  /** One sentence: what it is, and what its top level does. */
  readonly about: string;
  /** Of its snapshot. `delta` is what the app adds to what it shares with others of its engine. */
  readonly snapshot: {
    readonly codeBytes: number;
    readonly imageBytes: number;
    readonly deltaPages: number;
    readonly deltaBytes: number;
  };
  readonly ways: readonly StartupWay[];
  /** What its author could change, most worthwhile first: "a request writes 3,000 pages, …". */
  readonly advice: readonly string[];
};

export type StartupWay = {
  readonly way: Way;
  readonly outcome: Outcome;
  /** `process`: every round has a process of its own. `start`: every start has. */
  readonly freshness: 'process' | 'start';
  /** Starts before the first that counts, in each process. */
  readonly warmUp: number;
  /** In the order in which they happen: some of START_PHASES. */
  readonly phases: readonly string[];
  readonly rounds: readonly StartupRound[];
  /**
   * 4 KiB pages that are the memory's own when the guest has returned, and no mapped file: written by the start or by the
   * request; for `hot` and `switch`, by any request before in the same slot. Mean over the starts that count. Null where
   * it cannot be told.
   */
  readonly pagesWritten: number | null;
  /** Minor faults of the process, a mean likewise. */
  readonly pageFaults: number | null;
};

export type StartupRound = {
  /** From 0. All ways of all apps take their turn in a round; every other round goes backwards. */
  readonly round: number;
  /** One number for each start: until the response head. */
  readonly total: readonly number[];
  /** The same starts, phase by phase. What happens after the response (restore) is here, and not in `total`. */
  readonly phase: Readonly<Record<string, readonly number[]>>;
};

export type ThroughputSuite = {
  /** What every server runs. */
  readonly app: string;
  /** Where servers and load generator ran: `cores 0 and 1`, or `not pinned: one core`. */
  readonly pinning: string;
  /** Requests per second of the open loop, and connections of the closed one. */
  readonly rate: number;
  readonly connections: number;
  readonly servers: readonly ServerRun[];
};

export type ServerRun = {
  /** `thaw`, `jco serve --isolate-requests instance`, `workerd`, … */
  readonly name: string;
  readonly version: string | null;
  /** As it could be typed, without paths of this machine. */
  readonly command: string;
  readonly outcome: Outcome;
  /** What one request can see of another: `nothing: fresh state for every request`, `all: one isolate serves them all`. */
  readonly shares: string;
  readonly isFresh: boolean;
  /** From the start of the process until the end of its first answer, in milliseconds, one for each process. */
  readonly firstAnswerMs: readonly number[];
  readonly open: readonly OpenRound[];
  readonly closed: readonly ClosedRound[];
  /** Resident memory after load, one for each process. */
  readonly residentBytes: readonly number[];
};

/** Requests at a fixed rate. Latency counts from when a request was due, so that a server that stalls cannot hide it. */
export type OpenRound = {
  readonly round: number;
  readonly sent: number;
  /** Not sent, since too many were under way. */
  readonly dropped: number;
  readonly failed: number;
  readonly latency: readonly number[];
};

/** As many requests as the server can take. */
export type ClosedRound = {
  readonly round: number;
  readonly tool: 'wrk' | 'own';
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
  /** CPU time of the server for each request. */
  readonly cpu: number;
};

export type DensitySuite = {
  readonly slots: number;
  /** Distinct apps, and how their snapshots were made. */
  readonly about: string;
  readonly steps: readonly DensityStep[];
};

export type DensityStep = {
  readonly routes: number;
  readonly outcome: Outcome;
  readonly readyMs: number;
  readonly residentBytes: { readonly ready: number; readonly allRequested: number };
  /** Disk that one more app takes. */
  readonly diskBytesPerApp: number;
  readonly failed: number;
  /** Latency of requests to routes by chance, and to one route again and again, alternating. */
  readonly random: readonly (readonly number[])[];
  readonly hot: readonly (readonly number[])[];
};
