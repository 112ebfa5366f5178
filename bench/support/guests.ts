import type { Frozen } from '../../src/build/freeze.ts';
import { CodeCache, compileFrom, type CompiledModule } from '../../src/runtime/code.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { MemoryPool } from '../../src/runtime/memory-pool.ts';
import { createRestorer } from '../../src/runtime/restore-tier.ts';
import { Slot, type SlotEnvironment } from '../../src/runtime/slot.ts';
import { RESTORE_TIERS, type RestoreTier } from '../../src/runtime/slot-memory.ts';
import { SnapshotLoader, type LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import { createHost } from '../../src/wasi/index.ts';
import { serve } from './call.ts';
import { Variants, type BenchStore } from './snapshots.ts';

/**
 * The kinds of guest that are restored: an engine of 10 MiB with an app of either form, a Wizer-initialised module, and one
 * of a single page.
 */
export const GUEST_KINDS = ['js-hello', 'js-listener', 'core-sieve', 'two'] as const;
export type GuestKind = (typeof GUEST_KINDS)[number];

/** Their apps, in bench/apps. */
const JS_APPS: readonly (readonly [GuestKind, string])[] = [
  ['js-hello', 'hello'],
  ['js-listener', 'listener'],
];

/** What each guest is asked for. */
const PATH = '/x';

/** Another snapshot of the same code is named like this. */
const OTHER = '-other';

const isGuestKind = (text: unknown): text is GuestKind => GUEST_KINDS.some((kind) => kind === text);
const isTier = (text: unknown): text is RestoreTier => RESTORE_TIERS.some((tier) => tier === text);

/** @throws for words that are none */
export function parseCase(guest: unknown, tier: unknown): { readonly guest: GuestKind; readonly tier: RestoreTier } {
  if (!isGuestKind(guest)) throw new Error(`${String(guest)} is none of ${GUEST_KINDS.join(', ')}`);
  if (!isTier(tier)) throw new Error(`${String(tier)} is none of ${RESTORE_TIERS.join(', ')}`);
  return { guest, tier };
}

/** Freezes every kind of guest, and another app of the same code for each. */
export async function freezeKinds(snapshots: BenchStore): Promise<void> {
  const { store } = snapshots;
  const constants = await snapshots.buildApp('constants');
  for (const [kind, app] of JS_APPS) {
    const { digest } = await snapshots.buildApp(app);
    await store.setRef(kind, digest, 'a bench');
    await store.setRef(`${kind}${OTHER}`, constants.digest, 'a bench');
  }
  await freezeText(snapshots, 'core-sieve', await snapshots.freezeWat('sieve', { initFunc: 'initialise' }), 'prime');
  await freezeText(snapshots, 'two', await snapshots.freezeWat('two'), 'two modules');
}

/** Names a snapshot, and a variant of it that has the text in capitals. */
async function freezeText({ store }: BenchStore, kind: GuestKind, { digest }: Frozen, text: string): Promise<void> {
  const other = await new Variants(store, digest, [text]).add([[text, text.toUpperCase()]]);
  await store.setRef(kind, digest, 'a bench');
  await store.setRef(`${kind}${OTHER}`, other, 'a bench');
}

/** A guest of a store, with what it takes to run it in this process. */
export class GuestRuns {
  readonly snapshot: LoadedSnapshot;
  /** Another app of the same code. */
  readonly other: LoadedSnapshot;
  readonly #modules: readonly CompiledModule[];
  readonly #environment: SlotEnvironment;

  private constructor(input: {
    snapshot: LoadedSnapshot;
    other: LoadedSnapshot;
    modules: readonly CompiledModule[];
    environment: SlotEnvironment;
  }) {
    this.snapshot = input.snapshot;
    this.other = input.other;
    this.#modules = input.modules;
    this.#environment = input.environment;
  }

  static async open(directory: string, guest: GuestKind, tier: RestoreTier): Promise<GuestRuns> {
    const store = SnapshotStore.open(directory, { create: false });
    const loader = new SnapshotLoader(store);
    const [snapshot, other] = [guest, `${guest}${OTHER}`].map((name) => loader.load(store.resolve(name)));
    if (snapshot === undefined || other === undefined) throw new Error('two names resolve to two snapshots');
    const modules = await new CodeCache(compileFrom(store)).load(snapshot.manifest);
    const environment = {
      host: createHost(),
      control: new ControlMemory(),
      memories: new MemoryPool(createRestorer(tier)),
    };
    return new GuestRuns({ snapshot, other, modules, environment });
  }

  /** A slot as new, clean. */
  newSlot(): Slot {
    const slot = new Slot(this.snapshot, this.#modules, this.#environment);
    slot.turn(this.snapshot);
    return slot;
  }

  /** Serves one request; the slot is dirty afterwards. @throws when the answer is not 200 */
  async serve(slot: Slot): Promise<void> {
    const sent = await serve(slot, PATH);
    if (sent?.status !== 200) throw new Error(`the guest answered ${JSON.stringify(sent)}`);
  }
}
