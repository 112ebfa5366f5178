import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { freeze, type Frozen } from '../../src/build/freeze.ts';
import { CodeCache, compileFrom, type CompiledModule } from '../../src/runtime/code.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { MemoryPool } from '../../src/runtime/memory-pool.ts';
import { createRestorer, probeTiers } from '../../src/runtime/restore-tier.ts';
import { Slot, type SlotEnvironment } from '../../src/runtime/slot.ts';
import type { RestoreTier } from '../../src/runtime/slot-memory.ts';
import { SnapshotLoader, type LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { codeDigest } from '../../src/snapshot/code-digest.ts';
import { SNAPSHOT_FORMAT, type Manifest } from '../../src/snapshot/manifest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import { decodeComponent } from '../../src/wasm/link.ts';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import type { GuestName } from '../guests/build.ts';
import { freezeGuest } from '../guests/frozen.ts';
import { unsyncedOps } from '../snapshot/support.ts';
import { World } from './world.ts';

/** The tiers, with why one does not work here, or null: for `test(name, { skip: failure ?? false }, …)`. */
export const TIERS = probeTiers();

/** A directory that is gone when the tests of the file are over. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-test-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Snapshots frozen for the tests of one file, and what it takes to load them. */
export class Bench {
  readonly directory = temporaryDirectory();
  readonly store = SnapshotStore.open(this.directory, { create: true, ops: unsyncedOps });
  readonly loader = new SnapshotLoader(this.store);
  readonly code = new CodeCache(compileFrom(this.store));
  readonly world = new World();

  constructor() {
    after(() => this.store.close());
  }

  environment(tier: RestoreTier): SlotEnvironment {
    const memories = new MemoryPool(createRestorer(tier));
    return { host: this.world.host, control: new ControlMemory(), memories };
  }

  async freeze(component: Uint8Array, options?: Parameters<typeof freeze>[2]): Promise<LoadedSnapshot> {
    return this.load(await freeze(component, this.store, options));
  }

  /** The guest as `freeze` freezes it, which is done once for all files of tests. */
  async freezeGuest(name: GuestName): Promise<LoadedSnapshot> {
    return this.loader.load(await freezeGuest(name, this.store));
  }

  load({ digest }: Frozen): LoadedSnapshot {
    return this.loader.load(digest);
  }

  modules(snapshot: LoadedSnapshot): Promise<readonly CompiledModule[]> {
    return this.code.load(snapshot.manifest);
  }

  /** A slot that was made just now, clean. */
  async newSlot(snapshot: LoadedSnapshot, environment: SlotEnvironment): Promise<Slot> {
    const slot = new Slot(snapshot, await this.modules(snapshot), environment);
    slot.turn(snapshot);
    return slot;
  }

  /** The component with its modules whole: data and start sections make the first state, as in any other runtime. */
  async freezeWhole(bytes: Uint8Array): Promise<LoadedSnapshot> {
    const component = decodeComponent(bytes);
    const code: Manifest['code'][number][] = [];
    for (const module of component.modules) {
      const whole = rewriteModule(module, { state: 'keep', names: false });
      code.push({ ...(await this.store.putObject(whole.code)), shape: whole.shape });
    }
    const { digest } = await this.store.putManifest({
      format: SNAPSHOT_FORMAT,
      plan: component.plan,
      code,
      codeDigest: codeDigest(component.plan, code),
      state: { kind: 'fresh', reasons: ['a test wants it so'] },
      component: { digest: '0'.repeat(64), bytes: bytes.length, producers: [] },
    });
    return this.loader.load(digest);
  }
}
