import { ThawError, invariant, messageOf } from '../errors.ts';
import { ControlMemory } from '../runtime/control-memory.ts';
import { Account } from '../runtime/meter.ts';
import { Watchdog } from '../runtime/watchdog.ts';
import { Instance, memoryNeeds, type MemoryNeed } from '../runtime/instance.ts';
import type { HostImport } from '../runtime/instantiate.ts';
import type { CompiledModule } from '../runtime/code.ts';
import { WASM_PAGE_BYTES } from '../snapshot/manifest.ts';
import type { GlobalState, LinkPlan } from '../wasm/plan.ts';

/** The state of a component instance after initialisation. */
export type CapturedState = {
  readonly memories: readonly (MemoryNeed & { readonly pages: number; readonly bytes: Uint8Array })[];
  readonly globals: readonly GlobalState[];
};

/** What start functions may take. Freezing is for long initialisations; this is for endless ones. */
const START_CPU_MS = 10_000;

/**
 * As {@link captureState}, with an end to endless loops; for components with start functions, as it takes a thread.
 *
 * @throws ThawError BUILD_INIT_FAILED, too, when start functions run longer than `limitMs`
 */
export async function captureWatched(
  plan: LinkPlan,
  modules: readonly CompiledModule[],
  limitMs = START_CPU_MS,
): Promise<CapturedState> {
  const watchdog = new Watchdog(1);
  const [link] = watchdog.links;
  invariant(link !== undefined, 'a watchdog of one thread has one link');
  const control = new ControlMemory(link);
  const account = new Account(control.meter);
  account.open(limitMs);
  account.resume();
  try {
    return captureState(plan, modules, control);
  } catch (error) {
    account.pause();
    if (!account.wasStopped) throw error;
    const where = wasmFrame(error instanceof ThawError ? error.cause : error);
    throw new ThawError(
      'BUILD_INIT_FAILED',
      `the component's initialisation was stopped after ${limitMs / 1000} s: it does not seem to end${where}`,
      { cause: error },
    );
  } finally {
    account.pause();
    await watchdog.stop();
  }
}

/**
 * Instantiates the linked modules with a host that refuses every call, and takes down memories and globals.
 *
 * @param modules rewritten with state kept
 * @throws ThawError BUILD_INIT_CALLS_IMPORT, naming the import and the function that called it; BUILD_INIT_FAILED
 */
export function captureState(
  plan: LinkPlan,
  modules: readonly CompiledModule[],
  control = new ControlMemory(),
): CapturedState {
  const needs = memoryNeeds(plan, modules);
  const memories = needs.map(({ min, max }) => new WebAssembly.Memory({ initial: min, maximum: max ?? MAX_PAGES }));
  const instance = initialise(
    () => new Instance({ plan, modules, memories, control, record: control.allocate(), hostImport: refuse }),
  );
  return {
    memories: needs.map((need, index) => {
      const { pages } = instance.size(index);
      const buffer = (memories[index] as WebAssembly.Memory).buffer;
      return { ...need, pages, bytes: new Uint8Array(buffer, 0, pages * WASM_PAGE_BYTES) };
    }),
    globals: instance.globals(),
  };
}

/** 2^16 pages of 64 KiB. */
const MAX_PAGES = 65_536;

function initialise(make: () => Instance): Instance {
  try {
    return make();
  } catch (error) {
    if (error instanceof ThawError) throw error;
    throw new ThawError(
      'BUILD_INIT_FAILED',
      `instantiating the component failed: ${messageOf(error)}${wasmFrame(error)}`,
      { cause: error },
    );
  }
}

/** Every host import is a function that refuses. */
const refuse = (from: HostImport): unknown => {
  const name = from.kind === 'host' ? from.func : `[resource-drop]${from.resource}`;
  return () => {
    const here = new Error('where');
    throw new ThawError(
      'BUILD_INIT_CALLS_IMPORT',
      `the component's initialisation called ${from.interface}@${from.version} ${name}${wasmFrame(here)}`,
    );
  };
};

/** `at name (wasm://wasm/1a2b3c:wasm-function[12]:0x34)`, without the name when the module has no name section. */
const WASM_FRAME = /at (?:(.+) \()?wasm:\/\/\S*:wasm-function\[(\d+)\]/g;

/** What wit-component puts between a module and those of its imports that need its memory: it calls on behalf of others. */
const SHIM = 'wit-component:shim';

/**
 * ` (from function <name or index>)` for the innermost frame of the guest's own in a stack, where V8 has one. One with a
 * name comes first: an older shim has none.
 */
function wasmFrame(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const frames = [...stack.matchAll(WASM_FRAME)].map(([, name, index]) => ({ name, index }));
  const own = frames.find(({ name }) => name !== undefined && !name.startsWith(SHIM)) ?? frames[0];
  return own === undefined ? '' : ` (from function ${own.name ?? own.index})`;
}
