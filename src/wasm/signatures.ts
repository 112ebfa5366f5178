import { type CoreModule, SECTION, sectionOf } from './module.ts';
import type { CoreFuncType } from './plan.ts';
import { malformed } from './reader.ts';

/** Freezing holds these against the signatures that the canonical ABI gives the host's functions. */
type ImportedFunction = { readonly module: string; readonly name: string; readonly type: CoreFuncType };

/** The function imports with their types, in order. Throws WASM_MALFORMED when a type is not a function type. */
export function importedFunctionTypes(module: CoreModule): ImportedFunction[] {
  return module.imports.flatMap(({ module: from, name, type, range }) =>
    type.kind === 'func'
      ? [{ module: from, name, type: funcType(module, type.type, `import ${from} ${name}`, range.start) }]
      : [],
  );
}

/** The exported functions with their types. Throws WASM_MALFORMED when an index names no function. */
export function exportedFunctionTypes(module: CoreModule): ReadonlyMap<string, CoreFuncType> {
  const at = sectionOf(module, SECTION.export)?.body.start ?? 0;
  const found = new Map<string, CoreFuncType>();
  for (const { name, kind, index } of module.exports) {
    if (kind === 'func') found.set(name, funcType(module, module.functions[index], `export ${name}`, at));
  }
  return found;
}

function funcType(module: CoreModule, typeIndex: number | undefined, what: string, offset: number): CoreFuncType {
  const composite = typeIndex === undefined ? undefined : module.types[typeIndex];
  if (composite?.kind !== 'func') throw malformed(`${what} without a function type`, offset);
  return composite.type;
}
