import { availableParallelism } from 'node:os';
import type { Logger } from 'pino';
import { createAdminServer, type AdminServer } from './admin/server.ts';
import type { AdminView, Health, HealthCheck, RouteRow } from './admin/view.ts';
import type { EdgeConfig } from './config/schema.ts';
import { invariant } from './errors.ts';
import { createConnectionMemory } from './http/connections.ts';
import { StartupHistograms } from './metrics/histograms.ts';
import { RouteCounters, createRouteCounterMemory } from './metrics/route-counters.ts';
import { CodeCache, compileFrom } from './runtime/code.ts';
import { handlerOf } from './runtime/snapshot.ts';
import { chooseTier } from './runtime/restore-tier.ts';
import type { RestoreTier } from './runtime/slot-memory.ts';
import { Watchdog } from './runtime/watchdog.ts';
import { isDigest } from './snapshot/digest.ts';
import { SnapshotStore } from './snapshot/store.ts';
import { DataPlane } from './threads/data-plane.ts';
import { expectFreePort } from './threads/listen.ts';
import type { Plane, PlaneInput, PlaneReport } from './threads/protocol.ts';
import { RemotePlane } from './threads/remote-plane.ts';
import type { Digest, LinkPlan } from './wasm/plan.ts';

export type NodeOptions = {
  readonly config: EdgeConfig;
  /** What the names in the config's routes stand for, each of them checked. The plans may be shared. */
  readonly snapshots: ReadonlyMap<string, { readonly digest: Digest; readonly plan: LinkPlan }>;
  readonly log: Logger;
  /** Undefined: the best that the machine has. */
  readonly restoreTier?: RestoreTier | undefined;
};

/**
 * One node: the control thread with the admin listener, and one data plane per serving thread. With `threads: 1` the
 * control thread serves, too.
 */
export class EdgeNode implements AdminView {
  readonly #config: EdgeConfig;
  readonly #log: Logger;
  readonly #store: SnapshotStore;
  /** Of the snapshots, by the names that routes use. */
  readonly #digests: ReadonlyMap<string, Digest>;
  readonly #inFlight: Int32Array;
  readonly #counters: RouteCounters;
  readonly #planes: readonly Plane[];
  readonly #watchdog: Watchdog;
  #admin: AdminServer | null = null;
  #draining = false;
  /** Taken at the end: threads that are gone cannot be asked. */
  #lastStarts: StartupHistograms | null = null;

  /** Nothing listens yet. @throws ThawError STORE_NOT_FOUND, WRONG_WORLD, USAGE */
  constructor({ config, snapshots, log, restoreTier }: NodeOptions) {
    this.#config = config;
    this.#log = log;
    this.#store = SnapshotStore.open(config.store, { create: false });
    for (const plan of new Set(Array.from(snapshots.values(), ({ plan }) => plan))) handlerOf(plan);
    this.#digests = new Map(Array.from(snapshots, ([name, { digest }]) => [name, digest]));
    const inFlight = new SharedArrayBuffer((config.routes.length + 1) * Int32Array.BYTES_PER_ELEMENT);
    this.#inFlight = new Int32Array(inFlight);
    const counters = createRouteCounterMemory(config.routes.length);
    this.#counters = new RouteCounters(counters);
    const connections = createConnectionMemory();
    const threads = config.threads === 'auto' ? availableParallelism() : config.threads;
    this.#watchdog = new Watchdog(threads);
    const digests = this.#digests;
    const input = { config, digests, threads, restoreTier: chooseTier(restoreTier), inFlight, counters, connections };
    const inputs = this.#watchdog.links.map((control): PlaneInput => ({ ...input, control }));
    this.#planes = createPlanes(inputs, this.#store, log);
  }

  /**
   * Opens all listeners.
   * @returns their addresses as URLs, with the real ports
   * @throws ThawError LISTEN_FAILED
   */
  async listen(): Promise<{ readonly url: string; readonly adminUrl: string }> {
    const { listen, admin } = this.#config;
    let { port } = listen;
    let url = '';
    if (this.#planes.length > 1 && port !== 0) await expectFreePort(listen.host, port);
    for (const plane of this.#planes) {
      url = await plane.listen(port);
      port = Number(new URL(url).port);
    }
    this.#admin = await createAdminServer({
      node: this,
      listen: { host: admin.host, port: admin.port },
      onError: (error, target) => this.#log.error({ err: error, target }, 'an admin request failed'),
    });
    return { url, adminUrl: this.#admin.url };
  }

  /**
   * Takes no more requests, waits for those in work up to the config's drain time, and lets everything go.
   * @returns how many requests were cut off
   */
  async close(): Promise<number> {
    this.#draining = true;
    const cutOff = await Promise.all(this.#planes.map((plane) => plane.drain()));
    this.#lastStarts = await this.startup();
    await this.#watchdog.stop();
    await this.#admin?.close();
    this.#store.close();
    return cutOff.reduce((sum, count) => sum + count, 0);
  }

  async health(): Promise<Health> {
    const threads = this.#planes.flatMap((plane, index): HealthCheck[] => {
      const failure = plane instanceof RemotePlane ? plane.failure : null;
      return [{ name: `thread${index}`, gate: 'live', failure }];
    });
    // Without it a guest that loops would keep its thread for good.
    const watchdog: HealthCheck = { name: 'watchdog', gate: 'live', failure: this.#watchdog.failure };
    return { draining: this.#draining, checks: [...threads, watchdog, poolCheck(await this.#reports())] };
  }

  async routes(): Promise<readonly RouteRow[]> {
    const reports = await this.#reports();
    const starts = mergeStarts(reports);
    return this.#config.routes.map((route, index) => {
      const digest = this.#digests.get(route.snapshot);
      invariant(digest !== undefined, `the snapshot of route ${route.id} was found`);
      const clean = reports.reduce((sum, report) => sum + (report.clean.get(digest) ?? 0), 0);
      return {
        id: route.id,
        host: route.host,
        path: route.route,
        methods: route.methods,
        snapshot: { name: isDigest(route.snapshot) ? null : route.snapshot, digest },
        limits: route.limits,
        starts: starts.startsOf(route.id),
        limited: this.#counters.of(index),
        slots: { busy: Atomics.load(this.#inFlight, index), clean },
      };
    });
  }

  async startup(): Promise<StartupHistograms> {
    return this.#lastStarts ?? mergeStarts(await this.#reports());
  }

  /** Of the threads that are alive. */
  async #reports(): Promise<readonly PlaneReport[]> {
    const alive = this.#planes.filter((plane) => !(plane instanceof RemotePlane) || plane.failure === null);
    return Promise.all(alive.map((plane) => plane.report()));
  }
}

function createPlanes(inputs: readonly PlaneInput[], store: SnapshotStore, log: Logger): Plane[] {
  const code = new CodeCache(compileFrom(store));
  const compile: CodeCache['module'] = (ref, role) => code.module(ref, role);
  const [only] = inputs;
  if (only !== undefined && inputs.length === 1) return [new DataPlane({ ...only, log, compile })];
  return inputs.map((input) => new RemotePlane(input, compile));
}

function mergeStarts(reports: readonly PlaneReport[]): StartupHistograms {
  const all = new StartupHistograms();
  for (const { starts } of reports) all.merge(starts);
  return all;
}

function poolCheck(reports: readonly PlaneReport[]): HealthCheck {
  const waiting = reports.reduce((sum, { slots }) => sum + slots.waiting, 0);
  const total = reports.reduce((sum, { slots }) => sum + slots.total, 0);
  const failure = waiting > 0 ? `${waiting} requests wait for one of ${total} slots` : null;
  return { name: 'pool', gate: 'ready', failure };
}
