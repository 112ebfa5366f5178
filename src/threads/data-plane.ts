import { invariant } from '../errors.ts';
import { ConnectionCounts } from '../http/connections.ts';
import { Front } from '../http/front.ts';
import { StartupHistograms } from '../metrics/histograms.ts';
import { RouteCounters } from '../metrics/route-counters.ts';
import { CodeCache } from '../runtime/code.ts';
import { ControlMemory } from '../runtime/control-memory.ts';
import { MemoryPool } from '../runtime/memory-pool.ts';
import { SlotPool } from '../runtime/pool.ts';
import { createRestorer } from '../runtime/restore-tier.ts';
import { SnapshotLoader } from '../runtime/snapshot.ts';
import { SnapshotStore } from '../snapshot/store.ts';
import type { Digest } from '../wasm/plan.ts';
import { createHost } from '../wasi/index.ts';
import { listenOn } from './listen.ts';
import type { Plane, PlaneEnvironment, PlaneReport } from './protocol.ts';

/** One serving thread: listener, router, pool, host. Shares with the others code, counters, and the port. */
export class DataPlane implements Plane {
  readonly #environment: PlaneEnvironment;
  readonly #store: SnapshotStore;
  readonly #pool: SlotPool;
  readonly #histograms = new StartupHistograms();
  readonly #front: Front;
  readonly #digests: ReadonlySet<Digest>;

  /** Nothing listens yet. @throws ThawError STORE_NOT_FOUND */
  constructor(environment: PlaneEnvironment) {
    const { config, digests, threads, restoreTier, inFlight, counters, connections, control, log, compile } =
      environment;
    this.#environment = environment;
    this.#store = SnapshotStore.open(config.store, { create: false });
    const slotEnvironment = {
      host: createHost(),
      control: new ControlMemory(control),
      memories: new MemoryPool(createRestorer(restoreTier), threads),
    };
    const loader = new SnapshotLoader(this.#store);
    this.#digests = new Set(digests.values());
    const share = {
      slots: Math.ceil(config.pool.slots / threads),
      memoryBytes: Math.ceil(config.pool.memoryBytes / threads),
      isShared: this.#digests.size > 1,
    };
    this.#pool = new SlotPool(share, slotEnvironment, new CodeCache(compile));
    this.#front = new Front({
      config,
      pool: this.#pool,
      histograms: this.#histograms,
      log,
      inFlight: new Int32Array(inFlight),
      counters: new RouteCounters(counters),
      connections: new ConnectionCounts(connections, config.limits),
      threads,
      slots: share.slots,
      snapshotOf: ({ id, snapshot }) => {
        const digest = digests.get(snapshot);
        invariant(digest !== undefined, `the snapshot of route ${id} was found`);
        return loader.load(digest);
      },
    });
  }

  listen(port: number): Promise<string> {
    const { config, threads } = this.#environment;
    return listenOn(this.#front.server, { host: config.listen.host, port, reusePort: threads > 1 });
  }

  async report(): Promise<PlaneReport> {
    const clean = new Map<Digest, number>();
    for (const digest of this.#digests) {
      const slots = this.#pool.cleanSlots(digest);
      if (slots > 0) clean.set(digest, slots);
    }
    return { starts: this.#histograms.toRecording(), slots: this.#pool.slots, clean };
  }

  async drain(): Promise<number> {
    const cutOff = await this.#front.drain(this.#environment.config.drainMs);
    this.#pool.clear();
    this.#store.close();
    return cutOff;
  }
}
