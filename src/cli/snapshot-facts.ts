import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES, objectsOf, type Manifest } from '../snapshot/manifest.ts';

const IMAGE_PAGES_PER_WASM_PAGE = WASM_PAGE_BYTES / IMAGE_PAGE_BYTES;

/** The memories of a snapshot together. Image pages have 4 KiB, and `deltaPages` of them are not the base layer's. */
type MemoryFacts = {
  readonly bytes: number;
  readonly imagePages: number;
  readonly nonZeroPages: number;
  readonly deltaPages: number;
};

/** What `build`, `ls` and `check` show of a snapshot. */
export type SnapshotFacts = {
  readonly kind: 'restorable' | 'fresh';
  /** Why it cannot be restored in place; empty when it can. */
  readonly reasons: readonly string[];
  readonly codeDigest: string;
  readonly codeBytes: number;
  readonly componentBytes: number;
  /** Images and deltas: of a base layer that several apps share, each counts all. 0 when there are none. */
  readonly imageBytes: number;
  readonly deltaBytes: number;
  /** All objects of the snapshot, shared ones included. */
  readonly storedBytes: number;
  /** Null when every request gets a new instance, whose memory nobody froze. */
  readonly memory: MemoryFacts | null;
};

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

export function factsOf(manifest: Manifest): SnapshotFacts {
  const { state, codeDigest, component } = manifest;
  const memories = state.kind === 'restorable' ? state.memories : [];
  const pages = sum(memories.map((memory) => memory.pages));
  return {
    kind: state.kind,
    reasons: state.kind === 'fresh' ? state.reasons : [],
    codeDigest,
    codeBytes: sum(manifest.code.map(({ bytes }) => bytes)),
    componentBytes: component.bytes,
    imageBytes: sum(memories.map(({ base }) => base?.bytes ?? 0)),
    deltaBytes: sum(memories.map(({ delta }) => delta?.bytes ?? 0)),
    storedBytes: sum(objectsOf(manifest).map(({ ref }) => ref.bytes)),
    memory:
      state.kind === 'fresh'
        ? null
        : {
            bytes: pages * WASM_PAGE_BYTES,
            imagePages: pages * IMAGE_PAGES_PER_WASM_PAGE,
            nonZeroPages: sum(memories.map(({ nonZeroPages }) => nonZeroPages)),
            deltaPages: sum(memories.map(({ deltaPages }) => deltaPages)),
          },
  };
}
