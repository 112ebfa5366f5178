/** What must hold between the members of a program and of a manifest before a runtime may index, map and share by it. */
import type {
  CanonOptions,
  CoreExportRef,
  CoreInstantiation,
  Digest,
  GlobalState,
  ImportSource,
} from '../wasm/plan.ts';
import { codeDigest } from './code-digest.ts';
import { refuseField } from './json-reader.ts';
import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES } from './manifest.ts';
import type { MemoryState, Program, SnapshotState, StoredManifest } from './manifest.ts';

type Restorable = Extract<SnapshotState, { kind: 'restorable' }>;

/** A program whose members fit together, with what each of its manifests is held against. */
export type CheckedProgram = {
  readonly program: Program;
  readonly codeDigest: Digest;
  /** What its instances define, in words: the state must say what each of these is. */
  readonly memories: ReadonlySet<string>;
  readonly globals: ReadonlySet<string>;
};

/** Returns the program with what follows from it, or throws a reader's error naming the field at fault. */
export function checkProgram(program: Program): CheckedProgram {
  const { plan, code } = program;
  if (code.length !== plan.modules.length)
    refuseField('code', `${plan.modules.length} entries, one per module`, code.length);
  plan.instances.forEach((instance, index) => checkInstance(instance, index, plan.modules.length));
  plan.exports.forEach((lifted, index) => {
    checkExportRef(lifted.core, plan.instances.length, `plan.exports[${index}].core`);
    checkOptions(lifted.options, plan.instances.length, `plan.exports[${index}].options`);
  });
  const shapes = plan.instances.flatMap(({ module }, instance) => {
    const shape = code[module]?.shape;
    return shape === undefined ? [] : [{ instance, shape }];
  });
  return {
    program,
    codeDigest: codeDigest(plan, code),
    memories: new Set(
      shapes.flatMap(({ instance, shape }) => shape.memories.map(({ index }) => nameOfMemory({ instance, index }))),
    ),
    globals: new Set(
      shapes.flatMap(({ instance, shape }) =>
        shape.globals.map(({ index, type }) => nameOfGlobal({ instance, name: `thaw:global${index}`, type })),
      ),
    ),
  };
}

/** Holds a manifest against its program; throws a reader's error naming the field at fault. */
export function checkManifest({ codeDigest, state }: StoredManifest, checked: CheckedProgram): void {
  if (codeDigest !== checked.codeDigest) refuseField('codeDigest', checked.codeDigest, codeDigest);
  if (state.kind === 'restorable') {
    checkMemories(state, checked);
    checkGlobals(state, checked);
  }
}

const nameOfMemory = ({ instance, index }: Pick<MemoryState, 'instance' | 'index'>): string =>
  `memory ${index} of instance ${instance}`;

const nameOfGlobal = ({ instance, name, type }: Pick<GlobalState, 'instance' | 'name' | 'type'>): string =>
  `${type} ${name} of instance ${instance}`;

function checkInstance({ module, imports }: CoreInstantiation, index: number, modules: number): void {
  const path = `plan.instances[${index}]`;
  if (module >= modules) refuseField(`${path}.module`, `one of ${modules} modules`, module);
  imports.forEach(({ from }, at) => checkSource(from, index, `${path}.imports[${at}].from`));
}

/** An instance is linked from those before it, `earlier` in number. */
function checkSource(from: ImportSource, earlier: number, path: string): void {
  if (from.kind === 'core') checkExportRef(from, earlier, path);
  if (from.kind === 'host') checkOptions(from.options, earlier, `${path}.options`);
}

function checkOptions(options: CanonOptions, earlier: number, path: string): void {
  for (const key of ['memory', 'realloc', 'postReturn'] as const) {
    const ref = options[key];
    if (ref !== null) checkExportRef(ref, earlier, `${path}.${key}`);
  }
}

function checkExportRef({ instance }: CoreExportRef, earlier: number, path: string): void {
  if (instance >= earlier) refuseField(`${path}.instance`, `one of the ${earlier} instances before it`, instance);
}

/** Each memory that an instance defines has one state, and there are no others. */
function checkMemories({ memories }: Restorable, { memories: defined }: CheckedProgram): void {
  const missing = new Set(defined);
  memories.forEach((memory, at) => {
    const name = nameOfMemory(memory);
    if (!missing.delete(name)) refuseField(`state.memories[${at}]`, 'one state for each memory that is defined', name);
    checkMemory(memory, `state.memories[${at}]`);
  });
  for (const name of missing) refuseField('state.memories', `a state for ${name}`, undefined);
}

function checkMemory({ pages, max, base, delta, nonZeroPages, deltaPages }: MemoryState, path: string): void {
  const bytes = pages * WASM_PAGE_BYTES;
  if (max !== null && max < pages) refuseField(`${path}.max`, `null or at least its ${pages} pages`, max);
  // A longer base, once mapped, would make addresses valid that V8 counts on to fault.
  if (base !== null && (base.bytes > bytes || base.bytes % IMAGE_PAGE_BYTES !== 0)) {
    refuseField(`${path}.base.bytes`, `whole image pages, at most ${bytes} bytes`, base.bytes);
  }
  const imagePages = bytes / IMAGE_PAGE_BYTES;
  if (nonZeroPages > imagePages) refuseField(`${path}.nonZeroPages`, `at most ${imagePages}`, nonZeroPages);
  const isCountRight = delta === null ? deltaPages === 0 : deltaPages > 0 && deltaPages <= imagePages;
  if (!isCountRight)
    refuseField(`${path}.deltaPages`, delta === null ? '0 without a delta' : `1 to ${imagePages}`, deltaPages);
}

/** Each mutable global that an instance defines has one value, and there are no others. */
function checkGlobals({ globals }: Restorable, { globals: defined }: CheckedProgram): void {
  const missing = new Set(defined);
  globals.forEach((global, at) => {
    const name = nameOfGlobal(global);
    if (!missing.delete(name)) refuseField(`state.globals[${at}]`, 'one value for each global that is defined', name);
  });
  for (const name of missing) refuseField('state.globals', `a value for ${name}`, undefined);
}
