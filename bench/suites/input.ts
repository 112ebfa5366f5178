import type { BenchStore } from '../support/snapshots.ts';

/** What every suite of `thaw bench` is given. */
export type SuiteInput = {
  /** Fewer rounds and shorter ones: all suites together within three minutes on two cores. */
  readonly quick: boolean;
  /**
   * Shared by the suites, so that no app is built twice. Its directory is gone when the command ends, however it ends: a
   * signal ends the process by `process.exit`, so what must be cleaned up or stopped does it on `exit`,.
   */
  readonly snapshots: BenchStore;
  /** Tells on stderr what is done just now: `throughput: jco serve, round 2 of 5`. Not in the report. */
  readonly progress: (text: string) => void;
  /** Adds to the report's notes: what was skipped and why, what a reader of the numbers must know. */
  readonly note: (text: string) => void;
};

/** Which servers thaw is held against: those that are found, none, or those named, where a missing one is an error. */
export type PeerChoice = 'auto' | 'none' | readonly string[];
