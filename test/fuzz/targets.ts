import assert from 'node:assert/strict';
import { checkImports } from '../../src/build/check-imports.ts';
import { ThawError } from '../../src/errors.ts';
import { handlerOf } from '../../src/runtime/snapshot.ts';
import { createHost } from '../../src/wasi/index.ts';
import { describePlan, planLines } from '../../src/wasm/describe.ts';
import { decodeComponent } from '../../src/wasm/link.ts';
import { type CoreModule, parseModule } from '../../src/wasm/module.ts';
import { reasonsNotRestorable } from '../../src/wasm/restorable.ts';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import { assertRewritesValid, assertSound, isValid } from '../wasm/fixtures/sound.ts';
import type { Corpus } from './corpus.ts';
import { mutateBinary } from './mutate.ts';
import type { Random } from './random.ts';
import type { Outcome, SnapshotTarget } from './snapshots.ts';

/** One kind of item. `run` makes it of random numbers, uses it, and throws when that ends otherwise than it may. */
export type Target = {
  readonly name: string;
  /** How many of 1,000 items are of this kind. */
  readonly share: number;
  readonly limits: Limits;
  readonly run: (random: Random) => Outcome;
};

/** What using one item may take, in milliseconds, and in bytes outside of the heap, which has a limit of its own. */
type Limits = { readonly ms: number; readonly bytes: number };

/** Files of up to 4 KiB, images of up to 4 MiB. */
const SMALL: Limits = { ms: 1000, bytes: 16 * 2 ** 20 };

/** 14 MB are read, written anew twice, and all three judged by V8: 0.8 s and 50 MB when nothing is wrong with them. */
const LARGE: Limits = { ms: 4000, bytes: 128 * 2 ** 20 };

const host = createHost();

/** The first items of a run are components with an engine in them: few, for each takes as long as 5,000 others. */
export const ENGINE_ITEMS = 6;

/** By what becomes of a component in `thaw build` and `thaw inspect`, up to running its start functions. */
class ComponentTarget {
  /** Modules that have been rewritten before: most mutations leave most modules alone. */
  readonly #known = new Set<string>();

  use(bytes: Uint8Array): Outcome {
    try {
      const linked = decodeComponent(bytes);
      assert.ok(planLines(describePlan(linked.plan)).length > 0);
      for (const module of linked.modules) this.#rewrite(module);
      handlerOf(linked.plan);
      checkImports(linked, host);
      return 'taken';
    } catch (error) {
      if (error instanceof ThawError) return error.code;
      throw error;
    }
  }

  #rewrite(bytes: Uint8Array): void {
    const key = bytes.length > MAX_KEY_BYTES ? null : Buffer.from(bytes).toString('latin1');
    if (key !== null && this.#known.has(key)) return;
    const module = parseModule(bytes);
    reasonsNotRestorable(module);
    if (isValid(bytes)) assertRewritesValid(bytes);
    else rewriteBoth(module);
    if (key !== null && this.#known.size < MAX_KNOWN) this.#known.add(key);
  }
}

const MAX_KEY_BYTES = 4096;
const MAX_KNOWN = 64;

function rewriteBoth(module: CoreModule): void {
  for (const state of ['keep', 'strip'] as const) rewriteModule(module, { state, names: false });
}

const ofCorpus =
  (corpus: readonly Uint8Array[], use: (bytes: Uint8Array) => Outcome) =>
  (random: Random): Outcome =>
    use(mutateBinary(random.pick(corpus), random, random.pick(corpus)));

export function targetsOf(
  { components, modules, engine }: Corpus,
  snapshots: SnapshotTarget,
): { readonly shared: readonly Target[]; readonly engine: Target } {
  const component = new ComponentTarget();
  return {
    shared: [
      { name: 'component', share: 360, limits: SMALL, run: ofCorpus(components, (bytes) => component.use(bytes)) },
      { name: 'module', share: 300, limits: SMALL, run: ofCorpus(modules, assertSound) },
      { name: 'manifest and program', share: 270, limits: SMALL, run: (random) => snapshots.texts(random) },
      { name: 'delta', share: 64, limits: SMALL, run: (random) => snapshots.delta(random) },
      { name: 'file of a store', share: 3, limits: SMALL, run: (random) => snapshots.damaged(random) },
      { name: 'forged snapshot', share: 3, limits: SMALL, run: (random) => snapshots.forged(random) },
    ],
    engine: { name: 'engine', share: 0, limits: LARGE, run: ofCorpus([engine], (bytes) => component.use(bytes)) },
  };
}
