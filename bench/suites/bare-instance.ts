import { readFileSync } from 'node:fs';
import type { CompiledModule } from '../../src/runtime/code.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { Instance, memoryNeeds, type MemoryNeed } from '../../src/runtime/instance.ts';
import { HostBinder, type HostImport, type LinkedInstances } from '../../src/runtime/instantiate.ts';
import { handlerOf } from '../../src/runtime/snapshot.ts';
import { Guest } from '../../src/wasi/guest.ts';
import type { Host } from '../../src/wasi/host.ts';
import { ResponseOutparam } from '../../src/wasi/http-messages.ts';
import { createHost } from '../../src/wasi/index.ts';
import { decodeComponent } from '../../src/wasm/link.ts';
import { parseModule } from '../../src/wasm/module.ts';
import type { LiftedExport, LinkPlan } from '../../src/wasm/plan.ts';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import type { RecordingCall } from '../support/call.ts';
import { requestTo } from '../support/call.ts';

/** Code that is instantiated for one request and thrown away, as runtimes without slots do. */

/** 2^16 pages of 64 KiB: what a 32-bit memory can have. */
const MAX_PAGES = 65_536;

export type BareCode = { readonly plan: LinkPlan; readonly modules: readonly CompiledModule[] };

/** Gives a core module an import of its host. */
export type ImportOf = (from: HostImport, linked: LinkedInstances) => unknown;

/**
 * The code of a component with its data segments and start functions, and without thaw's checks for guests that run too
 * long: as other runtimes have it.
 */
export async function compileWhole(path: string): Promise<BareCode> {
  const { plan, modules } = decodeComponent(readFileSync(path));
  const compiled = modules.map(async (bytes) => {
    const { code, shape } = rewriteModule(parseModule(bytes), { state: 'keep', names: false, checks: false });
    return { module: await WebAssembly.compile(code), shape };
  });
  return { plan, modules: await Promise.all(compiled) };
}

/** Instances of one code. */
export class BareCodeRunner {
  readonly needs: readonly MemoryNeed[];
  readonly #code: BareCode;
  readonly #handler: LiftedExport;
  readonly #host: Host = createHost();
  readonly #control = new ControlMemory();
  /** Each start has it in turn. */
  readonly #record = this.#control.allocate();

  constructor(code: BareCode) {
    this.#code = code;
    this.needs = memoryNeeds(code.plan, code.modules);
    this.#handler = handlerOf(code.plan);
  }

  /** New memories of the sizes that the code begins with. */
  newMemories(): WebAssembly.Memory[] {
    return this.needs.map(({ min, max }) => new WebAssembly.Memory({ initial: min, maximum: max ?? MAX_PAGES }));
  }

  /** @param importOf is given what this would do, and may do otherwise */
  instantiate(memories: readonly WebAssembly.Memory[], importOf: (bind: ImportOf) => ImportOf = (bind) => bind): Bare {
    const guest = new Guest();
    const binder = new HostBinder(this.#host, guest);
    const instance = new Instance({
      ...this.#code,
      memories,
      control: this.#control,
      record: this.#record,
      hostImport: importOf((from, linked) => binder.bind(from, linked)),
    });
    instance.limitPages(MAX_PAGES);
    return { instance, guest, handle: WebAssembly.promising(instance.exported(this.#handler)) };
  }
}

/** An instance, ready for its one request. */
export type Bare = {
  readonly instance: Instance;
  readonly guest: Guest;
  readonly handle: (request: number, outparam: number) => Promise<unknown>;
};

/** Serves the request. Settles when the guest has returned. */
export async function serveBare({ guest, handle }: Bare, call: RecordingCall, path: string): Promise<void> {
  guest.begin(call);
  try {
    await handle(guest.handles.add(requestTo(path)), guest.handles.add(new ResponseOutparam()));
  } finally {
    guest.end();
  }
}
