import type { WitFunc, WitType } from '../wasi/wit.ts';
import { refused, type TypeDef, type ValTypeRef } from './component-types.ts';
import { malformed } from './reader.ts';
import type { Scope, Type } from './scope.ts';

/** The name by which thaw's WIT knows a resource: `wasi:http/types#fields`. */
const resourceId = (type: Type & { kind: 'resource' }): string => `${type.from.interface}#${type.name}`;

/** How many definitions `def` counts for: it has so many parts. */
export function sizeOf(def: TypeDef): number {
  switch (def.kind) {
    case 'record':
      return def.fields.length + 1;
    case 'variant':
      return def.cases.length + 1;
    case 'tuple':
      return def.types.length + 1;
    case 'flags':
    case 'enum':
      return def.labels.length + 1;
    case 'func':
      return def.params.length + 1;
    default:
      return 1;
  }
}

/**
 * Parts of a type, written out. WASI's largest has about 100, the error code of wasi:http; twenty times that is room for
 * the guest's own, and its depth no strain on recursion. Without a bound, n types that each refer twice to the last make
 * 2^n, which whoever compares or prints them pays for.
 */
const MAX_TYPE_SIZE = 2000;

/**
 * The type that `def`, a definition at `offset`, makes in `scope`. Value types become trees with every index resolved.
 *
 * Throws WASM_MALFORMED when an index is out of range or of a type that is not allowed there, COMPONENT_UNSUPPORTED for
 * a type that is too large.
 */
export function evaluateType(def: TypeDef, scope: Scope, offset: number): Type {
  let size = sizeOf(def);
  const value = (ref: ValTypeRef): WitType => {
    const referred = valueType(ref, scope, offset);
    size += referred.size;
    if (size > MAX_TYPE_SIZE) throw refused(`a type of more than ${MAX_TYPE_SIZE} parts`, offset);
    return referred.type;
  };
  switch (def.kind) {
    case 'instance':
      return { kind: 'instance', closure: scope.close(def.decls) };
    case 'component':
      return { kind: 'component' };
    case 'func':
      return {
        kind: 'func',
        params: def.params.map(({ name, type }): WitFunc['params'][number] => [name, value(type)]),
        result: def.result === null ? null : value(def.result),
      };
    default: {
      const type = evaluateValueType(def, value, scope, offset);
      return { kind: 'value', type, size };
    }
  }
}

function evaluateValueType(
  def: Exclude<TypeDef, { kind: 'instance' | 'component' | 'func' }>,
  value: (ref: ValTypeRef) => WitType,
  scope: Scope,
  offset: number,
): WitType {
  const optional = (ref: ValTypeRef | null): WitType | null => (ref === null ? null : value(ref));
  switch (def.kind) {
    case 'primitive':
      return { kind: def.name };
    case 'record':
      return { kind: 'record', fields: def.fields.map(({ name, type }) => [name, value(type)] as const) };
    case 'variant':
      return { kind: 'variant', cases: def.cases.map(({ name, type }) => [name, optional(type)] as const) };
    case 'list':
      return { kind: 'list', element: value(def.type) };
    case 'option':
      return { kind: 'option', some: value(def.type) };
    case 'tuple':
      return { kind: 'tuple', items: def.types.map(value) };
    case 'flags':
    case 'enum':
      return { kind: def.kind, names: def.labels };
    case 'result':
      return { kind: 'result', ok: optional(def.ok), err: optional(def.err) };
    default: {
      const { type } = scope.get('type', def.resource, offset);
      if (type.kind !== 'resource') throw malformed(`type ${def.resource} is no resource type`, offset);
      return { kind: def.kind, resource: resourceId(type) };
    }
  }
}

function valueType(ref: ValTypeRef, scope: Scope, offset: number): { readonly type: WitType; readonly size: number } {
  if (typeof ref === 'string') return { type: { kind: ref }, size: 1 };
  const { type } = scope.get('type', ref, offset);
  if (type.kind !== 'value') throw malformed(`type ${ref} is no value type`, offset);
  return type;
}
