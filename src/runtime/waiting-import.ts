import type { CoreFuncType, ValType } from '../wasm/plan.ts';
import { Writer } from '../wasm/writer.ts';
import type { WaitingFunction } from '../wasi/host.ts';

/**
 * Imports that may suspend the guest. V8 suspends at every call of a `WebAssembly.Suspending` import, also when it returns
 * a plain value: a turn of the microtask queue, and the response head would leave before the body is there. So each such
 * import is a small core function that tries without, and calls the suspending one only when it must:
 *
 *     (func (param …) (if (i32.eqz (call $attempt (local.get …))) (then (call $wait (local.get …)))))
 */

/** Compiled once per parameter list. */
const modules = new Map<string, WebAssembly.Module>();

const VALUE_TYPES: Readonly<Partial<Record<ValType, number>>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c };

/** @returns a core function that suspends the calling stack only if `attempt` says 0 */
export function waitingImport({ params }: CoreFuncType, { attempt, wait }: WaitingFunction): unknown {
  const key = params.join();
  let module = modules.get(key);
  if (module === undefined) {
    module = new WebAssembly.Module(trampoline(params));
    modules.set(key, module);
  }
  const imports = { host: { attempt, wait: new WebAssembly.Suspending(wait) } };
  return new WebAssembly.Instance(module, imports).exports['call'];
}

const SECTION = { type: 1, import: 2, func: 3, export: 7, code: 10 } as const;
const FUNC_TYPE = 0x60;
const KIND_FUNC = 0x00;
const OP = { if: 0x04, end: 0x0b, call: 0x10, localGet: 0x20, eqz: 0x45, empty: 0x40 } as const;
/** Function indexes: imports first. */
const FUNC = { attempt: 0, wait: 1, call: 2 } as const;

function trampoline(params: readonly ValType[]): Uint8Array {
  const types = params.map((type) => VALUE_TYPES[type] ?? 0x7f);
  const parameters = new Writer().u32(types.length).bytes(types).finish();
  const pass = params.flatMap((_, index) => [OP.localGet, index]);
  const body = [
    0x00,
    ...pass,
    OP.call,
    FUNC.attempt,
    OP.eqz,
    OP.if,
    OP.empty,
    ...pass,
    OP.call,
    FUNC.wait,
    OP.end,
    OP.end,
  ];
  const out = new Writer().bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
  const section = (id: number, content: Writer): void => void out.byte(id).u32(content.length).bytes(content.finish());
  // Type 0: (params) -> i32; type 1: (params) -> ().
  section(
    SECTION.type,
    new Writer().u32(2).byte(FUNC_TYPE).bytes(parameters).bytes([1, 0x7f]).byte(FUNC_TYPE).bytes(parameters).u32(0),
  );
  section(
    SECTION.import,
    new Writer()
      .u32(2)
      .name('host')
      .name('attempt')
      .bytes([KIND_FUNC, 0])
      .name('host')
      .name('wait')
      .bytes([KIND_FUNC, 1]),
  );
  section(SECTION.func, new Writer().bytes([1, 1]));
  section(SECTION.export, new Writer().u32(1).name('call').bytes([KIND_FUNC, FUNC.call]));
  section(SECTION.code, new Writer().u32(1).u32(body.length).bytes(body));
  return out.finish();
}
