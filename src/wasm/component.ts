import { ThawError } from '../errors.ts';
import {
  ASYNC_ADVICE,
  checkNesting,
  readAlias,
  readCoreSort,
  readExternName,
  readExternType,
  readSort,
  readTypeDef,
  refused,
} from './component-types.ts';
import type { Alias, ExternType, SortIndex, TypeDef } from './component-types.ts';
import { coreModuleNames, type CustomSection, type Producer, producersOf } from './custom-sections.ts';
import type { StringEncoding } from './plan.ts';
import { malformed, Reader, unsupported } from './reader.ts';

/** A core module as it lies in the component. Its identity counts: each definition is one module. */
export type ModuleDef = { readonly offset: number; readonly bytes: Uint8Array };

/** Canonical ABI options, still as indexes. */
export type OptionIndexes = {
  readonly encoding: StringEncoding;
  readonly memory: number | null;
  readonly realloc: number | null;
  readonly postReturn: number | null;
};

export type NamedIndex = { readonly name: string } & SortIndex;

/** The definitions that make up a component, each with its offset in the file. */
export type Definition = { readonly offset: number } & (
  | Alias
  | { readonly kind: 'core module'; readonly module: ModuleDef }
  | {
      readonly kind: 'core instantiate';
      readonly module: number;
      readonly args: readonly { readonly name: string; readonly instance: number }[];
    }
  | { readonly kind: 'core bag'; readonly exports: readonly NamedIndex[] }
  | { readonly kind: 'core types'; readonly count: number }
  | { readonly kind: 'component'; readonly component: ComponentDef }
  | { readonly kind: 'instantiate'; readonly component: number; readonly args: readonly NamedIndex[] }
  | { readonly kind: 'bag'; readonly exports: readonly NamedIndex[] }
  | { readonly kind: 'type'; readonly type: TypeDef }
  | { readonly kind: 'lift'; readonly func: number; readonly options: OptionIndexes; readonly type: number }
  | { readonly kind: 'lower'; readonly func: number; readonly options: OptionIndexes }
  | { readonly kind: 'resource drop'; readonly type: number }
  | { readonly kind: 'import'; readonly name: string; readonly type: ExternType }
  | ({ readonly kind: 'export'; readonly name: string } & SortIndex)
);

export type ComponentDef = {
  readonly definitions: readonly Definition[];
  /** From the name section, by core module index. */
  readonly moduleNames: ReadonlyMap<number, string>;
  readonly producers: readonly Producer[];
};

const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, '0')}`;

const MAGIC = [0x00, 0x61, 0x73, 0x6d];
/** Layer 1 is a component; its binary format is still numbered before 1.0. */
const COMPONENT_VERSION = 0x0d;

const notAComponent = (what: string): ThawError => new ThawError('NOT_A_COMPONENT', `reading the component: ${what}`);

/** Throws NOT_A_COMPONENT, in the words of whoever gave the wrong file, unless `bytes` are WebAssembly. */
function checkMagic(bytes: Uint8Array): void {
  if (MAGIC.every((byte, at) => bytes[at] === byte)) return;
  if (bytes.length === 0) throw notAComponent('the file is empty');
  const head = bytes.subarray(0, 64);
  const text = new TextDecoder('latin1').decode(head);
  if (/^\s*(\(\s*(component|module)\b|;;|\(;)/.test(text)) {
    throw notAComponent(
      'the file is WebAssembly text; turn it into a binary first, with jco parse or wasm-tools parse',
    );
  }
  const shown = [...head.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  throw notAComponent(`the file is not WebAssembly: it begins with ${shown} (${JSON.stringify(text.slice(0, 16))})`);
}

/** Reads the 8 bytes that begin a component. Inside another component a core module is damage, outside the wrong file. */
function readPreamble(reader: Reader): void {
  const { offset } = reader;
  const magic = reader.bytes(4);
  if (!MAGIC.every((byte, at) => magic[at] === byte)) throw malformed('a nested component without magic', offset);
  const version = reader.byte() | (reader.byte() << 8);
  const layer = reader.byte() | (reader.byte() << 8);
  if (layer === 0 && version === 1) {
    if (offset > 0) throw malformed('a core module where a nested component must be', offset);
    throw notAComponent('the file is a core module; name its world with --wit and --world, and thaw wraps it');
  }
  if (layer !== 1) throw malformed(`layer ${layer}, where a component has 1`, offset);
  if (version !== COMPONENT_VERSION) {
    throw unsupported(
      `version ${version} of the component format, where ${COMPONENT_VERSION} is known (build the guest with current tools)`,
      offset,
    );
  }
}

/**
 * Reads a component's binary format into its definitions, nested components included. Nothing is resolved yet: indexes
 * are as written.
 *
 * Throws NOT_A_COMPONENT for any other file, WASM_MALFORMED with the offset for damage, COMPONENT_UNSUPPORTED for a
 * construct that thaw does not run, WASM_UNSUPPORTED for another version of the format.
 * Source: component-model design/mvp/Binary.md.
 */
export function readComponent(bytes: Uint8Array): ComponentDef {
  checkMagic(bytes);
  return readNested(new Reader(bytes), 0);
}

function readNested(reader: Reader, depth: number): ComponentDef {
  checkNesting(depth, reader.offset);
  readPreamble(reader);
  const definitions: Definition[] = [];
  const customs: CustomSection[] = [];
  while (!reader.eof) {
    const { offset } = reader;
    const id = reader.byte();
    const content = reader.sub(reader.u32());
    if (id === 0) {
      customs.push({ name: content.name(), content: content.bytes(content.left) });
      continue;
    }
    for (const definition of readSection(id, content, depth, offset)) definitions.push(definition);
    content.expectEnd(`section ${id}`);
  }
  return { definitions, moduleNames: coreModuleNames(customs), producers: producersOf(customs) };
}

/** The definitions of one section. `offset` is where the section begins. */
function readSection(id: number, reader: Reader, depth: number, offset: number): readonly Definition[] {
  const each = (what: string, read: (at: number) => Definition): Definition[] =>
    reader.vec(what, () => read(reader.offset));
  switch (id) {
    case 1: {
      const at = reader.offset;
      return [{ offset: at, kind: 'core module', module: { offset: at, bytes: reader.bytes(reader.left) } }];
    }
    case 2:
      return each('core instances', (at) => readCoreInstance(reader, at));
    case 3: {
      // Core types describe core modules that are imported or exported, which thaw refuses: only their number counts.
      const count = reader.count('core types');
      reader.skip(reader.left);
      return [{ offset, kind: 'core types', count }];
    }
    case 4:
      return [{ offset, kind: 'component', component: readNested(reader, depth + 1) }];
    case 5:
      return each('instances', (at) => readInstance(reader, at));
    case 6:
      return each('aliases', (at) => ({ offset: at, ...readAlias(reader) }));
    case 7:
      return each('types', (at) => ({ offset: at, kind: 'type', type: readTypeDef(reader, depth) }));
    case 8:
      return each('canonical definitions', (at) => readCanon(reader, at));
    case 9:
      throw refused('a component start function, which no toolchain makes yet', offset);
    case 10:
      return each('imports', (at) => ({
        offset: at,
        kind: 'import',
        name: readExternName(reader),
        type: readExternType(reader),
      }));
    case 11:
      return each('exports', (at) => readExport(reader, at));
    case 12:
      throw refused('a component value, which no toolchain makes yet', offset);
    default:
      throw malformed(`unknown component section ${id}`, offset);
  }
}

function readCoreInstance(reader: Reader, offset: number): Definition {
  const form = reader.byte();
  if (form === 0x00) {
    const module = reader.u32();
    return { offset, kind: 'core instantiate', module, args: reader.vec('arguments', () => readCoreArg(reader)) };
  }
  if (form !== 0x01) throw malformed(`unknown core instance expression ${hex(form)}`, offset);
  const exports = reader.vec('exports', () => ({
    name: reader.name(),
    sort: readCoreSort(reader),
    index: reader.u32(),
  }));
  return { offset, kind: 'core bag', exports };
}

function readCoreArg(reader: Reader): { name: string; instance: number } {
  const name = reader.name();
  const { offset } = reader;
  const sort = reader.byte();
  if (sort !== 0x12) throw malformed(`an argument of core sort ${hex(sort)}, where only instances are allowed`, offset);
  return { name, instance: reader.u32() };
}

function readInstance(reader: Reader, offset: number): Definition {
  const form = reader.byte();
  if (form === 0x00) {
    const component = reader.u32();
    const args = reader.vec('arguments', () => ({
      name: reader.name(),
      sort: readSort(reader),
      index: reader.u32(),
    }));
    return { offset, kind: 'instantiate', component, args };
  }
  if (form !== 0x01) throw malformed(`unknown instance expression ${hex(form)}`, offset);
  const exports = reader.vec('exports', () => ({
    name: readExternName(reader),
    sort: readSort(reader),
    index: reader.u32(),
  }));
  return { offset, kind: 'bag', exports };
}

function readExport(reader: Reader, offset: number): Definition {
  const name = readExternName(reader);
  const sort = readSort(reader);
  const index = reader.u32();
  const ascribed = reader.byte();
  if (ascribed > 0x01) throw malformed(`${hex(ascribed)} where 0x00 or 0x01 says if there is a type`, offset);
  // The ascribed type only widens what is exported: it says nothing about what is called.
  if (ascribed === 0x01) readExternType(reader);
  return { offset, kind: 'export', name, sort, index };
}

/** Built-ins that are refused, by opcode. */
const REFUSED_BUILTINS: ReadonlyMap<number, string> = new Map([
  [0x02, 'resource.new'],
  [0x04, 'resource.rep'],
  [0x05, 'task.cancel'],
  [0x06, 'subtask.cancel'],
  [0x07, 'resource.drop async'],
  [0x08, 'backpressure.set'],
  [0x09, 'task.return'],
  [0x0a, 'context.get'],
  [0x0b, 'context.set'],
  [0x0c, 'thread.yield'],
  [0x0d, 'subtask.drop'],
  [0x0e, 'stream.new'],
  [0x0f, 'stream.read'],
  [0x10, 'stream.write'],
  [0x11, 'stream.cancel-read'],
  [0x12, 'stream.cancel-write'],
  [0x13, 'stream.drop-readable'],
  [0x14, 'stream.drop-writable'],
  [0x15, 'future.new'],
  [0x16, 'future.read'],
  [0x17, 'future.write'],
  [0x18, 'future.cancel-read'],
  [0x19, 'future.cancel-write'],
  [0x1a, 'future.drop-readable'],
  [0x1b, 'future.drop-writable'],
  [0x1c, 'error-context.new'],
  [0x1d, 'error-context.debug-message'],
  [0x1e, 'error-context.drop'],
  [0x1f, 'waitable-set.new'],
  [0x20, 'waitable-set.wait'],
  [0x21, 'waitable-set.poll'],
  [0x22, 'waitable-set.drop'],
  [0x23, 'waitable.join'],
  [0x24, 'backpressure.inc'],
  [0x25, 'backpressure.dec'],
  [0x26, 'thread.index'],
  [0x27, 'thread.new-indirect'],
  [0x28, 'thread.resume-later'],
  [0x29, 'thread.suspend'],
  [0x2a, 'thread.suspend-then-resume'],
  [0x2b, 'thread.yield-then-resume'],
  [0x2c, 'thread.suspend-then-promote'],
  [0x2d, 'thread.yield-then-promote'],
  [0x40, 'thread.spawn-ref'],
  [0x41, 'thread.spawn-indirect'],
  [0x42, 'thread.available-parallelism'],
]);

function readCanon(reader: Reader, offset: number): Definition {
  const opcode = reader.byte();
  const builtin = REFUSED_BUILTINS.get(opcode);
  if (builtin?.startsWith('resource.') && opcode !== 0x07) {
    throw refused(
      `the built-in ${builtin}, for a resource type of the guest: thaw runs guests that use resources of the host only`,
      offset,
    );
  }
  if (builtin !== undefined) throw refused(`the built-in ${builtin}, ${ASYNC_ADVICE}`, offset);
  if (opcode === 0x03) return { offset, kind: 'resource drop', type: reader.u32() };
  if (opcode > 0x01) throw malformed(`unknown canonical definition ${hex(opcode)}`, offset);
  const sort = reader.byte();
  if (sort !== 0x00) throw malformed(`unknown form ${hex(sort)} of a canonical definition`, offset);
  const func = reader.u32();
  const options = readOptions(reader);
  if (opcode === 0x00) return { offset, kind: 'lift', func, options, type: reader.u32() };
  if (options.postReturn !== null) throw malformed('post-return on a lowered function', offset);
  return { offset, kind: 'lower', func, options };
}

const ENCODINGS = ['utf8', 'utf16', 'latin1+utf16'] as const satisfies readonly StringEncoding[];
type IndexOption = Exclude<keyof OptionIndexes, 'encoding'>;
const INDEX_OPTIONS: ReadonlyMap<number, IndexOption> = new Map([
  [0x03, 'memory'],
  [0x04, 'realloc'],
  [0x05, 'postReturn'],
]);
const REFUSED_OPTIONS: ReadonlyMap<number, string> = new Map([
  [0x06, `the canonical option async, ${ASYNC_ADVICE}`],
  [0x07, `the canonical option callback, ${ASYNC_ADVICE}`],
  [0x08, 'the canonical option core-type, a gated feature'],
  [0x09, 'the canonical option gc, a gated feature'],
]);

function readOptions(reader: Reader): OptionIndexes {
  let encoding: StringEncoding = 'utf8';
  const indexes: Record<IndexOption, number | null> = { memory: null, realloc: null, postReturn: null };
  const seen = new Set<string>();
  for (let left = reader.count('options'); left > 0; left--) {
    const { offset } = reader;
    const opcode = reader.byte();
    const why = REFUSED_OPTIONS.get(opcode);
    if (why !== undefined) throw refused(why, offset);
    const option = INDEX_OPTIONS.get(opcode);
    const name = option ?? 'string-encoding';
    if (seen.has(name)) throw malformed(`the canonical option ${name} given twice`, offset);
    seen.add(name);
    if (option === undefined) encoding = encodingOf(opcode, offset);
    else indexes[option] = reader.u32();
  }
  return { encoding, ...indexes };
}

function encodingOf(opcode: number, offset: number): StringEncoding {
  const encoding = ENCODINGS[opcode];
  if (encoding === undefined) throw malformed(`unknown canonical option ${hex(opcode)}`, offset);
  return encoding;
}
