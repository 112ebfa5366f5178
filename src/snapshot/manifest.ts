import type { Digest, GlobalState, LinkPlan, ModuleShape } from '../wasm/plan.ts';

/** Bytes in a page of linear memory as WebAssembly counts it. */
export const WASM_PAGE_BYTES = 65_536;

/**
 * Bytes in a page of an image: the unit of layers. 4 KiB everywhere, whatever the kernel's page size, so that a snapshot
 * built on one machine serves on another.
 */
export const IMAGE_PAGE_BYTES = 4096;

/**
 * The format of manifests, layers and code. A snapshot of another format is refused with the command that makes it anew.
 * 2: code has checks by which a guest that runs too long is stopped.
 */
export const SNAPSHOT_FORMAT = 3;

export type ObjectRef = { readonly digest: Digest; readonly bytes: number };

/**
 * The content of one linear memory at the snapshot. `base` is a raw image (offset = address), mapped by the runtime.
 * `delta` is a packed list of pages laid over it (see layer.ts), or null when the base is the whole image. Bytes beyond
 * both are zero.
 */
export type MemoryState = {
  /** Indexes `plan.instances`, and within that the memory index. */
  readonly instance: number;
  readonly index: number;
  /** Logical size at the snapshot, in 64 KiB pages: what `memory.size` says. */
  readonly pages: number;
  /** Declared maximum in 64 KiB pages, or null. */
  readonly max: number | null;
  readonly base: ObjectRef | null;
  readonly delta: ObjectRef | null;
  /** For inspect: image pages (4 KiB) that are not all zero, and those that `delta` holds. */
  readonly nonZeroPages: number;
  readonly deltaPages: number;
};

/**
 * `restorable`: the code objects have neither data nor start, an instance is brought to `memories` and `globals`.
 * `fresh`: the code objects are whole; every request gets a new instance. `reasons` says why, for people.
 */
export type SnapshotState =
  | { readonly kind: 'restorable'; readonly memories: readonly MemoryState[]; readonly globals: readonly GlobalState[] }
  | { readonly kind: 'fresh'; readonly reasons: readonly string[] };

/**
 * What the apps of one engine have in common. (The first size of their memories, in the shapes, makes one program a
 * size.) For StarlingMonkey it is 45 KB beside a manifest of 1.3 KB, so it is an object of its own, stored once.
 */
export type Program = {
  readonly format: typeof SNAPSHOT_FORMAT;
  readonly plan: LinkPlan;
  /** One entry per `plan.modules`. */
  readonly code: readonly (ObjectRef & { readonly shape: ModuleShape })[];
};

/**
 * A manifest as it is stored. It and its program are canonical JSON (keys sorted, no white space): equal snapshots have
 * equal digests. Has no time and no path.
 */
export type StoredManifest = {
  readonly format: typeof SNAPSHOT_FORMAT;
  readonly program: ObjectRef;
  /** Of the plan and the code, see code-digest.ts: snapshots with the same code digest can share slots. */
  readonly codeDigest: Digest;
  readonly state: SnapshotState;
  /** What it was frozen from, for people; the component itself is not kept. */
  readonly component: ObjectRef & { readonly producers: readonly string[] };
};

/** A manifest joined with its program: manifests of one program have the same frozen `plan` and `code`. */
export type Manifest = StoredManifest & Program;

/** A manifest whose program has yet to be stored. */
export type NewManifest = Omit<Manifest, 'program'>;

/** The part that the program plays, for messages. */
export const PROGRAM_ROLE = 'link plan and code list';

/** Pages of 64 KiB of linear memory that an instance begins with. Start functions of a fresh one may take more. */
export function firstPages({ state, plan, code }: Manifest): number {
  const memories =
    state.kind === 'restorable'
      ? state.memories.map(({ pages }) => pages)
      : plan.instances.flatMap(({ module }) => (code[module]?.shape.memories ?? []).map(({ min }) => min));
  return memories.reduce((sum, pages) => sum + pages, 0);
}

/** Every object a manifest needs, with the part it plays, for messages and for collection. */
export function objectsOf(manifest: Manifest): readonly { readonly ref: ObjectRef; readonly role: string }[] {
  const { program, code, state } = manifest;
  const memories = state.kind === 'restorable' ? state.memories : [];
  const layers = memories.flatMap(({ instance, index, base, delta }) => [
    { ref: base, role: `base image of memory ${index} of instance ${instance}` },
    { ref: delta, role: `delta layer of memory ${index} of instance ${instance}` },
  ]);
  return [
    { ref: program, role: PROGRAM_ROLE },
    ...code.map((ref, module) => ({ ref, role: `code of module ${module}` })),
    ...layers.flatMap(({ ref, role }) => (ref === null ? [] : [{ ref, role }])),
  ];
}
