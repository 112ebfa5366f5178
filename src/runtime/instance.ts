import { ThawError, invariant } from '../errors.ts';
import type { GlobalState, LiftedExport, LinkPlan } from '../wasm/plan.ts';
import type { CompiledModule } from './code.ts';
import { CONTROL_MAX_MEMORIES } from './control.ts';
import type { ControlMemory, MemorySize } from './control-memory.ts';
import { exportOf, instantiatePlan, type HostImport, type LinkedInstances, type MemoryKey } from './instantiate.ts';

/** 2^16 pages of 64 KiB: what a 32-bit memory can have. */
const MAX_PAGES = 65_536;

/** Where start functions find the size of their memory; see {@link ControlMemory}. */
const START_RECORD = 0;

/**
 * What start functions may let their memories grow by, in 64 KiB pages: 1 GiB. They run before a route's limit is known,
 * and by far most of them never grow a memory.
 */
const START_HEADROOM = 16_384;

/** A memory that some module of a plan defines: what it must be at least, and what it may grow to. */
export type MemoryNeed = { readonly key: MemoryKey; readonly min: number; readonly max: number | null };

/** The memories that an instance of the plan needs, in the order of its instances. */
export function memoryNeeds(plan: LinkPlan, modules: readonly CompiledModule[]): MemoryNeed[] {
  return plan.instances.flatMap(({ module }, instance) =>
    (modules[module]?.shape.memories ?? []).map(({ index, min, max }) => ({ key: { instance, index }, min, max })),
  );
}

export type InstanceInput = {
  readonly plan: LinkPlan;
  readonly modules: readonly CompiledModule[];
  /** One per memory need, same order. */
  readonly memories: readonly WebAssembly.Memory[];
  readonly control: ControlMemory;
  /** The slot's record in the control memory. */
  readonly record: number;
  readonly hostImport: (from: HostImport, linked: LinkedInstances) => unknown;
};

/** One linked component instance, with its state laid open: sizes of memories, mutable globals. */
export class Instance {
  readonly #linked: LinkedInstances;
  readonly #control: ControlMemory;
  readonly #record: number;
  /** Address of the pages and limit words, per memory need. */
  readonly #words: readonly number[];
  readonly #globals: readonly {
    readonly instance: number;
    readonly name: string;
    readonly type: GlobalState['type'];
    readonly global: WebAssembly.Global;
  }[];

  /** Instantiates, running start functions where the modules have any. @throws what they throw */
  constructor(input: InstanceInput) {
    const needs = memoryNeeds(input.plan, input.modules);
    invariant(needs.length === input.memories.length, 'an instance is given the memories that it needs');
    if (needs.length > CONTROL_MAX_MEMORIES) {
      throw new ThawError(
        'COMPONENT_UNSUPPORTED',
        `the component has ${needs.length} memories, where ${CONTROL_MAX_MEMORIES} is the limit`,
      );
    }
    this.#control = input.control;
    this.#record = input.record;
    this.#words = needs.map((_, index) => input.record + index * 8);
    this.#linked = this.#instantiate(input, needs);
    this.#assignWords(input);
    this.#globals = input.plan.instances.flatMap(({ module }, instance) =>
      (input.modules[module]?.shape.globals ?? []).map(({ index, type }) => {
        const name = `thaw:global${index}`;
        return { instance, name, type, global: globalOf(this.#linked, instance, name) };
      }),
    );
  }

  #instantiate(input: InstanceInput, needs: readonly MemoryNeed[]): LinkedInstances {
    const keyed = new Map(needs.map(({ key }, index) => [keyText(key), input.memories[index]]));
    const [first] = needs;
    if (first !== undefined) this.#control.setSize(START_RECORD, { pages: first.min, limit: first.max ?? MAX_PAGES });
    this.#control.setHeadroom(START_RECORD, START_HEADROOM);
    const linked = instantiatePlan({
      plan: input.plan,
      modules: input.modules,
      control: this.#control.memory,
      hostImport: input.hostImport,
      memory: (key) => {
        const memory = keyed.get(keyText(key));
        invariant(memory !== undefined, `a memory for ${keyText(key)}`);
        return memory;
      },
    });
    for (const [index, { min, max }] of needs.entries()) {
      const pages = index === 0 ? this.#control.size(START_RECORD).pages : min;
      this.setSize(index, { pages, limit: max ?? MAX_PAGES });
    }
    return linked;
  }

  /** Tells each module where the sizes of its memories are: by the identity of the memory that it was linked with. */
  #assignWords({ plan, modules, memories }: InstanceInput): void {
    const words = new Map(memories.map((memory, index) => [memory, this.#words[index] as number]));
    const needs = memoryNeeds(plan, modules);
    for (const [instance, { module, imports }] of plan.instances.entries()) {
      const imported = imports.filter(({ kind }) => kind === 'memory');
      for (const index of modules[module]?.shape.sized ?? []) {
        const from = imported[index]?.from;
        const own = needs.findIndex(({ key }) => key.instance === instance && key.index === index);
        const memory =
          from === undefined ? memories[own] : from.kind === 'core' ? exportOf(this.#linked, from) : undefined;
        const address = words.get(memory as WebAssembly.Memory);
        invariant(address !== undefined, `memory ${index} of core instance ${instance} is one of the slot's`);
        globalOf(this.#linked, instance, `thaw:memory${index}`).value = address;
      }
    }
  }

  /** Logical size of the memory of need `index`. */
  size(index: number): MemorySize {
    return this.#control.size(this.#words[index] as number);
  }

  setSize(index: number, size: MemorySize): void {
    this.#control.setSize(this.#words[index] as number, size);
  }

  /**
   * Lets the memories grow until they have `limit` pages together, and counts refusals from 0.
   * @returns how many they have now; when that is more than the limit, they cannot grow
   */
  limitPages(limit: number): number {
    const pages = this.#words.reduce((sum, address) => sum + this.#control.size(address).pages, 0);
    this.#control.setHeadroom(this.#record, Math.max(0, limit - pages));
    return pages;
  }

  /** How often `memory.grow` was refused since {@link limitPages}. */
  get refusedGrows(): number {
    return this.#control.refusals(this.#record);
  }

  /** The mutable globals as they are now, in a fixed order. */
  globals(): GlobalState[] {
    return this.#globals.map(({ instance, name, type, global }) => ({
      instance,
      name,
      type,
      value: globalText(global.value),
    }));
  }

  /** The live globals, in the order of {@link globals}. */
  get liveGlobals(): readonly WebAssembly.Global[] {
    return this.#globals.map(({ global }) => global);
  }

  /** The core function behind a lifted export. */
  exported(lifted: LiftedExport): (...args: number[]) => unknown {
    const value = exportOf(this.#linked, lifted.core);
    invariant(typeof value === 'function', `${lifted.core.name} is a function`);
    return value as (...args: number[]) => unknown;
  }
}

/** -0 must stay -0: `String` would lose its sign. */
const globalText = (value: number | bigint): string => (Object.is(value, -0) ? '-0' : String(value));

/** The values of globals as JavaScript takes them. */
export const globalValue = ({ type, value }: GlobalState): number | bigint =>
  type === 'i64' ? BigInt(value) : Number(value);

const keyText = ({ instance, index }: MemoryKey): string => `${instance}.${index}`;

function globalOf(linked: LinkedInstances, instance: number, name: string): WebAssembly.Global {
  const value = exportOf(linked, { instance, name });
  invariant(value instanceof WebAssembly.Global, `${name} of core instance ${instance} is a global`);
  return value;
}
