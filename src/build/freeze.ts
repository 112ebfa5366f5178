import { ThawError, messageOf } from '../errors.ts';
import { compileCode } from '../runtime/stop-page.ts';
import type { CompiledModule } from '../runtime/code.ts';
import { memoryNeeds } from '../runtime/instance.ts';
import { handlerOf } from '../runtime/snapshot.ts';
import { codeDigest } from '../snapshot/code-digest.ts';
import { sha256 } from '../snapshot/digest.ts';
import { countNonZeroPages, diffImage, encodeDelta, trimImage } from '../snapshot/layer.ts';
import {
  IMAGE_PAGE_BYTES,
  SNAPSHOT_FORMAT,
  WASM_PAGE_BYTES,
  type Manifest,
  type MemoryState,
  type ObjectRef,
  type SnapshotState,
} from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import { decodeComponent, type LinkedComponent } from '../wasm/link.ts';
import { parseModule, type CoreModule } from '../wasm/module.ts';
import type { Digest, LinkPlan } from '../wasm/plan.ts';
import { reasonsNotRestorable } from '../wasm/restorable.ts';
import { rewriteModule } from '../wasm/rewrite.ts';
import { createHost } from '../wasi/index.ts';
import { captureState, captureWatched, type CapturedState } from './capture.ts';
import { checkImports } from './check-imports.ts';

export type Frozen = { readonly digest: Digest; readonly manifest: Manifest };

/** A component that was decoded and checked, with its state after initialisation: all that freezing needs to know. */
export type Prepared = {
  readonly component: LinkedComponent;
  readonly modules: readonly CoreModule[];
  readonly captured: CapturedState;
  /** Why it cannot be restored in place; empty when it can. */
  readonly reasons: readonly string[];
};

/**
 * Decodes a component, holds it against the host and captures its initial state. Writes nothing.
 *
 * @throws ThawError NOT_A_COMPONENT, COMPONENT_UNSUPPORTED, WASM_*, WRONG_WORLD, UNKNOWN_IMPORT, IMPORT_TYPE_MISMATCH,
 * BUILD_INIT_CALLS_IMPORT, BUILD_INIT_FAILED
 */
export async function prepare(bytes: Uint8Array): Promise<Prepared> {
  const component = decodeComponent(bytes);
  handlerOf(component.plan);
  checkImports(component, createHost());
  const modules = component.modules.map(parseModule);
  const compiled = await compileKept(modules, component.plan);
  const isStarted = modules.some(({ start }) => start !== null);
  if (isStarted) refuseManySizes(component.plan, compiled);
  const captured = await (isStarted ? captureWatched : captureState)(component.plan, compiled);
  const allocations = modules.reduce((sum, module) => sum + module.allocations, 0);
  return {
    component,
    modules,
    captured,
    reasons: [
      ...modules.flatMap((module) => reasonsNotRestorable(module, allocations)),
      ...unrestorableGlobals(captured),
    ],
  };
}

/**
 * Start functions find the size of the memory in one place for all of them (see ControlMemory), which is right for one
 * memory only.
 */
function refuseManySizes(plan: LinkPlan, modules: readonly CompiledModule[]): void {
  const memories = memoryNeeds(plan, modules).length;
  if (memories < 2 || modules.every(({ shape }) => shape.sized.length === 0)) return;
  throw new ThawError(
    'COMPONENT_UNSUPPORTED',
    `the component has start functions and ${memories} memories, whose sizes its code asks for or changes; one is supported`,
  );
}

/** Names are kept so that a failing initialisation can be traced to a function. */
async function compileKept(modules: readonly CoreModule[], plan: LinkPlan): Promise<CompiledModule[]> {
  return Promise.all(
    modules.map(async (module, index) => {
      const { code, shape } = rewriteModule(module, { state: 'keep', names: true });
      return { module: await compile(code, `core module ${index} (${plan.modules[index]?.name ?? ''})`), shape };
    }),
  );
}

/** The rewriter reads code; whether its types are right is V8's to say. */
async function compile(code: Uint8Array, what: string): Promise<WebAssembly.Module> {
  try {
    return await compileCode(code);
  } catch (cause) {
    if (!(cause instanceof WebAssembly.CompileError)) throw cause;
    throw new ThawError('WASM_MALFORMED', `${what} is not valid: ${messageOf(cause)}`, { cause });
  }
}

/** JavaScript cannot tell one NaN from another, so their bits could not be set back. */
function unrestorableGlobals({ globals }: CapturedState): string[] {
  return globals
    .filter(({ value }) => value === 'NaN')
    .map(({ instance, name }) => `${name} of core instance ${instance} holds a NaN, whose bits cannot be set back`);
}

export type FreezeOptions = {
  /**
   * Base layers for a code digest, one per memory of the plan, null where there is none; undefined when none are known.
   * Without them the image is its own base.
   */
  readonly baseOf?: (codeDigest: Digest) => Promise<readonly (BaseImage | null)[] | undefined>;
};

export type BaseImage = { readonly ref: ObjectRef; readonly bytes: Uint8Array };

/** Freezes a component into the store. @throws as {@link prepare}, and ThawError STORE_* */
export async function freeze(bytes: Uint8Array, store: SnapshotStore, options: FreezeOptions = {}): Promise<Frozen> {
  const prepared = await prepare(bytes);
  const { component, modules, reasons, captured } = prepared;
  const restorable = reasons.length === 0;
  const code = [];
  for (const module of modules) {
    const rewritten = rewriteModule(module, { state: restorable ? 'strip' : 'keep', names: false });
    code.push({ ...(await store.putObject(rewritten.code)), shape: rewritten.shape });
  }
  const ofCode = codeDigest(component.plan, code);
  const state: SnapshotState = restorable
    ? await freezeState(captured, (await options.baseOf?.(ofCode)) ?? [], store)
    : { kind: 'fresh', reasons };
  const { digest } = await store.putManifest({
    format: SNAPSHOT_FORMAT,
    plan: component.plan,
    code,
    codeDigest: ofCode,
    state,
    component: {
      digest: sha256(bytes),
      bytes: bytes.length,
      producers: component.producers.map(({ field, name, version }) => `${field} ${name} ${version}`.trim()),
    },
  });
  return { digest, manifest: store.loadManifest(digest) };
}

async function freezeState(
  captured: CapturedState,
  bases: readonly (BaseImage | null)[],
  store: SnapshotStore,
): Promise<SnapshotState> {
  const memories: MemoryState[] = [];
  for (const [index, { key, pages, max, bytes }] of captured.memories.entries()) {
    const image = trimImage(bytes);
    const base = bases[index] ?? null;
    // A longer base, once mapped, would make addresses valid that V8 counts on to fault.
    const isFitting = base !== null && base.bytes.length <= pages * WASM_PAGE_BYTES;
    const layers = await freezeImage(image, isFitting ? base : null, store);
    memories.push({ ...key, pages, max, nonZeroPages: countNonZeroPages(image), ...layers });
  }
  return { kind: 'restorable', memories, globals: captured.globals };
}

type Layers = Pick<MemoryState, 'base' | 'delta' | 'deltaPages'>;

/** Lays the image over the base where that is worth it, else makes the image a base of its own. */
async function freezeImage(image: Uint8Array, base: BaseImage | null, store: SnapshotStore): Promise<Layers> {
  if (base !== null) {
    const diff = diffImage(base.bytes, image);
    if (diff.pages.length === 0) return { base: base.ref, delta: null, deltaPages: 0 };
    if (diff.pages.length <= image.length / IMAGE_PAGE_BYTES / WORTHWHILE_SHARE) {
      return { base: base.ref, delta: await store.putObject(encodeDelta(diff)), deltaPages: diff.pages.length };
    }
  }
  return { base: image.length === 0 ? null : await store.putObject(image), delta: null, deltaPages: 0 };
}

/**
 * A delta is worth it up to half of the image: beyond, a slot would hold more private copies of the delta than it shares
 * pages of the base.
 */
const WORTHWHILE_SHARE = 2;
