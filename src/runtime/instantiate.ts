import { ThawError, invariant } from '../errors.ts';
import type { CanonOptions, CoreExportRef, CoreImport, LinkPlan, ModuleShape } from '../wasm/plan.ts';
import { Abi, type Realloc, type Reallocating } from '../wasi/abi.ts';
import type { Guest } from '../wasi/guest.ts';
import type { Host } from '../wasi/host.ts';
import { waitingImport } from './waiting-import.ts';

/** Links and instantiates a plan's core modules. Freezing and serving go through the same code. */

/** `instance` indexes the plan's instances, `index` the memories of its module. */
export type MemoryKey = { readonly instance: number; readonly index: number };

export type LinkedInstances = readonly WebAssembly.Exports[];

export type LinkInput = {
  readonly plan: LinkPlan;
  /** One entry per `plan.modules`. */
  readonly modules: readonly { readonly module: WebAssembly.Module; readonly shape: ModuleShape }[];
  /** The memory behind `thaw`.`memory<index>` of an instance. */
  readonly memory: (key: MemoryKey) => WebAssembly.Memory;
  readonly control: WebAssembly.Memory;
  /** What a core module gets for a lowered host function or a resource drop. */
  readonly hostImport: (from: HostImport, linked: LinkedInstances) => unknown;
};

export type HostImport = Exclude<CoreImport['from'], { kind: 'core' }>;

/**
 * Instantiates the modules in the plan's order.
 * @returns the exports of each instance
 * @throws what a start function throws; WebAssembly.LinkError when the plan and the modules do not fit
 */
export function instantiatePlan(input: LinkInput): LinkedInstances {
  const linked: WebAssembly.Exports[] = [];
  for (const [index, instantiation] of input.plan.instances.entries()) {
    const code = input.modules[instantiation.module];
    invariant(code !== undefined, `the plan's instance ${index} names a module that it has`);
    const imports = thawImports(code.shape, index, input);
    for (const wanted of instantiation.imports) {
      (imports[wanted.module] ??= {})[wanted.name] = resolveImport(wanted, linked, input);
    }
    linked.push(new WebAssembly.Instance(code.module, imports).exports);
  }
  return linked;
}

/** The memories that the rewriter turned into imports, and the control memory. */
function thawImports(shape: ModuleShape, instance: number, input: LinkInput): WebAssembly.Imports {
  const own: Record<string, unknown> = { control: input.control };
  for (const { index } of shape.memories) own[`memory${index}`] = input.memory({ instance, index });
  return { thaw: own };
}

function resolveImport({ from }: CoreImport, linked: LinkedInstances, input: LinkInput): unknown {
  return from.kind === 'core' ? exportOf(linked, from) : input.hostImport(from, linked);
}

/** @throws ThawError INTERNAL when the plan names an export that is not there */
export function exportOf(linked: LinkedInstances, ref: CoreExportRef): WebAssembly.ExportValue {
  const value = linked[ref.instance]?.[ref.name];
  invariant(value !== undefined, `core instance ${ref.instance} exports ${ref.name}`);
  return value;
}

/**
 * The host's side of one component instance: gives core modules the host's functions, bound to `guest`. One {@link Abi}
 * per distinct set of canon options.
 */
export class HostBinder {
  readonly #host: Host;
  readonly #guest: Guest;
  readonly #abis = new Map<string, Abi>();
  readonly #reallocating: Reallocating = { now: false };

  constructor(host: Host, guest: Guest) {
    this.#host = host;
    this.#guest = guest;
  }

  bind(from: HostImport, linked: LinkedInstances): unknown {
    const guest = this.#guest;
    if (from.kind === 'resource-drop') {
      const resource = this.#host.resource(from, from.resource);
      return (handle: number) => {
        guest.checkAborted();
        guest.handles.drop(handle, resource);
      };
    }
    const func = this.#host.func(from, from.func);
    const abi = this.#abi(from.options, linked);
    return func.kind === 'waiting' ? waitingImport(func.core, func.bind(guest, abi)) : func.bind(guest, abi);
  }

  #abi(options: CanonOptions, linked: LinkedInstances): Abi {
    const key = JSON.stringify([options.memory, options.realloc, options.encoding]);
    let abi = this.#abis.get(key);
    if (abi === undefined) {
      abi = new Abi({
        handles: this.#guest.handles,
        memory: options.memory === null ? null : memoryOf(linked, options.memory),
        realloc: options.realloc === null ? null : reallocOf(linked, options.realloc),
        encoding: options.encoding,
        reallocating: this.#reallocating,
      });
      this.#abis.set(key, abi);
    }
    return abi;
  }
}

function memoryOf(linked: LinkedInstances, ref: CoreExportRef): WebAssembly.Memory {
  const value = exportOf(linked, ref);
  if (value instanceof WebAssembly.Memory) return value;
  throw new ThawError('WASM_MALFORMED', `core instance ${ref.instance} exports ${ref.name}, but not as a memory`);
}

function reallocOf(linked: LinkedInstances, ref: CoreExportRef): Realloc {
  const value = exportOf(linked, ref);
  if (typeof value === 'function') return value as unknown as Realloc;
  throw new ThawError('WASM_MALFORMED', `core instance ${ref.instance} exports ${ref.name}, but not as a function`);
}
