import { CodeCache, compileFrom, type CompiledModule } from '../../src/runtime/code.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { MemoryPool } from '../../src/runtime/memory-pool.ts';
import { createRestorer } from '../../src/runtime/restore-tier.ts';
import { Slot, type SlotEnvironment } from '../../src/runtime/slot.ts';
import { SnapshotLoader, type LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import { createHost } from '../../src/wasi/index.ts';
import { requestTo, type RecordingCall } from '../support/call.ts';
import { LapTimer } from './startup-laps.ts';
import type { ChildSpec } from './startup-spec.ts';
import { finished, timedCall, type Start, type Started } from './startup-start.ts';

/** The ways of starting that thaw has: with its own slots, as the node uses them. */

type Opened = {
  readonly loader: SnapshotLoader;
  readonly store: SnapshotStore;
  readonly snapshot: LoadedSnapshot;
  readonly newSlot: () => Slot;
};

async function open({ store: directory, snapshot: name, tier }: ChildSpec): Promise<Opened> {
  const store = SnapshotStore.open(directory, { create: false });
  const loader = new SnapshotLoader(store);
  const snapshot = loader.load(store.resolve(name));
  const modules: readonly CompiledModule[] = await new CodeCache(compileFrom(store)).load(snapshot.manifest);
  const environment: SlotEnvironment = {
    host: createHost(),
    control: new ControlMemory(),
    memories: new MemoryPool(createRestorer(tier)),
  };
  return { loader, store, snapshot, newSlot: () => new Slot(snapshot, modules, environment) };
}

/** Serves a request as the node does: without a stack of its own where the app's requests do not wait. */
async function serve(slot: Slot, timer: LapTimer, path: string): Promise<RecordingCall> {
  const { snapshot } = slot;
  const { waits } = snapshot;
  if (waits.isQuiet) {
    const call = timedCall(timer);
    const isServed = slot.serveAtOnce(call, requestTo(path));
    waits.ended(slot.hasWaited);
    if (isServed) return call;
    slot.turn(snapshot);
  }
  const call = timedCall(timer);
  await slot.serve(call, requestTo(path));
  waits.ended(slot.hasWaited);
  return call;
}

/** Serves a request on a clean slot, then restores it. */
async function serveAndRestore(
  slot: Slot,
  timer: LapTimer,
  { path, snapshot }: { readonly path: string; readonly snapshot: LoadedSnapshot },
): Promise<Started> {
  const call = await serve(slot, timer, path);
  timer.skip();
  const pages = slot.turn(snapshot);
  timer.mark('restore');
  return { ...finished(timer, call), pagesWritten: snapshot.state.kind === 'restorable' ? pages : null };
}

/** `hot`: the slot is clean, restored after the request before. */
export async function hotWay(spec: ChildSpec): Promise<Start> {
  const { snapshot, newSlot } = await open(spec);
  const slot = newSlot();
  slot.turn(snapshot);
  return () => serveAndRestore(slot, new LapTimer(), { path: spec.path, snapshot });
}

/** `switch`: the slot has served another app of the same code, and was restored to that. */
export async function switchWay(spec: ChildSpec): Promise<Start> {
  const { loader, store, snapshot, newSlot } = await open(spec);
  if (spec.other === null) throw new Error('there is no other snapshot of the same code');
  const other = loader.load(store.resolve(spec.other));
  const slot = newSlot();
  return async () => {
    slot.turn(other);
    await serve(slot, new LapTimer(), spec.path);
    slot.turn(other);
    const timer = new LapTimer();
    slot.turn(snapshot);
    timer.mark('switch');
    return serveAndRestore(slot, timer, { path: spec.path, snapshot });
  };
}

/** `instantiate`: a new slot, its memory from the pool. */
export async function instantiateWay(spec: ChildSpec): Promise<Start> {
  const { snapshot, newSlot } = await open(spec);
  return async () => {
    const timer = new LapTimer();
    const slot = newSlot();
    slot.turn(snapshot);
    timer.mark('instantiate');
    const started = await serveAndRestore(slot, timer, { path: spec.path, snapshot });
    slot.dispose();
    return started;
  };
}
