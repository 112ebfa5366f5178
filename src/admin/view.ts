import type { StartupHistograms } from '../metrics/histograms.ts';
import type { StartKind } from '../metrics/phases.ts';
import type { RouteCounter } from '../metrics/route-counters.ts';

/**
 * One thing that must hold. `live`: without it the process is beyond help and should be restarted. `ready`: without it
 * the node should get no traffic. A live check counts for readiness too.
 */
export type HealthCheck = {
  /** One word, as in `[+]pool ok`. */
  readonly name: string;
  readonly gate: 'live' | 'ready';
  /** Why it does not hold, in one line, or null when it does. */
  readonly failure: string | null;
};

export type Health = {
  /** From the first moment of a drain, so that balancers look elsewhere before the listener closes. */
  readonly draining: boolean;
  readonly checks: readonly HealthCheck[];
};

/** One route as `GET /routes` shows it. */
export type RouteRow = {
  readonly id: string;
  /** Null: any host. */
  readonly host: string | null;
  readonly path: string;
  /** Null: any method. */
  readonly methods: readonly string[] | null;
  /** `name` is null when the config names the snapshot by its digest. */
  readonly snapshot: { readonly name: string | null; readonly digest: string };
  /** The limits in force, by config key with its unit: `wallMs`, `requestBodyBytes`, `concurrency`. Null: none. */
  readonly limits: Readonly<Record<string, number | null>>;
  readonly starts: Readonly<Record<StartKind, number>>;
  /** How often its limits have had an effect: see RouteCounters. */
  readonly limited: Readonly<Record<RouteCounter, number>>;
  /** Slots that hold this route's snapshot now: serving a request, and clean. */
  readonly slots: { readonly busy: number; readonly clean: number };
};

/** What the admin listener may see of the node. The node implements it; nothing here can change the node. */
export interface AdminView {
  health(): Health | Promise<Health>;
  routes(): readonly RouteRow[] | Promise<readonly RouteRow[]>;
  /** All threads' starts together. */
  startup(): StartupHistograms | Promise<StartupHistograms>;
}
