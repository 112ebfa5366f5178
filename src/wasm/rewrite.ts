import { invariant } from '../errors.ts';
import { CONTROL_MEMORY_PAGES, CONTROL_PAGES_WORD } from '../runtime/control.ts';
import { codeFacts, type MemorySite, type Site } from './analyze.ts';
import { checkCode, growFunctionBody, writeI32Access } from './grow.ts';
import { type CoreModule, parseModule, readerOf, SECTION, SECTION_ORDER, sectionOf } from './module.ts';
import { OP } from './opcodes.ts';
import type { ModuleShape } from './plan.ts';
import { malformed, unsupported } from './reader.ts';
import { Writer } from './writer.ts';

export type RewriteOptions = {
  /** `strip`: without active data segments and start function, for restoring. `keep`: with both, for a first start. */
  readonly state: 'keep' | 'strip';
  /** Whether to keep the name section. Other custom sections are always dropped. */
  readonly names: boolean;
  /** `false`: without checks, so that nothing stops a guest. Only to measure what the checks cost. */
  readonly checks?: boolean;
};

/** All that the rewriter adds is called so, and no guest may use it: names of exports, and of the imported module. */
const EXPORT_PREFIX = 'thaw:';
export const IMPORT_MODULE = 'thaw';
export const CONTROL_IMPORT = 'control';

const EXTERN_MEMORY = 0x02;
const EXTERN_GLOBAL = 0x03;
const TYPE_I32 = 0x7f;
const MUTABLE = 0x01;

/** Limits of a memory import that fits every memory: minimum 0, no maximum. */
const ANY_LIMITS = [0x00, 0x00];
const SHARED_WITH_MAXIMUM = 0x03;

/** What is added to the module, with the indexes it gets. `memories` are those that the code sizes, ascending. */
type Plan = {
  readonly module: CoreModule;
  readonly options: RewriteOptions;
  readonly sites: readonly Site[];
  readonly controlMemory: number;
  /** What stands at a check. */
  readonly check: Uint8Array;
  /** Memory index to the index of its global `thaw:memory<index>`. */
  readonly globalOf: ReadonlyMap<number, number>;
  /** Memory index to the index of the function that stands for `memory.grow`. */
  readonly growOf: ReadonlyMap<number, number>;
  /** The type of those functions, and whether it has to be added. */
  readonly growType: { readonly index: number; readonly isNew: boolean };
  readonly shape: ModuleShape;
};

/**
 * Rewrites a core module so that its state lives outside of its code: memories are imported, mutable globals exported,
 * `memory.size` and `memory.grow` work on the control memory (see runtime/control.ts), and state `strip` leaves out data
 * segments and start function. Checks make it trap when its time is up (see checks.ts). All indexes stay what they were.
 * Modules that differ in state only give equal code.
 *
 * Throws WASM_MALFORMED, or WASM_UNSUPPORTED for shared and 64-bit memories, custom page sizes, and modules that already
 * use the names that are added here.
 */
export function rewriteModule(
  input: Uint8Array | CoreModule,
  options: RewriteOptions,
): { code: Uint8Array; shape: ModuleShape } {
  const module = input instanceof Uint8Array ? parseModule(input) : input;
  refuseUnsupported(module);
  const plan = planRewrite(module, options);
  const out = new Writer(module.bytes.length + 4096);
  out.bytes(module.bytes.subarray(0, 8));
  for (const id of SECTION_ORDER) writeSection(out, plan, id);
  for (const { name, whole } of module.customs) {
    if (options.names && name === 'name') out.bytes(module.bytes.subarray(whole.start, whole.end));
  }
  return { code: out.finish().slice(), shape: plan.shape };
}

function refuseUnsupported(module: CoreModule): void {
  module.memories.forEach(({ shared, address, pageSizeLog2 }, index) => {
    const at = sectionOf(module, index < module.imported.memory ? SECTION.import : SECTION.memory)?.body.start ?? 0;
    if (shared) throw unsupported(`shared memory ${index}`, at);
    if (address === 'i64') throw unsupported(`64-bit memory ${index}`, at);
    if (pageSizeLog2 !== 16) throw unsupported(`memory ${index} with pages of 2^${pageSizeLog2} bytes`, at);
  });
  const reserved = module.exports.find(({ name }) => name.startsWith(EXPORT_PREFIX));
  if (reserved) {
    const at = sectionOf(module, SECTION.export)?.body.start ?? 0;
    throw unsupported(`export with the reserved name ${JSON.stringify(reserved.name)}`, at);
  }
  const taken = module.imports.find((entry) => entry.module === IMPORT_MODULE);
  if (taken) throw unsupported(`import from the reserved module "${IMPORT_MODULE}"`, taken.range.start);
}

function planRewrite(module: CoreModule, options: RewriteOptions): Plan {
  const all = codeFacts(module).sites;
  const ofMemories = all.filter((site): site is MemorySite => site.op !== 'check');
  const bad = ofMemories.find(({ memory }) => memory >= module.memories.length);
  if (bad) throw malformed(`memory ${bad.memory} of ${module.memories.length} used`, bad.start);
  const sized = distinct(ofMemories.map(({ memory }) => memory));
  const grown = distinct(ofMemories.filter(({ op }) => op === 'grow').map(({ memory }) => memory));
  const controlMemory = module.memories.length;
  return {
    module,
    options,
    sites: options.checks === false ? ofMemories : all,
    controlMemory,
    check: checkCode(controlMemory),
    globalOf: new Map(sized.map((memory, at) => [memory, module.globals.length + at])),
    growOf: new Map(grown.map((memory, at) => [memory, module.functions.length + at])),
    growType: findGrowType(module),
    shape: { memories: definedMemories(module), globals: mutableGlobals(module), sized },
  };
}

const distinct = (values: readonly number[]): number[] => [...new Set(values)].toSorted((a, b) => a - b);

function findGrowType(module: CoreModule): Plan['growType'] {
  const index = module.types.findIndex(
    (entry) => entry.kind === 'func' && entry.type.params.join() === 'i32' && entry.type.results.join() === 'i32',
  );
  return index < 0 ? { index: module.types.length, isNew: true } : { index, isNew: false };
}

function definedMemories(module: CoreModule): ModuleShape['memories'] {
  return module.memories
    .map(({ min, max }, index) => ({ index, min, max }))
    .filter(({ index }) => index >= module.imported.memory);
}

function mutableGlobals(module: CoreModule): ModuleShape['globals'] {
  return module.globals.flatMap(({ type, mutable }, index) =>
    index >= module.imported.global && mutable && type !== 'ref' && type !== 'v128' ? [{ index, type }] : [],
  );
}

/** Writes what becomes of the section with this id, which the module may have or not. */
function writeSection(out: Writer, plan: Plan, id: number): void {
  switch (id) {
    case SECTION.type:
      return writeTypes(out, plan);
    case SECTION.import:
      return writeImports(out, plan);
    case SECTION.function:
      return extend(out, plan, id, plan.growOf.size, (body) => {
        for (const _ of plan.growOf) body.u32(plan.growType.index);
      });
    case SECTION.memory:
      return; // All memories are imported now.
    case SECTION.global:
      return extend(out, plan, id, plan.globalOf.size, (body) => {
        for (const _ of plan.globalOf) body.bytes([TYPE_I32, MUTABLE, OP.i32Const, 0, OP.end]);
      });
    case SECTION.export:
      return writeExports(out, plan);
    case SECTION.start:
      if (plan.options.state === 'keep') copySection(out, plan, id);
      return;
    case SECTION.code:
      return writeCode(out, plan);
    case SECTION.dataCount:
      if (keepsData(plan)) copySection(out, plan, id);
      return;
    case SECTION.data:
      return writeData(out, plan);
    default:
      copySection(out, plan, id);
  }
}

function copySection(out: Writer, { module }: Plan, id: number): void {
  const section = sectionOf(module, id);
  if (section) out.bytes(module.bytes.subarray(section.whole.start, section.whole.end));
}

/** Copies a section that is a vector and adds `extra` items, written by `write`. Without any it stays as it is. */
function extend(out: Writer, plan: Plan, id: number, extra: number, write: (body: Writer) => void): void {
  if (extra === 0) return copySection(out, plan, id);
  const section = sectionOf(plan.module, id);
  const body = new Writer();
  if (section) {
    const reader = readerOf(plan.module, section.body);
    body.u32(reader.u32() + extra).bytes(reader.bytes(reader.left));
  } else {
    body.u32(extra);
  }
  write(body);
  out.section(id, body.finish());
}

function writeTypes(out: Writer, plan: Plan): void {
  const extra = plan.growType.isNew && plan.growOf.size > 0 ? 1 : 0;
  extend(out, plan, SECTION.type, extra, (body) => body.bytes([0x60, 1, TYPE_I32, 1, TYPE_I32]));
}

/** Existing imports with the limits of memories lifted, then the module's own memories, then the control memory. */
function writeImports(out: Writer, plan: Plan): void {
  const { module, shape } = plan;
  const control = plan.sites.length > 0 ? 1 : 0;
  const count = module.imports.length + shape.memories.length + control;
  if (count === 0) return copySection(out, plan, SECTION.import);
  const body = new Writer().u32(count);
  const memoryImport = (from: string, name: string): Writer => body.name(from).name(name).byte(EXTERN_MEMORY);
  for (const { module: from, name, type, range } of module.imports) {
    if (type.kind === 'memory') memoryImport(from, name).bytes(ANY_LIMITS);
    else body.bytes(module.bytes.subarray(range.start, range.end));
  }
  for (const { index } of shape.memories) memoryImport(IMPORT_MODULE, `memory${index}`).bytes(ANY_LIMITS);
  if (control) {
    // Of any size: V8 leaves out loads that cannot trap, and a load within the least size cannot.
    memoryImport(IMPORT_MODULE, CONTROL_IMPORT).byte(SHARED_WITH_MAXIMUM).u32(0).u32(CONTROL_MEMORY_PAGES);
  }
  out.section(SECTION.import, body.finish());
}

function writeExports(out: Writer, plan: Plan): void {
  const { globals, sized } = plan.shape;
  extend(out, plan, SECTION.export, globals.length + sized.length, (body) => {
    const globalExport = (name: string, index: number): Writer =>
      body
        .name(EXPORT_PREFIX + name)
        .byte(EXTERN_GLOBAL)
        .u32(index);
    for (const { index } of globals) globalExport(`global${index}`, index);
    for (const [memory, index] of plan.globalOf) globalExport(`memory${memory}`, index);
  });
}

/** Copies runs of bodies that have no sites, sizes and all; rewrites the others; adds the functions for `memory.grow`. */
function writeCode(out: Writer, plan: Plan): void {
  const { module, sites, growOf } = plan;
  const section = sectionOf(module, SECTION.code);
  if (!section || sites.length === 0) return copySection(out, plan, SECTION.code);
  const code = new Writer(section.body.end - section.body.start + 1024);
  const reader = readerOf(module, section.body);
  code.u32(reader.u32() + growOf.size);
  let copied = reader.offset;
  for (const [index, bodySites] of Map.groupBy(sites, ({ body }) => body)) {
    const previousEnd = index === 0 ? reader.offset : module.bodies[index - 1]?.end;
    const range = module.bodies[index];
    invariant(range && previousEnd !== undefined, 'a site is in a body of the module');
    code.bytes(module.bytes.subarray(copied, previousEnd));
    const body = rewriteBody(plan, range.start, range.end, bodySites);
    code.u32(body.length).bytes(body);
    copied = range.end;
  }
  code.bytes(module.bytes.subarray(copied, section.body.end));
  for (const memory of growOf.keys()) {
    const body = growFunctionBody({ memory, control: plan.controlMemory, addressGlobal: globalFor(plan, memory) });
    code.u32(body.length).bytes(body);
  }
  out.section(SECTION.code, code.finish());
}

function rewriteBody(plan: Plan, start: number, end: number, sites: readonly Site[]): Uint8Array {
  const body = new Writer(end - start + plan.check.length * sites.length);
  let copied = start;
  for (const site of sites) {
    body.bytes(plan.module.bytes.subarray(copied, site.start));
    writeReplacement(body, plan, site);
    copied = site.end;
  }
  return body.bytes(plan.module.bytes.subarray(copied, end)).finish();
}

function writeReplacement(body: Writer, plan: Plan, site: Site): void {
  switch (site.op) {
    case 'check':
      body.bytes(plan.check);
      return;
    case 'size':
      body.byte(OP.globalGet).u32(globalFor(plan, site.memory));
      writeI32Access(body, OP.i32Load, plan.controlMemory, CONTROL_PAGES_WORD);
      return;
    case 'grow': {
      const grow = plan.growOf.get(site.memory);
      invariant(grow !== undefined, 'a memory that is grown has its function');
      body.byte(OP.call).u32(grow);
    }
  }
}

function globalFor(plan: Plan, memory: number): number {
  const index = plan.globalOf.get(memory);
  invariant(index !== undefined, 'a memory that is sized has its global');
  return index;
}

/** Data can go when nothing of the code refers to segments. */
function keepsData({ module, options }: Plan): boolean {
  if (options.state === 'keep') return true;
  const { uses } = codeFacts(module);
  return (['memory.init', 'data.drop', 'array.new_data', 'array.init_data'] as const).some((name) => uses.has(name));
}

/**
 * Stripped, an active segment becomes an empty passive one: to the code that is the same, as instantiation drops active
 * segments once they are copied.
 */
function writeData(out: Writer, plan: Plan): void {
  if (!keepsData(plan)) return;
  if (plan.options.state === 'keep' || !sectionOf(plan.module, SECTION.data))
    return copySection(out, plan, SECTION.data);
  const body = new Writer();
  body.vec(plan.module.data, ({ mode, whole }) => {
    if (mode === 'passive') body.bytes(plan.module.bytes.subarray(whole.start, whole.end));
    else body.bytes([0x01, 0x00]);
  });
  out.section(SECTION.data, body.finish());
}
