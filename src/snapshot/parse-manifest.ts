/** Manifests and programs as they come from the store: read member by member, every member in its place. */
import { ThawError } from '../errors.ts';
import type {
  CanonOptions,
  CoreExportRef,
  CoreImport,
  CoreInstantiation,
  GlobalState,
  ImportSource,
  LiftedExport,
  LinkPlan,
  ModuleShape,
} from '../wasm/plan.ts';
import { checkManifest, checkProgram } from './check-manifest.ts';
import type { CheckedProgram } from './check-manifest.ts';
import { isDigest } from './digest.ts';
import {
  asRecord,
  count,
  list,
  nullable,
  object,
  oneOf,
  readJson,
  refuseField,
  refusing,
  text,
  textWhere,
  variant,
} from './json-reader.ts';
import type { Reader } from './json-reader.ts';
import { PROGRAM_ROLE, SNAPSHOT_FORMAT, WASM_PAGE_BYTES } from './manifest.ts';
import type { Manifest, MemoryState, ObjectRef, Program, SnapshotState, StoredManifest } from './manifest.ts';

/** Which snapshot is being read, for messages: `what` it is, and the command that makes it anew. */
export type ManifestOrigin = { readonly what: string; readonly rebuild: string };

/**
 * The most bytes that a manifest or a program may have. The largest plans seen (StarlingMonkey, QuickJS with nine
 * modules) take 0.1 MB; an image begins at 1 MB.
 */
export const MANIFEST_MAX_BYTES = 16 * 1024 * 1024;

/** A 32-bit memory ends at 4 GiB. */
const MAX_MEMORY_PAGES = 2 ** 32 / WASM_PAGE_BYTES;

/**
 * Reads a manifest object. `origin` is asked only when there is something to tell: finding the names takes long.
 *
 * @throws STORE_MANIFEST_INVALID naming the field at fault, or, for another format, the command that makes it anew.
 */
export function parseManifest(bytes: Uint8Array, origin: () => ManifestOrigin): StoredManifest {
  return parse(bytes, storedManifest, 'manifest', origin);
}

/** Reads a program object and checks that its members fit together; returns it frozen. @throws as {@link parseManifest} */
export function parseProgram(bytes: Uint8Array, origin: () => ManifestOrigin): CheckedProgram {
  return parse(bytes, (value, path) => checkProgram(deepFreeze(program(value, path))), PROGRAM_ROLE, origin);
}

/** Joins a manifest with its program, once they fit together. @throws as {@link parseManifest} */
export function joinManifest(stored: StoredManifest, checked: CheckedProgram, origin: () => ManifestOrigin): Manifest {
  refusing(
    (problem) => invalid('manifest', origin(), problem),
    () => checkManifest(stored, checked),
  );
  return { ...stored, plan: checked.program.plan, code: checked.program.code };
}

function parse<T>(bytes: Uint8Array, reader: Reader<T>, role: string, origin: () => ManifestOrigin): T {
  const refuse = (problem: string): ThawError => invalid(role, origin(), problem);
  return readJson(
    bytes,
    (value, path) => {
      const { format } = asRecord(value, path);
      if (typeof format === 'number' && format !== SNAPSHOT_FORMAT) {
        const { rebuild } = origin();
        throw refuse(`it has format ${format}, this thaw reads format ${SNAPSHOT_FORMAT}; make it anew: ${rebuild}`);
      }
      return reader(value, path);
    },
    refuse,
  );
}

const invalid = (role: string, { what }: ManifestOrigin, problem: string): ThawError =>
  new ThawError('STORE_MANIFEST_INVALID', `cannot read the ${role} of ${what}: ${problem}`);

/** Manifests share it, and none may change what another is linked by. */
function deepFreeze<T extends object>(value: T): T {
  const members: readonly unknown[] = Object.values(value);
  for (const member of members) {
    if (typeof member === 'object' && member !== null) deepFreeze(member);
  }
  return Object.freeze(value);
}

const digest = textWhere('a digest (64 lower-case hex digits)', isDigest);
const refMembers = { digest, bytes: count() };
const objectRef: Reader<ObjectRef> = object<ObjectRef>(refMembers);

const exportMembers = { instance: count(), name: text };
const interfaceMembers = { interface: text, version: text };
const coreExport: Reader<CoreExportRef> = object<CoreExportRef>(exportMembers);
const canonOptions: Reader<CanonOptions> = object<CanonOptions>({
  memory: nullable(coreExport),
  realloc: nullable(coreExport),
  postReturn: nullable(coreExport),
  encoding: oneOf('utf8', 'utf16', 'latin1+utf16'),
});

const importSource: Reader<ImportSource> = variant<ImportSource>({
  host: object({ kind: oneOf('host'), ...interfaceMembers, func: text, options: canonOptions }),
  'resource-drop': object({ kind: oneOf('resource-drop'), ...interfaceMembers, resource: text }),
  core: object({ kind: oneOf('core'), ...exportMembers }),
});

const plan: Reader<LinkPlan> = object<LinkPlan>({
  modules: list(object({ name: text })),
  instances: list(
    object<CoreInstantiation>({
      module: count(),
      imports: list(
        object<CoreImport>({
          module: text,
          name: text,
          kind: oneOf('func', 'table', 'memory', 'global', 'tag'),
          from: importSource,
        }),
      ),
    }),
  ),
  exports: list(object<LiftedExport>({ ...interfaceMembers, func: text, core: coreExport, options: canonOptions })),
  imports: list(object<LinkPlan['imports'][number]>({ ...interfaceMembers, funcs: list(text) })),
});

const globalType = oneOf('i32', 'i64', 'f32', 'f64');
const memoryPages = count(MAX_MEMORY_PAGES);

const shape: Reader<ModuleShape> = object<ModuleShape>({
  memories: list(object({ index: count(), min: memoryPages, max: nullable(memoryPages) })),
  globals: list(object({ index: count(), type: globalType })),
  sized: list(count()),
});

const program: Reader<Program> = object<Program>({
  format: oneOf(SNAPSHOT_FORMAT),
  plan,
  code: list(object<Program['code'][number]>({ ...refMembers, shape })),
});

const memoryState: Reader<MemoryState> = object<MemoryState>({
  instance: count(),
  index: count(),
  pages: memoryPages,
  max: nullable(memoryPages),
  base: nullable(objectRef),
  delta: nullable(objectRef),
  nonZeroPages: count(),
  deltaPages: count(),
});

const globalMembers = object<GlobalState>({ instance: count(), name: text, type: globalType, value: text });

const globalState: Reader<GlobalState> = (value, path) => {
  const state = globalMembers(value, path);
  return isGlobalValue(state) ? state : refuseField(`${path}.value`, `the one text of an ${state.type}`, state.value);
};

/** Whether the text is how its number is written: two texts for one state would give one snapshot two digests. */
function isGlobalValue({ type, value }: GlobalState): boolean {
  if (type === 'i32' || type === 'i64') {
    return (
      /^(0|-?[1-9]\d{0,18})$/.test(value) && BigInt.asIntN(type === 'i32' ? 32 : 64, BigInt(value)) === BigInt(value)
    );
  }
  const number = Number(value);
  const written = Object.is(number, -0) ? '-0' : String(number);
  return written === value && !Number.isNaN(number) && (type === 'f64' || Object.is(Math.fround(number), number));
}

const state: Reader<SnapshotState> = variant<SnapshotState>({
  restorable: object({ kind: oneOf('restorable'), memories: list(memoryState), globals: list(globalState) }),
  fresh: object({ kind: oneOf('fresh'), reasons: list(text) }),
});

const storedManifest: Reader<StoredManifest> = object<StoredManifest>({
  format: oneOf(SNAPSHOT_FORMAT),
  program: object<ObjectRef>({ digest, bytes: count(MANIFEST_MAX_BYTES) }),
  codeDigest: digest,
  state,
  component: object<StoredManifest['component']>({ ...refMembers, producers: list(text) }),
});
