import { ThawError, invariant } from '../errors.ts';
import { walkBody } from '../wasm/code.ts';
import { type CoreModule, SECTION, parseModule, readerOf, sectionOf } from '../wasm/module.ts';
import { OP } from '../wasm/opcodes.ts';
import { Writer } from '../wasm/writer.ts';

/**
 * Two builds of one app are to give the same snapshot. What the engine reads while it initialises is written all over
 * its memory: hash seeds, and the monotonic clock, which its garbage collector notes. So for Wizer's run, and only for
 * it, the calls of these two WASI imports are turned to functions added to the module; afterwards the module gets its
 * own code back. The wall clock stays what it is: an app may ask for the date at its top level.
 */

const WASI = 'wasi_snapshot_preview1';

/** One second: an engine that subtracts some of its own time from it must not go below zero. */
const MONOTONIC_NANOSECONDS = 1_000_000_000n;

const I32 = 0x7f;
/** Knuth's multiplier of the linear congruential generator modulo 2³² (Numerical Recipes, section 7.1). */
const MULTIPLIER = 1_664_525;

type Substitute = { readonly importName: string; readonly body: (importIndex: number, seed: number) => Writer };

/** (ptr, len) -> errno 0: bytes of a generator that starts from the seed. Locals 2 and 3: position, state. */
const randomGet: Substitute = {
  importName: 'random_get',
  body: (_importIndex, seed) =>
    new Writer()
      .bytes([0x01, 0x02, I32])
      .bytes([0x02, 0x40, 0x03, 0x40]) // block, loop
      .bytes([0x20, 0x02, 0x20, 0x01, 0x4f, 0x0d, 0x01]) // position >= len: leave
      .bytes([0x20, 0x00, 0x20, 0x02, 0x6a]) // ptr + position
      .bytes([0x20, 0x03, 0x41])
      .s32(MULTIPLIER)
      .bytes([0x6c, 0x41])
      .s32(seed | 1) // an odd increment gives the generator its full period
      .bytes([0x6a, 0x22, 0x03, 0x41, 0x18, 0x76]) // the state's highest 8 bits are its best
      .bytes([0x3a, 0x00, 0x00]) // i32.store8
      .bytes([0x20, 0x02, 0x41, 0x01, 0x6a, 0x21, 0x02, 0x0c, 0x00]) // position += 1, again
      .bytes([0x0b, 0x0b, 0x41, 0x00, 0x0b]),
};

/** (clock, precision, ptr) -> errno: clock 0, the wall clock, is asked; the others stand still. */
const clockTimeGet: Substitute = {
  importName: 'clock_time_get',
  body: (importIndex) =>
    new Writer()
      .bytes([0x00])
      .bytes([0x20, 0x00, 0x45, 0x04, I32]) // clock == 0
      .bytes([0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0x10])
      .u32(importIndex)
      .bytes([0x05, 0x20, 0x02, 0x42])
      .s64(MONOTONIC_NANOSECONDS)
      .bytes([0x37, 0x03, 0x00, 0x41, 0x00, 0x0b, 0x0b]),
};

/** An import and the function that stands for it: index, type index, body. */
type Redirection = { readonly from: number; readonly to: number; readonly type: number; readonly body: Writer };

function planRedirections(module: CoreModule, seed: number): Redirection[] {
  const plan: Redirection[] = [];
  let from = 0;
  for (const { module: owner, name, type } of module.imports) {
    if (type.kind !== 'func') continue;
    const substitute = [randomGet, clockTimeGet].find(({ importName }) => owner === WASI && importName === name);
    if (substitute !== undefined) {
      const to = module.functions.length + plan.length;
      plan.push({ from, to, type: type.type, body: substitute.body(from, seed) });
    }
    from++;
  }
  return plan;
}

/** Writes a body, without its size, with its calls redirected. Returns false, nothing written, when it has none. */
function redirectBody(module: CoreModule, index: number, plan: readonly Redirection[], out: Writer): boolean {
  const range = module.bodies[index];
  invariant(range !== undefined, 'every defined function has a body');
  let copied = range.start;
  walkBody(readerOf(module, range), ({ op, at, end, index: callee }) => {
    const target = op === OP.call ? plan.find(({ from }) => from === callee) : undefined;
    if (target === undefined) return;
    out.bytes(module.bytes.subarray(copied, at)).byte(OP.call).u32(target.to);
    copied = end;
  });
  if (copied === range.start) return false;
  out.bytes(module.bytes.subarray(copied, range.end));
  return true;
}

function codeSection(module: CoreModule, plan: readonly Redirection[]): Uint8Array {
  const out = new Writer(module.bytes.length);
  out.u32(module.bodies.length + plan.length);
  module.bodies.forEach(({ start, end }, index) => {
    const body = new Writer(end - start + 16);
    if (redirectBody(module, index, plan, body)) out.u32(body.length).bytes(body.finish());
    else out.u32(end - start).bytes(module.bytes.subarray(start, end));
  });
  for (const { body } of plan) out.u32(body.length).bytes(body.finish());
  return out.finish();
}

function functionSection(module: CoreModule, plan: readonly Redirection[]): Uint8Array {
  const types = [...module.functions.slice(module.imported.func), ...plan.map(({ type }) => type)];
  const out = new Writer();
  out.vec(types, (type) => out.u32(type));
  return out.finish();
}

/** The module with these sections' bodies in place of its own. */
function withSections(module: CoreModule, replacements: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const out = new Writer(module.bytes.length + 4096);
  const all = [...module.sections, ...module.customs.map((custom) => ({ ...custom, id: SECTION.custom }))];
  all.sort((a, b) => a.whole.start - b.whole.start);
  out.bytes(module.bytes.subarray(0, 8));
  for (const { id, whole } of all) {
    const body = replacements.get(id);
    if (body === undefined) out.bytes(module.bytes.subarray(whole.start, whole.end));
    else out.section(id, body);
  }
  return out.finish();
}

/**
 * A module whose initialisation is the same every time: see above.
 *
 * @param bytes a core module @param seed 32 bits for its random numbers: not the same for all apps, or anybody could
 *   make keys that collide in everybody's hash tables
 */
export function steadyInit(bytes: Uint8Array, seed: number): Uint8Array {
  const module = parseModule(bytes);
  const plan = planRedirections(module, seed);
  return withSections(
    module,
    new Map([
      [SECTION.function, functionSection(module, plan)],
      [SECTION.code, codeSection(module, plan)],
    ]),
  );
}

/**
 * Gives an initialised module its own code back.
 *
 * @param initialised what Wizer made of `steadyInit(original)` @param original the module before `steadyInit`
 * @throws ThawError BUILD_TOOL_FAILED when Wizer added or removed functions
 */
export function restoreCode(initialised: Uint8Array, original: Uint8Array): Uint8Array {
  const [after, before] = [parseModule(initialised), parseModule(original)];
  const substitutes = planRedirections(before, 0).length;
  if (
    after.imported.func !== before.imported.func ||
    after.functions.length !== before.functions.length + substitutes
  ) {
    throw new ThawError('BUILD_TOOL_FAILED', 'Wizer changed the functions of the module that it initialised');
  }
  const bodyOf = (id: number): Uint8Array => {
    const section = sectionOf(before, id);
    invariant(section !== undefined, `the engine has section ${id}`);
    return original.subarray(section.body.start, section.body.end);
  };
  return withSections(after, new Map([SECTION.function, SECTION.code].map((id) => [id, bodyOf(id)])));
}
