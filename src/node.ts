import { isIPv6, type AddressInfo, type Server } from 'node:net';
import type { Logger } from 'pino';
import { createAdminServer, type AdminServer } from './admin/server.ts';
import type { AdminView, Health, RouteRow } from './admin/view.ts';
import type { ListenAddress } from './config/host.ts';
import type { EdgeConfig, RouteConfig } from './config/schema.ts';
import { ThawError, invariant, messageOf } from './errors.ts';
import { Front } from './http/front.ts';
import { StartupHistograms } from './metrics/histograms.ts';
import { CodeCache } from './runtime/code.ts';
import { ControlMemory } from './runtime/control-memory.ts';
import { MemoryPool } from './runtime/memory-pool.ts';
import { SlotPool } from './runtime/pool.ts';
import { chooseRestorer } from './runtime/restore-tier.ts';
import type { RestoreTier } from './runtime/slot-memory.ts';
import { SnapshotLoader, type LoadedSnapshot } from './runtime/snapshot.ts';
import { isDigest } from './snapshot/digest.ts';
import { SnapshotStore } from './snapshot/store.ts';
import { createHost } from './wasi/index.ts';

export type NodeOptions = {
  readonly config: EdgeConfig;
  readonly log: Logger;
  /** Undefined: the best that the machine has. */
  readonly restoreTier?: RestoreTier | undefined;
};

/** What a node is made of, before it listens. */
type Parts = {
  readonly store: SnapshotStore;
  readonly snapshots: ReadonlyMap<string, LoadedSnapshot>;
  readonly pool: SlotPool;
  readonly histograms: StartupHistograms;
  readonly front: Front;
};

/** One node: data listener, admin listener, and everything between. */
export class EdgeNode implements AdminView {
  readonly histograms: StartupHistograms;
  readonly #config: EdgeConfig;
  readonly #log: Logger;
  readonly #parts: Parts;
  #admin: AdminServer | null = null;
  #draining = false;

  /** Loads what the config names; nothing listens yet. @throws ThawError CONFIG_SNAPSHOT_MISSING, STORE_* */
  constructor({ config, log, restoreTier }: NodeOptions) {
    this.#config = config;
    this.#log = log;
    this.histograms = new StartupHistograms();
    const store = SnapshotStore.open(config.store, { create: false });
    const environment = {
      host: createHost(),
      control: new ControlMemory(),
      memories: new MemoryPool(chooseRestorer(restoreTier)),
    };
    const pool = new SlotPool(config.pool, environment, new CodeCache(store));
    const snapshots = loadSnapshots(config, store);
    const snapshotOf = (route: RouteConfig): LoadedSnapshot => {
      const snapshot = snapshots.get(route.snapshot);
      invariant(snapshot !== undefined, `the snapshot of route ${route.id} is loaded`);
      return snapshot;
    };
    const front = new Front({ config, pool, histograms: this.histograms, log, snapshotOf });
    this.#parts = { store, snapshots, pool, histograms: this.histograms, front };
  }

  /**
   * Opens both listeners.
   * @returns their addresses as URLs, with the real ports
   * @throws ThawError LISTEN_FAILED
   */
  async listen(): Promise<{ readonly url: string; readonly adminUrl: string }> {
    const { listen, admin } = this.#config;
    const url = await listenOn(this.#parts.front.server, listen);
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
    const cutOff = await this.#parts.front.drain(this.#config.drainMs);
    this.#parts.pool.clear();
    await this.#admin?.close();
    this.#parts.store.close();
    return cutOff;
  }

  health(): Health {
    const { total, idle, waiting } = this.#parts.pool.slots;
    const full = waiting > 0 ? `${waiting} requests wait for one of ${total} slots, ${idle} idle` : null;
    return { draining: this.#draining, checks: [{ name: 'pool', gate: 'ready', failure: full }] };
  }

  routes(): readonly RouteRow[] {
    const { front, pool, snapshots } = this.#parts;
    return this.#config.routes.map((route) => {
      const digest = snapshots.get(route.snapshot)?.digest ?? '';
      return {
        id: route.id,
        host: route.host,
        path: route.route,
        methods: route.methods,
        snapshot: { name: isDigest(route.snapshot) ? null : route.snapshot, digest },
        limits: route.limits,
        starts: this.histograms.startsOf(route.id),
        slots: { busy: front.busy(route.id), clean: pool.cleanSlots(digest) },
      };
    });
  }

  startup(): StartupHistograms {
    return this.histograms;
  }
}

/** By what the config calls them. */
function loadSnapshots(config: EdgeConfig, store: SnapshotStore): ReadonlyMap<string, LoadedSnapshot> {
  const loader = new SnapshotLoader(store);
  const names = new Set(config.routes.map(({ snapshot }) => snapshot));
  return new Map([...names].map((name) => [name, loader.load(store.resolve(name))]));
}

function listenOn(server: Server, { host, port }: ListenAddress): Promise<string> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error): void => {
      reject(
        new ThawError('LISTEN_FAILED', `opening the listener on ${host} port ${port}: ${messageOf(cause)}`, { cause }),
      );
    };
    server.once('error', refuse);
    server.listen(port, host, () => {
      server.off('error', refuse);
      const { address, port: real } = server.address() as AddressInfo;
      resolve(`http://${isIPv6(address) ? `[${address}]` : address}:${real}`);
    });
  });
}
