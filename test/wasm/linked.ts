import assert from 'node:assert/strict';
import { ThawError } from '../../src/errors.ts';
import type { LinkedComponent } from '../../src/wasm/link.ts';
import type { CoreExportRef, CoreImport, ExternKind } from '../../src/wasm/plan.ts';

const V8_KINDS: Readonly<Record<ExternKind, string>> = {
  func: 'function',
  table: 'table',
  memory: 'memory',
  global: 'global',
  tag: 'tag',
};

/** Every invariant of a decoded component that needs no other source than itself and V8. */
export function assertLinked({ plan, modules }: LinkedComponent): void {
  assert.equal(modules.length, plan.modules.length);
  const compiled = modules.map((bytes) =>
    WebAssembly.validate(bytes.slice()) ? new WebAssembly.Module(bytes.slice()) : null,
  );
  const assertRef = ({ instance, name }: CoreExportRef, before: number): void => {
    assert.ok(instance < before, `instance ${instance} is made before ${before}`);
    const module = compiled[plan.instances[instance]?.module ?? -1];
    if (module) assert.ok(WebAssembly.Module.exports(module).some((exported) => exported.name === name));
  };
  for (const [index, { module, imports }] of plan.instances.entries()) {
    assert.ok(module < modules.length);
    for (const { from } of imports) {
      if (from.kind === 'core') assertRef(from, index);
      if (from.kind !== 'host') continue;
      for (const ref of [from.options.memory, from.options.realloc]) if (ref) assertRef(ref, index);
    }
    const code = compiled[module];
    if (!code) continue;
    const wanted = WebAssembly.Module.imports(code).map((one) => ({
      module: one.module,
      name: one.name,
      kind: one.kind,
    }));
    assert.deepEqual(
      imports.map((one) => ({ module: one.module, name: one.name, kind: V8_KINDS[one.kind] })),
      wanted,
    );
  }
  for (const { core, options } of plan.exports) {
    for (const ref of [core, options.memory, options.realloc, options.postReturn]) {
      if (ref) assertRef(ref, plan.instances.length);
    }
  }
}

/** Instantiates a plan's modules in order, the host's functions made by `host`. Throws what V8 throws when it links. */
export function instantiate(
  { plan, modules }: LinkedComponent,
  host: (wanted: CoreImport) => () => unknown,
): WebAssembly.Instance[] {
  const instances: WebAssembly.Instance[] = [];
  for (const { module, imports } of plan.instances) {
    const given: WebAssembly.Imports = {};
    for (const wanted of imports) {
      const value =
        wanted.from.kind === 'core' ? instances[wanted.from.instance]?.exports[wanted.from.name] : host(wanted);
      assert.ok(value !== undefined, `${wanted.module} ${wanted.name} is there`);
      (given[wanted.module] ??= {})[wanted.name] = value;
    }
    const bytes = modules[module];
    assert.ok(bytes);
    instances.push(new WebAssembly.Instance(new WebAssembly.Module(bytes.slice()), given));
  }
  return instances;
}

/** For `assert.throws`: a ThawError of this code whose message matches. */
export const thawError =
  (code: string, message: RegExp) =>
  (error: unknown): true => {
    assert.ok(error instanceof ThawError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

/** Calls a function that an instance of `instantiate` exports. */
export function call(instance: WebAssembly.Instance | undefined, name: string, ...args: readonly number[]): unknown {
  const exported: unknown = instance?.exports[name];
  assert.ok(typeof exported === 'function', `${name} is an exported function`);
  return Reflect.apply(exported, undefined, args);
}
