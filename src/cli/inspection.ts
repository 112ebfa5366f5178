import type { Prepared } from '../build/freeze.ts';
import { sha256 } from '../snapshot/digest.ts';
import { countNonZeroPages, trimImage } from '../snapshot/layer.ts';
import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES, type Manifest } from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import { type CoreModule, parseModule } from '../wasm/module.ts';
import type { GlobalState, LinkPlan } from '../wasm/plan.ts';

/** One core module. `tables` has the number of entries that each table of its own starts with. */
type InspectedModule = {
  readonly name: string;
  readonly bytes: number;
  /** SHA-256 of the code without its state for a snapshot, of the module as it is for a file. */
  readonly digest: string;
  readonly functions: number;
  readonly tables: readonly number[];
};

/** One memory at the end of initialisation. `deltaPages` is null where nothing has been laid over a base yet. */
type InspectedMemory = {
  readonly instance: number;
  readonly index: number;
  readonly bytes: number;
  /** Of 64 KiB, as the guest counts them. */
  readonly pages: number;
  readonly maxPages: number | null;
  /** Of 4 KiB, as layers are counted. */
  readonly imagePages: number;
  readonly nonZeroPages: number;
  readonly deltaPages: number | null;
};

/** What `thaw inspect` shows, and prints as JSON, of a snapshot or of a component in a file. */
export type Inspection = {
  readonly source:
    | {
        readonly kind: 'snapshot';
        readonly names: readonly string[];
        readonly digest: string;
        readonly codeDigest: string;
      }
    | { readonly kind: 'file'; readonly path: string };
  readonly component: { readonly digest: string; readonly bytes: number; readonly producers: readonly string[] };
  readonly start: { readonly kind: 'restorable' } | { readonly kind: 'fresh'; readonly reasons: readonly string[] };
  /** `wasi:http/incoming-handler@0.2.10`, and its functions. */
  readonly exports: readonly InspectedInterface[];
  /** What the core modules call; `declared` counts what the component says it may. */
  readonly imports: readonly (InspectedInterface & { readonly declared: number })[];
  readonly modules: readonly InspectedModule[];
  /** Empty for a snapshot whose state is not frozen. */
  readonly memories: readonly InspectedMemory[];
  readonly globals: readonly GlobalState[];
  readonly plan: LinkPlan;
};

type InspectedInterface = { readonly interface: string; readonly functions: readonly string[] };

/** @throws ThawError STORE_* when the code cannot be read */
export function inspectSnapshot(store: SnapshotStore, digest: string, manifest: Manifest): Inspection {
  const { plan, code, codeDigest, component, state } = manifest;
  const names = store.listRefs().filter((ref) => ref.digest === digest);
  const modules = code.map((ref, index) => {
    const module = parseModule(store.readObject(ref, `code of module ${index}`));
    return inspectModule(plan, index, module, ref.digest);
  });
  const memories = state.kind === 'restorable' ? state.memories : [];
  return {
    source: { kind: 'snapshot', names: names.map(({ name }) => name), digest, codeDigest },
    component,
    start: state.kind === 'restorable' ? { kind: state.kind } : state,
    ...interfacesOf(plan),
    modules,
    memories: memories.map(({ instance, index, pages, max, nonZeroPages, deltaPages }) => ({
      instance,
      index,
      ...sizesOf(pages),
      maxPages: max,
      nonZeroPages,
      deltaPages,
    })),
    globals: state.kind === 'restorable' ? state.globals : [],
    plan,
  };
}

/** Of a component that was prepared for freezing, and not frozen. */
export function inspectPrepared(path: string, bytes: Uint8Array, prepared: Prepared): Inspection {
  const { component, modules, captured, reasons } = prepared;
  const { plan, producers } = component;
  return {
    source: { kind: 'file', path },
    component: {
      digest: sha256(bytes),
      bytes: bytes.length,
      producers: producers.map(({ field, name, version }) => `${field} ${name} ${version}`.trim()),
    },
    start: reasons.length === 0 ? { kind: 'restorable' } : { kind: 'fresh', reasons },
    ...interfacesOf(plan),
    modules: modules.map((module, index) => inspectModule(plan, index, module, sha256(module.bytes))),
    memories: captured.memories.map(({ key, pages, max, bytes: content }) => ({
      instance: key.instance,
      index: key.index,
      ...sizesOf(pages),
      maxPages: max,
      nonZeroPages: countNonZeroPages(trimImage(content)),
      deltaPages: null,
    })),
    globals: captured.globals,
    plan,
  };
}

const sizesOf = (pages: number): Pick<InspectedMemory, 'pages' | 'bytes' | 'imagePages'> => ({
  pages,
  bytes: pages * WASM_PAGE_BYTES,
  imagePages: (pages * WASM_PAGE_BYTES) / IMAGE_PAGE_BYTES,
});

function inspectModule(plan: LinkPlan, index: number, module: CoreModule, digest: string): InspectedModule {
  return {
    name: plan.modules[index]?.name ?? `module${index}`,
    bytes: module.bytes.length,
    digest,
    functions: module.bodies.length,
    tables: module.tables.slice(module.imported.table).map(({ min }) => min),
  };
}

function interfacesOf(plan: LinkPlan): Pick<Inspection, 'exports' | 'imports'> {
  const exported = Map.groupBy(plan.exports, (lifted) => interfaceText(lifted.interface, lifted.version));
  const used = new Map<string, Set<string>>();
  for (const { from } of plan.instances.flatMap(({ imports }) => imports)) {
    if (from.kind === 'core') continue;
    const name = interfaceText(from.interface, from.version);
    const funcs = used.get(name) ?? new Set();
    used.set(name, funcs.add(from.kind === 'host' ? from.func : `[resource-drop]${from.resource}`));
  }
  return {
    exports: [...exported].map(([name, lifted]) => ({ interface: name, functions: lifted.map(({ func }) => func) })),
    imports: plan.imports.map(({ interface: name, version, funcs }) => {
      const text = interfaceText(name, version);
      return { interface: text, functions: [...(used.get(text) ?? [])].toSorted(), declared: funcs.length };
    }),
  };
}

const interfaceText = (name: string, version: string): string =>
  name === '' ? '(world)' : version === '' ? name : `${name}@${version}`;
