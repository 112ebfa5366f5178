import type { Logger } from 'pino';
import type { EdgeConfig } from '../config/schema.ts';
import { ERRORS, ThawError, messageOf, type ErrorCode } from '../errors.ts';
import type { StartupHistograms } from '../metrics/histograms.ts';
import type { ControlLink } from '../runtime/control-memory.ts';
import type { RestoreTier } from '../runtime/slot-memory.ts';
import type { ObjectRef } from '../snapshot/manifest.ts';
import type { Digest } from '../wasm/plan.ts';

/** What the control thread and the serving threads say to each other. */

/** The state of one serving thread, for the admin listener. */
export type PlaneReport = {
  readonly starts: ReturnType<StartupHistograms['toRecording']>;
  readonly slots: { readonly total: number; readonly idle: number; readonly waiting: number };
  /** Clean slots by snapshot; snapshots without any are left out. */
  readonly clean: ReadonlyMap<Digest, number>;
};

/** A thread that serves, here or elsewhere. */
export interface Plane {
  /** Opens the data listener. @returns its address as a URL, with the real port @throws ThawError LISTEN_FAILED */
  listen(port: number): Promise<string>;
  report(): Promise<PlaneReport>;
  /** Takes no more requests and waits for those in work. @returns how many were cut off */
  drain(): Promise<number>;
}

/** What a serving thread is made from. All of it can be posted. */
export type PlaneInput = {
  readonly config: EdgeConfig;
  /** Of the snapshots, by the names that routes use. */
  readonly digests: ReadonlyMap<string, Digest>;
  /** How many threads share the config's pool. */
  readonly threads: number;
  readonly restoreTier: RestoreTier;
  /** Requests in work by route, all threads together: an Int32Array, index as in the config. The last is for all routes. */
  readonly inFlight: SharedArrayBuffer;
  /** All threads together; see RouteCounters. */
  readonly counters: SharedArrayBuffer;
  /** Open connections, all threads together; see ConnectionCounts. */
  readonly connections: SharedArrayBuffer;
  /** What the thread shares with the watchdog. */
  readonly control: ControlLink;
};

/** Compiles a code object, or has it compiled. */
export type Compile = (code: ObjectRef, role: string) => Promise<WebAssembly.Module>;

export type PlaneEnvironment = PlaneInput & { readonly log: Logger; readonly compile: Compile };

export type ToWorker =
  | { readonly kind: 'listen'; readonly call: number; readonly port: number }
  | { readonly kind: 'report' | 'drain'; readonly call: number }
  | { readonly kind: 'compiled'; readonly digest: Digest; readonly outcome: Outcome<WebAssembly.Module> };

export type FromWorker =
  | { readonly kind: 'answer'; readonly call: number; readonly outcome: Outcome<unknown> }
  | { readonly kind: 'compile'; readonly code: ObjectRef; readonly role: string };

/** An error of thaw's keeps its code on the way between threads. */
export type Outcome<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly message: string };

export async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { kind: 'value', value: await work };
  } catch (error) {
    const code = error instanceof ThawError && error.code in ERRORS ? error.code : 'INTERNAL';
    return { kind: 'error', code, message: messageOf(error) };
  }
}

export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'error') throw new ThawError(outcome.code, outcome.message);
  return outcome.value;
}
