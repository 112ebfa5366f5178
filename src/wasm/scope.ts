import type { WitFunc, WitType } from '../wasi/wit.ts';
import type { ComponentDef, ModuleDef } from './component.ts';
import { type Alias, type CoreExternSort, type Decl, refused, type Sort } from './component-types.ts';
import type { CanonOptions, CoreExportRef, ImportSource, InterfaceName } from './plan.ts';
import { malformed } from './reader.ts';

/** A definition of a core module: what a core import can be given. */
type CoreExtern<S extends CoreExternSort> = { readonly sort: S; readonly source: ImportSource };
export type CoreEntity =
  | CoreExtern<'core func'>
  | CoreExtern<'core table'>
  | CoreExtern<'core memory'>
  | CoreExtern<'core global'>
  | CoreExtern<'core tag'>;

export const isCoreExtern = (entity: Entity): entity is CoreEntity => 'source' in entity;

/** A core instance is what it exports, be it made of a module or listed. */
export type CoreInstance = ReadonlyMap<string, CoreEntity>;

/** So is a component instance. */
export type Instance = ReadonlyMap<string, Entity>;

/** A definition with the scope that it was made in, as it was then: later definitions are out of its sight. */
export type Closure<T> = { readonly body: T; readonly scope: Scope; readonly visible: ReadonlyMap<Sort, number> };

/** `host`: a function of an imported interface. `lifted`: one of the component's own. */
export type Func =
  | { readonly kind: 'host'; readonly from: InterfaceName; readonly name: string }
  | { readonly kind: 'lifted'; readonly core: CoreExportRef; readonly options: CanonOptions };

/** A resource type is the export of the imported interface that declares it; two of them are the same if identical. */
export type Type =
  /** `size`: how many parts the type has when all that it refers to is written out. */
  | { readonly kind: 'value'; readonly type: WitType; readonly size: number }
  | { readonly kind: 'func'; readonly params: WitFunc['params']; readonly result: WitFunc['result'] }
  | { readonly kind: 'resource'; readonly from: InterfaceName; readonly name: string }
  | { readonly kind: 'instance'; readonly closure: Closure<readonly Decl[]> }
  | { readonly kind: 'component' };

export type Entity =
  | CoreEntity
  | { readonly sort: 'core type' }
  | { readonly sort: 'core module'; readonly module: ModuleDef; readonly name: string }
  | { readonly sort: 'core instance'; readonly instance: CoreInstance }
  | { readonly sort: 'func'; readonly func: Func }
  | { readonly sort: 'type'; readonly type: Type }
  | { readonly sort: 'component'; readonly closure: Closure<ComponentDef> }
  | { readonly sort: 'instance'; readonly instance: Instance };

export type EntityOf<S extends Sort> = Extract<Entity, { readonly sort: S }>;

const isOf = <S extends Sort>(entity: Entity, sort: S): entity is EntityOf<S> => entity.sort === sort;

/** A name as an error message can bear it. */
export const quote = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 79)}…` : name);

/**
 * Definitions that one component may evaluate to. StarlingMonkey's has 1,500, counting each nested instantiation anew;
 * without a bound, n components that each instantiate the last twice make 2^n.
 */
const MAX_DEFINITIONS = 1_000_000;

/** Counts what evaluation does, and ends it when it is too much. */
export class Budget {
  #left = MAX_DEFINITIONS;

  spend(count: number, offset: number): void {
    this.#left -= count;
    if (this.#left < 0) throw refused(`instantiated, it has more than ${MAX_DEFINITIONS} definitions`, offset);
  }
}

/** The index spaces of a component or an instance type under evaluation. They only grow. */
export class Scope {
  readonly #spaces = new Map<Sort, Entity[]>();
  /** Where this scope was defined; null for the outermost component. */
  readonly #outer: Closure<unknown> | null;

  constructor(outer: Closure<unknown> | null) {
    this.#outer = outer;
  }

  push(entity: Entity): void {
    const space = this.#spaces.get(entity.sort);
    if (space === undefined) this.#spaces.set(entity.sort, [entity]);
    else space.push(entity);
  }

  count(sort: Sort): number {
    return this.#spaces.get(sort)?.length ?? 0;
  }

  /** Throws WASM_MALFORMED when the index space has no such index among the first `visible`. */
  get<S extends Sort>(sort: S, index: number, offset: number, visible = this.count(sort)): EntityOf<S> {
    const entity = index < visible ? this.#spaces.get(sort)?.[index] : undefined;
    if (entity !== undefined && isOf(entity, sort)) return entity;
    throw malformed(`${sort} index ${index}, where there are ${visible}`, offset);
  }

  /** The definition `index` of the scope `count` levels out. Throws WASM_MALFORMED when there is no such thing. */
  outer<S extends Sort>(
    sort: S,
    count: number,
    index: number,
    offset: number,
    visible = this.count(sort),
  ): EntityOf<S> {
    if (count === 0) return this.get(sort, index, offset, visible);
    if (this.#outer === null) throw malformed('an alias that leads out of the outermost component', offset);
    return this.#outer.scope.outer(sort, count - 1, index, offset, this.#outer.visible.get(sort) ?? 0);
  }

  close<T>(body: T): Closure<T> {
    const visible = new Map([...this.#spaces].map(([sort, space]) => [sort, space.length]));
    return { body, scope: this, visible };
  }
}

/** A map of exports that is being filled. Throws WASM_MALFORMED for a name given twice. */
export function define<T>(into: Map<string, T>, name: string, value: T, offset: number): void {
  if (into.has(name)) throw malformed(`the name ${quote(name)} given twice`, offset);
  into.set(name, value);
}

/** The definition that an alias denotes. Throws WASM_MALFORMED when there is none. */
export function resolveAlias(alias: Alias, scope: Scope, offset: number): Entity {
  if (alias.kind === 'alias outer') return scope.outer(alias.sort, alias.count, alias.index, offset);
  const { sort, instance, name } = alias;
  const exports: Instance =
    alias.kind === 'alias export'
      ? scope.get('instance', instance, offset).instance
      : scope.get('core instance', instance, offset).instance;
  const entity = exports.get(name);
  if (entity?.sort === sort) return entity;
  const found = entity === undefined ? 'no such export' : `a ${entity.sort}`;
  throw malformed(`alias of the ${sort} ${quote(name)} of instance ${instance}, which has ${found}`, offset);
}
