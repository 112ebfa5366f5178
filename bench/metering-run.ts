import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildTools } from '../src/build/tools.ts';
import { CodeCache, compileFrom } from '../src/runtime/code.ts';
import { ControlMemory, newControlMemory } from '../src/runtime/control-memory.ts';
import { MemoryPool } from '../src/runtime/memory-pool.ts';
import { createRestorer, probeTiers } from '../src/runtime/restore-tier.ts';
import { Slot } from '../src/runtime/slot.ts';
import { SnapshotLoader } from '../src/runtime/snapshot.ts';
import { SnapshotStore } from '../src/snapshot/store.ts';
import { createHost } from '../src/wasi/index.ts';
import { rewriteModule } from '../src/wasm/rewrite.ts';
import { serve } from './support/call.ts';
import { inOrder } from './support/statistics.ts';

/**
 * One round of `bench/metering.ts`, in a process of its own: every case with checks and without, call by call in turns,
 * so that what else the machine does hits both. JSON on stdout.
 *
 *     node bench/metering-run.ts <store> <ms>
 */

/** Rounds for each loop: some 10 ms. */
const LOOPS = { count: 3e7, random: 1e7, sum: 1e7, sieve: 1e6, matrix: 200, fibonacci: 28 } as const;
export const LOOP_NAMES = Object.keys(LOOPS) as (keyof typeof LOOPS)[];

export const APP_NAMES = ['primes', 'mixed'] as const;

/** An engine gets so many times the milliseconds of a loop to warm up: V8 compiles its interpreter late. */
const APP_WARM_UP = 10;

/** Microseconds of each call, in pairs that belong together. */
export type Pairs = { readonly off: readonly number[]; readonly on: readonly number[] };
export type MeteringRun = Readonly<Record<string, Pairs>>;

type Side = keyof Pairs;
const SIDES: readonly Side[] = ['off', 'on'];
type Calls = Readonly<Record<Side, () => unknown>>;

async function measure(calls: Calls, { warmUpMs, ms }: { warmUpMs: number; ms: number }): Promise<Pairs> {
  const taken: Record<Side, number[]> = { off: [], on: [] };
  const [warmedUp, end] = [performance.now() + warmUpMs, performance.now() + warmUpMs + ms];
  for (let round = 0; performance.now() < end; round++) {
    const isKept = performance.now() >= warmedUp;
    for (const side of inOrder(SIDES, round)) {
      const begun = performance.now();
      await calls[side]();
      if (isKept) taken[side].push((performance.now() - begun) * 1000);
    }
  }
  return taken;
}

async function loops(ms: number): Promise<MeteringRun> {
  const text = await readFile(join(import.meta.dirname, 'support/loops.wat'), 'utf8');
  const source = await (await buildTools()('@bytecodealliance/jco')).parse(text);
  const instantiate = (checks: boolean): WebAssembly.Exports => {
    const { code } = rewriteModule(source, { state: 'keep', names: false, checks });
    const thaw = { memory0: new WebAssembly.Memory({ initial: 16 }), control: newControlMemory() };
    return new WebAssembly.Instance(new WebAssembly.Module(code), { thaw }).exports;
  };
  const [off, on] = [instantiate(false), instantiate(true)];
  const taken: Record<string, Pairs> = {};
  for (const name of LOOP_NAMES) {
    const call = (exports: WebAssembly.Exports) => () => (exports[name] as (rounds: number) => void)(LOOPS[name]);
    taken[name] = await measure({ off: call(off), on: call(on) }, { warmUpMs: ms, ms });
  }
  return taken;
}

async function apps(directory: string, ms: number): Promise<MeteringRun> {
  const store = SnapshotStore.open(directory, { create: false });
  const loader = new SnapshotLoader(store);
  const code = new CodeCache(compileFrom(store));
  const best = probeTiers().find(({ failure }) => failure === null);
  const memories = new MemoryPool(createRestorer(best?.tier ?? 'copy'));
  const environment = { host: createHost(), control: new ControlMemory(), memories };
  const callOf = async (name: string): Promise<() => Promise<void>> => {
    const snapshot = loader.load(store.resolve(name));
    const slot = new Slot(snapshot, await code.load(snapshot.manifest), environment);
    slot.turn(snapshot);
    return async () => {
      const sent = await serve(slot, '/');
      if (sent?.status !== 200) throw new Error(`${name} answered ${JSON.stringify(sent)}`);
      slot.turn(snapshot);
    };
  };
  const taken: Record<string, Pairs> = {};
  for (const name of APP_NAMES) {
    const calls = { off: await callOf(`${name}-off`), on: await callOf(`${name}-on`) };
    taken[name] = await measure(calls, { warmUpMs: ms * APP_WARM_UP, ms: 2 * ms });
  }
  store.close();
  return taken;
}

if (import.meta.main) {
  const [store, ms] = process.argv.slice(2);
  if (store === undefined || ms === undefined) {
    process.stderr.write('usage: node bench/metering-run.ts <store> <ms>\n');
    process.exit(2);
  }
  const run = { ...(await loops(Number(ms))), ...(await apps(store, Number(ms))) };
  process.stdout.write(`${JSON.stringify(run)}\n`);
}
