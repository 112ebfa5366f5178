import assert from 'node:assert/strict';
import { Abi, type CoreValue, type Realloc } from '../../src/wasi/abi.ts';
import { Guest, type Call } from '../../src/wasi/guest.ts';
import { HandleTable } from '../../src/wasi/handles.ts';
import type { Host } from '../../src/wasi/host.ts';
import { alignTo, layoutOf, loweredShape } from '../../src/wasi/layout.ts';
import { loader } from '../../src/wasi/stored-values.ts';
import { err } from '../../src/wasi/values.ts';
import type { WitType } from '../../src/wasi/wit.ts';
import type { StringEncoding } from '../../src/wasm/plan.ts';

export const WASM_PAGE = 65_536;
export const ENCODINGS: readonly StringEncoding[] = ['utf8', 'utf16', 'latin1+utf16'];

/** A guest's linear memory with a bump allocator. With `growing`, every allocation grows the memory. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly #growing: boolean;
  /** Address 0 is never given out: it would hide pointers that were not written. */
  #next = 16;

  constructor(options: { pages?: number; growing?: boolean } = {}) {
    this.memory = new WebAssembly.Memory({ initial: options.pages ?? 1 });
    this.#growing = options.growing ?? false;
  }

  readonly realloc: Realloc = (_old, _oldSize, align, size) => {
    const at = alignTo(this.#next, align);
    this.#next = at + size;
    const missing = Math.ceil((this.#next - this.memory.buffer.byteLength) / WASM_PAGE);
    const pages = Math.max(missing, this.#growing ? 1 : 0);
    if (pages > 0) this.memory.grow(pages);
    return at;
  };

  abi(encoding: StringEncoding = 'utf8', handles = new HandleTable(1000)): Abi {
    return new Abi({ handles, memory: this.memory, realloc: this.realloc, encoding });
  }
}

/** A request that grants nothing. */
export const testCall = (parts: Partial<Call> = {}): Call => ({
  limits: { cpuMs: Infinity, memoryBytes: 2 ** 32 },
  env: [],
  respond: () => {},
  fetch: () => err({ tag: 'HTTP-request-denied' }),
  stdio: () => {},
  resume: (goOn) => goOn(),
  ...parts,
});

/** Resources as their handles: what a guest sees. */
function asHandles(type: WitType): WitType {
  const each = (inner: WitType | null): WitType | null => (inner === null ? null : asHandles(inner));
  switch (type.kind) {
    case 'own':
    case 'borrow':
      return { kind: 'u32' };
    case 'list':
      return { kind: 'list', element: asHandles(type.element) };
    case 'option':
      return { kind: 'option', some: asHandles(type.some) };
    case 'result':
      return { kind: 'result', ok: each(type.ok), err: each(type.err) };
    case 'tuple':
      return { kind: 'tuple', items: type.items.map(asHandles) };
    case 'record':
      return { kind: 'record', fields: type.fields.map(([name, field]) => [name, asHandles(field)]) };
    case 'variant':
      return { kind: 'variant', cases: type.cases.map(([name, payload]) => [name, each(payload)]) };
    default:
      return type;
  }
}

/** A guest with one request, that calls the host through the canonical ABI as compiled code would. */
export class TestGuest {
  readonly guest = new Guest();
  readonly arena = new Arena();
  readonly abi: Abi;
  readonly #host: Host;

  constructor(host: Host, call: Partial<Call> = {}) {
    this.#host = host;
    this.abi = this.arena.abi('utf8', this.guest.handles);
    this.guest.begin(testCall(call));
  }

  /**
   * Calls `wasi:io/poll#poll` with flat core values; a return pointer is added where the signature has one.
   * @returns the result, resources in it as handles; a promise of it when the call has to wait
   */
  call(name: string, ...flat: CoreValue[]): unknown {
    const [from = '', func = ''] = name.split('#');
    const compiled = this.#host.func({ interface: from, version: '0.2.12' }, func);
    const { result } = compiled.declared;
    const at = result !== null && loweredShape(compiled.declared).retptr ? this.#returnArea(result) : undefined;
    const all = at === undefined ? flat : [...flat, at];
    const finish = (returned: unknown): unknown =>
      result === null || at === undefined ? returned : loader(asHandles(result))(this.abi, at);
    if (compiled.kind === 'immediate') return finish(compiled.bind(this.guest, this.abi)(...all));
    const waiting = compiled.bind(this.guest, this.abi);
    if (waiting.attempt(...all) === 1) return finish(undefined);
    return waiting.wait().then(() => finish(waiting.finish(...all)));
  }

  /** Like `call`, for functions that return a handle. */
  handle(name: string, ...flat: CoreValue[]): number {
    const returned = this.call(name, ...flat);
    assert.ok(typeof returned === 'number');
    return returned;
  }

  #returnArea(type: WitType): number {
    const { size, align } = layoutOf(type);
    return this.arena.realloc(0, 0, align, size);
  }

  /** The flat form of a string parameter. */
  string(text: string): readonly [number, number] {
    return this.abi.storeString(text);
  }

  /** The flat form of a list<u8> parameter. */
  bytes(content: Uint8Array | string): readonly [number, number] {
    return [this.abi.storeBytes(content), content.length];
  }
}

/** Lets everything run that is already due. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
