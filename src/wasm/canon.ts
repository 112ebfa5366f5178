import type { Definition, OptionIndexes } from './component.ts';
import { type CoreExternSort, refused } from './component-types.ts';
import type { CanonOptions, CoreExportRef } from './plan.ts';
import { malformed } from './reader.ts';
import { type CoreEntity, type Entity, type Func, quote, type Scope } from './scope.ts';

/** `canon lift`: a core function as a component function. */
export function lift({ func, options, type, offset }: Definition & { kind: 'lift' }, scope: Scope): Func {
  if (scope.get('type', type, offset).type.kind !== 'func') {
    throw malformed(`a function lifted to type ${type}, no function type`, offset);
  }
  return {
    kind: 'lifted',
    core: coreExport('core func', func, 'the core function that is lifted', scope, offset),
    options: canonOptions(options, scope, offset),
  };
}

/** `canon lower`: an imported function as a core function. Throws COMPONENT_UNSUPPORTED for functions of the component. */
export function lower({ func, options, offset }: Definition & { kind: 'lower' }, scope: Scope): CoreEntity {
  const { func: lowered } = scope.get('func', func, offset);
  if (lowered.kind === 'lifted') {
    throw refused(
      'a call from one composed component to another, which lowers a function that the file itself lifts (link the parts as core modules, or build them as one component)',
      offset,
    );
  }
  const source = { kind: 'host', ...lowered.from, func: lowered.name } as const;
  return { sort: 'core func', source: { ...source, options: canonOptions(options, scope, offset) } };
}

/** `canon resource.drop`. */
export function resourceDrop(index: number, scope: Scope, offset: number): CoreEntity {
  const { type } = scope.get('type', index, offset);
  if (type.kind !== 'resource') throw malformed(`resource.drop of type ${index}, no resource type`, offset);
  return { sort: 'core func', source: { kind: 'resource-drop', ...type.from, resource: type.name } };
}

function canonOptions(options: OptionIndexes, scope: Scope, offset: number): CanonOptions {
  const ref = (sort: CoreExternSort, index: number | null, what: string): CoreExportRef | null =>
    index === null ? null : coreExport(sort, index, what, scope, offset);
  return {
    memory: ref('core memory', options.memory, 'the memory option'),
    realloc: ref('core func', options.realloc, 'the realloc option'),
    postReturn: ref('core func', options.postReturn, 'the post-return option'),
    encoding: options.encoding,
  };
}

function coreExport(sort: CoreExternSort, index: number, what: string, scope: Scope, offset: number): CoreExportRef {
  const { source } = scope.get(sort, index, offset);
  if (source.kind === 'core') return { instance: source.instance, name: source.name };
  throw refused(`${what} is not of a core module but of the host`, offset);
}

/** A function that the component exports, with where it comes from. `name` is for errors. */
export function liftedFunc(name: string, entity: Entity, offset: number): Func & { kind: 'lifted' } {
  if (entity.sort !== 'func') throw refused(`the export ${quote(name)} is a ${entity.sort}`, offset);
  if (entity.func.kind === 'lifted') return entity.func;
  throw refused(`the export ${quote(name)} is a function that the component imports`, offset);
}
