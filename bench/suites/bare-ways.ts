import { readFileSync } from 'node:fs';
import { CodeCache, compileFrom } from '../../src/runtime/code.ts';
import { globalValue } from '../../src/runtime/instance.ts';
import { exportOf } from '../../src/runtime/instantiate.ts';
import { createRestorer } from '../../src/runtime/restore-tier.ts';
import { SlotMemory, type Restorer } from '../../src/runtime/slot-memory.ts';
import { SnapshotLoader } from '../../src/runtime/snapshot.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import type { CoreExportRef, CoreImport, LinkPlan } from '../../src/wasm/plan.ts';
import { BareCodeRunner, compileWhole, serveBare, type Bare, type ImportOf } from './bare-instance.ts';
import type { EngineInputs } from './engine-start.ts';
import { Preview1 } from './preview1.ts';
import { LapTimer } from './startup-laps.ts';
import type { ChildSpec, InitSpec } from './startup-spec.ts';
import { finished, pageCounter, timedCall, type Start } from './startup-start.ts';

/** The ways of starting that make new memories and new instances for each request, and leave them to the collector. */

/** `wizer`: data segments fill the memory. */
export async function wizerWay(spec: ChildSpec): Promise<Start> {
  const code = await compileWhole(spec.component);
  const runner = new BareCodeRunner(code);
  const count = pageCounter(spec.tier);
  return async () => {
    const timer = new LapTimer();
    const memories = runner.newMemories();
    timer.mark('memory');
    const bare = runner.instantiate(memories);
    timer.mark('instantiate');
    const call = timedCall(timer);
    await serveBare(bare, call, spec.path);
    return { ...finished(timer, call), pagesWritten: count(memories) };
  };
}

/** `mapped`: the image is mapped copy-on-write over a new memory. */
export async function mappedWay(spec: ChildSpec): Promise<Start> {
  const store = SnapshotStore.open(spec.store, { create: false });
  const { manifest, state } = new SnapshotLoader(store).load(store.resolve(spec.snapshot));
  if (state.kind !== 'restorable') throw new Error('a snapshot without an image has nothing to map');
  const modules = await new CodeCache(compileFrom(store)).load(manifest);
  const runner = new BareCodeRunner({ plan: manifest.plan, modules });
  const restorer = createRestorer(spec.tier);
  const globals = state.globals.map(globalValue);
  const count = pageCounter(spec.tier);
  return async () => {
    const timer = new LapTimer();
    const memories = state.images.map(({ image }) => mapped(image, restorer));
    timer.mark('memory');
    const bare = runner.instantiate(memories);
    for (const [index, { image }] of state.images.entries()) {
      bare.instance.setSize(index, { pages: image.pages, limit: image.max ?? MAX_PAGES });
    }
    for (const [index, global] of bare.instance.liveGlobals.entries()) global.value = globals[index] as number | bigint;
    timer.mark('instantiate');
    const call = timedCall(timer);
    await serveBare(bare, call, spec.path);
    return { ...finished(timer, call), pagesWritten: count(memories) };
  };
}

/** 2^16 pages of 64 KiB. */
const MAX_PAGES = 65_536;

function mapped(image: Parameters<SlotMemory['restore']>[0], restorer: Restorer): WebAssembly.Memory {
  const memory = new SlotMemory(image.pages, restorer);
  memory.restore(image);
  return memory.memory;
}

/** `initialise`: no snapshot. */
export async function initialiseWay(spec: ChildSpec): Promise<Start> {
  const { init } = spec;
  if (init === null) throw new Error('the app cannot be had uninitialised');
  const whole = await compileWhole(init.component);
  const at = whole.modules.findIndex(({ module }) => exportsFunc(module, init.func));
  const main = whole.plan.instances.findIndex(({ module }) => module === at);
  if (main < 0) throw new Error(`no core module of the component exports ${init.func}`);
  const { plan, originals } = openPreview1(whole.plan, main);
  const runner = new BareCodeRunner({ ...whole, plan });
  const files = filesOf(init);
  const count = pageCounter(spec.tier);
  return async () => {
    const timer = new LapTimer();
    const memories = runner.newMemories();
    timer.mark('memory');
    const world = new InitWorld(memories[0] as WebAssembly.Memory, files, () => timer.mark('initialise'));
    const bare = runner.instantiate(memories, (bind) => world.imports(bind, originals));
    timer.mark('instantiate');
    initFuncOf(bare, main, init.func)();
    world.isOpen = false;
    timer.mark(files === null ? 'initialise' : 'top level');
    const call = timedCall(timer);
    await serveBare(bare, call, spec.path);
    return { ...finished(timer, call), pagesWritten: count(memories) };
  };
}

const exportsFunc = (module: WebAssembly.Module, name: string): boolean =>
  WebAssembly.Module.exports(module).some((entry) => entry.name === name);

const initFuncOf = ({ instance }: Bare, main: number, name: string): (() => unknown) =>
  instance.exported({
    interface: '',
    version: '',
    func: name,
    core: { instance: main, name },
    options: { memory: null, realloc: null, postReturn: null, encoding: 'utf8' },
  });

const PREVIEW1 = 'wasi_snapshot_preview1';

/**
 * The plan with preview 1 as an interface of the host, where the component has an adapter: while it initialises, an engine
 * reads files, which the host behind the adapter has not.
 *
 * @returns the plan, and what the imports were
 */
function openPreview1(
  plan: LinkPlan,
  main: number,
): { readonly plan: LinkPlan; readonly originals: ReadonlyMap<string, CoreExportRef> } {
  const originals = new Map<string, CoreExportRef>();
  const opened = (wanted: CoreImport): CoreImport => {
    if (wanted.module !== PREVIEW1 || wanted.from.kind !== 'core') return wanted;
    originals.set(wanted.name, wanted.from);
    const options = { memory: null, realloc: null, postReturn: null, encoding: 'utf8' } as const;
    return { ...wanted, from: { kind: 'host', interface: PREVIEW1, version: '', func: wanted.name, options } };
  };
  const instances = plan.instances.map((instance, index) =>
    index === main ? { ...instance, imports: instance.imports.map(opened) } : instance,
  );
  return { plan: { ...plan, instances }, originals };
}

type EngineFiles = Pick<EngineInputs, 'environment'> & {
  readonly stdin: Uint8Array;
  readonly directories: Readonly<Record<string, Readonly<Record<string, Uint8Array>>>>;
  /** The path of the app, with which its top level begins. */
  readonly app: string;
};

function filesOf({ engine }: InitSpec): EngineFiles | null {
  if (engine === null) return null;
  const { stdin, environment, bindings } = JSON.parse(readFileSync(engine.inputs, 'utf8')) as EngineInputs;
  return {
    environment,
    stdin: Buffer.from(stdin),
    directories: { '/': { 'app.js': readFileSync(engine.app) }, '/thaw': { 'initializer.js': Buffer.from(bindings) } },
    app: '/app.js',
  };
}

/** What an engine sees while it initialises: files. Afterwards, the adapter that requests go through. */
class InitWorld {
  isOpen = true;
  readonly #preview1: Preview1 | null;

  constructor(memory: WebAssembly.Memory, files: EngineFiles | null, onApp: () => void) {
    const onOpen = (path: string): void => {
      if (path === files?.app) onApp();
    };
    this.#preview1 = files === null ? null : new Preview1({ ...files, memory, onOpen });
  }

  imports(bind: ImportOf, originals: ReadonlyMap<string, CoreExportRef>): ImportOf {
    const preview1 = this.#preview1;
    return (from, linked) => {
      const original = 'func' in from && from.interface === PREVIEW1 ? originals.get(from.func) : undefined;
      if (preview1 === null || original === undefined || !('func' in from)) return bind(from, linked);
      const own = preview1.func(from.func);
      const adapter = exportOf(linked, original) as (...args: (number | bigint)[]) => number;
      return (...args: (number | bigint)[]) => (this.isOpen ? own(...args) : adapter(...args));
    };
  }
}
