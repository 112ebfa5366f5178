import { invariant } from '../errors.ts';
import type { CoreFuncType, ValType } from '../wasm/plan.ts';
import { Writer } from '../wasm/writer.ts';
import type { WaitingFunction } from '../wasi/lowered.ts';

/**
 * Imports that may suspend the guest. V8 suspends at every call of a `WebAssembly.Suspending` import, also when it returns
 * a plain value: a turn of the microtask queue, and the response head would leave before the body is there. So each such
 * import is a small core function that tries without, and calls the suspending one only when it must:
 *
 *     (func (param …)
 *       (if (i32.eqz (call $attempt (local.get …))) (then (call $wait) (call $finish (local.get …)))))
 *
 * `finish` is called by the stack that goes on, so nothing else runs on the thread between the two: what it marks as the
 * guest's time is the guest's.
 */

/** Compiled once per parameter list. */
const modules = new Map<string, WebAssembly.Module>();

const VALUE_TYPES = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c } as const;

/** @returns a core function that suspends the calling stack only if `attempt` says 0 */
export function waitingImport({ params }: CoreFuncType, { attempt, wait, finish }: WaitingFunction): unknown {
  const key = params.join();
  let module = modules.get(key);
  if (module === undefined) {
    module = new WebAssembly.Module(trampoline(params));
    modules.set(key, module);
  }
  const imports = { host: { attempt, wait: new WebAssembly.Suspending(wait), finish } };
  return new WebAssembly.Instance(module, imports).exports['call'];
}

const SECTION = { type: 1, import: 2, func: 3, export: 7, code: 10 } as const;
const FUNC_TYPE = 0x60;
const KIND_FUNC = 0x00;
const OP = { if: 0x04, end: 0x0b, call: 0x10, localGet: 0x20, eqz: 0x45, empty: 0x40 } as const;
/** Function indexes: imports first. */
const FUNC = { attempt: 0, wait: 1, finish: 2, call: 3 } as const;
const TYPE = { attempt: 0, wait: 1, finish: 2 } as const;

function trampoline(params: readonly ValType[]): Uint8Array {
  const types = params.map((type) => {
    invariant(type in VALUE_TYPES, `a parameter of an import is a number, not ${type}`);
    return VALUE_TYPES[type as keyof typeof VALUE_TYPES];
  });
  const pass = params.flatMap((_, index) => [OP.localGet, index]);
  const body = [
    0x00,
    ...pass,
    OP.call,
    FUNC.attempt,
    OP.eqz,
    OP.if,
    OP.empty,
    OP.call,
    FUNC.wait,
    ...pass,
    OP.call,
    FUNC.finish,
    OP.end,
    OP.end,
  ];
  const out = new Writer().bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
  const section = (id: number, content: Writer): void => void out.byte(id).u32(content.length).bytes(content.finish());
  section(
    SECTION.type,
    new Writer()
      .u32(3)
      .bytes(funcType(types, [VALUE_TYPES.i32]))
      .bytes(funcType([], []))
      .bytes(funcType(types, [])),
  );
  const imported = new Writer().u32(3);
  for (const name of ['attempt', 'wait', 'finish'] as const) {
    imported.name('host').name(name).bytes([KIND_FUNC, TYPE[name]]);
  }
  section(SECTION.import, imported);
  section(SECTION.func, new Writer().bytes([1, TYPE.finish]));
  section(SECTION.export, new Writer().u32(1).name('call').bytes([KIND_FUNC, FUNC.call]));
  section(SECTION.code, new Writer().u32(1).u32(body.length).bytes(body));
  return out.finish();
}

const funcType = (params: readonly number[], results: readonly number[]): Uint8Array =>
  new Writer().byte(FUNC_TYPE).u32(params.length).bytes(params).u32(results.length).bytes(results).finish();
