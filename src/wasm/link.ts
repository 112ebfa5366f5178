import { ThawError } from '../errors.ts';
import type { WitFunc } from '../wasi/wit.ts';
import { lift, liftedFunc, lower, resourceDrop } from './canon.ts';
import { type ComponentDef, type Definition, type ModuleDef, type NamedIndex, readComponent } from './component.ts';
import { checkNesting, type Decl, type ExternType, refused } from './component-types.ts';
import { ownName, type Producer, producersOf, uniqueProducers } from './custom-sections.ts';
import { type CoreModule, parseModule } from './module.ts';
import type { CoreImport, CoreInstantiation, DecodedComponent, InterfaceName, LiftedExport } from './plan.ts';
import { malformed } from './reader.ts';
import { Budget, type Closure, type CoreEntity, type CoreInstance, define, resolveAlias, Scope } from './scope.ts';
import { type Entity, type Instance, isCoreExtern, quote } from './scope.ts';
import { evaluateType, sizeOf } from './type-eval.ts';

/** `importTypes`: the type that the component declares for each function it imports, by `importKey`. */
export type LinkedComponent = DecodedComponent & { readonly importTypes: ReadonlyMap<string, WitFunc> };

/** `wasi:http/types@0.2.10#[method]fields.append` */
export const importKey = (from: InterfaceName, func: string): string => `${from.interface}@${from.version}#${func}`;

/**
 * Decodes a component to its link plan: evaluates its definitions, nested components included, until only core module
 * instantiations are left.
 *
 * Throws NOT_A_COMPONENT for any other file, WASM_MALFORMED and WASM_UNSUPPORTED with the offset, COMPONENT_UNSUPPORTED
 * for constructs that thaw does not run, each named. Does not check types: V8 checks the core ones when it links.
 * Source: component-model design/mvp/Explainer.md and Binary.md.
 */
export function decodeComponent(bytes: Uint8Array): LinkedComponent {
  return new Linker().link(readComponent(bytes));
}

/** What a component's import is given. */
type Supply = (definition: Definition & { kind: 'import' }, scope: Scope) => Entity;

type LoadedModule = { readonly index: number; readonly name: string; readonly module: CoreModule };

type ImportedInterface = InterfaceName & { readonly funcs: string[] };

/** World-level functions belong to no interface. */
const WORLD: InterfaceName = { interface: '', version: '' };

/** Splits `wasi:http/types@0.2.10`. Names of other forms are left whole. */
function interfaceName(name: string): InterfaceName {
  const at = name.indexOf('@');
  const isInterface = at > 0 && name.slice(0, at).includes('/') && !name.includes('<');
  return isInterface ? { interface: name.slice(0, at), version: name.slice(at + 1) } : { interface: name, version: '' };
}

class Linker {
  readonly #budget = new Budget();
  readonly #modules = new Map<ModuleDef, LoadedModule>();
  readonly #instances: CoreInstantiation[] = [];
  /** By interface and version. */
  readonly #imports = new Map<string, ImportedInterface>();
  readonly #importTypes = new Map<string, WitFunc>();
  readonly #producers = new Set<readonly Producer[]>();

  link(root: ComponentDef): LinkedComponent {
    const exports = this.#evaluate(root, new Scope(null), this.#hostSupply(), 0);
    const loaded = [...this.#modules.values()];
    const plan = {
      modules: loaded.map(({ name }) => ({ name })),
      instances: this.#instances,
      exports: this.#liftedExports(exports),
      imports: [...this.#imports.values()],
    };
    return {
      plan,
      modules: loaded.map(({ module }) => module.bytes),
      producers: uniqueProducers([...this.#producers].flat()),
      importTypes: this.#importTypes,
    };
  }

  /** Evaluates one component, `depth` instantiations deep, to what it exports. */
  #evaluate(component: ComponentDef, scope: Scope, supply: Supply, depth: number): Instance {
    const exports = new Map<string, Entity>();
    this.#producers.add(component.producers);
    for (const definition of component.definitions) {
      this.#budget.spend(1, definition.offset);
      switch (definition.kind) {
        case 'import':
          scope.push(supply(definition, scope));
          break;
        case 'export': {
          const entity = scope.get(definition.sort, definition.index, definition.offset);
          define(exports, definition.name, entity, definition.offset);
          scope.push(entity);
          break;
        }
        case 'core module': {
          const name = component.moduleNames.get(scope.count('core module')) ?? '';
          scope.push({ sort: 'core module', module: definition.module, name });
          break;
        }
        case 'instantiate':
          scope.push({ sort: 'instance', instance: this.#instantiate(definition, scope, depth) });
          break;
        default:
          this.#define(definition, scope);
      }
    }
    return exports;
  }

  #define(
    definition: Exclude<Definition, { kind: 'import' | 'export' | 'core module' | 'instantiate' }>,
    scope: Scope,
  ): void {
    const { offset } = definition;
    switch (definition.kind) {
      case 'core instantiate':
        scope.push({ sort: 'core instance', instance: this.#instantiateModule(definition, scope) });
        break;
      case 'core bag':
        scope.push({ sort: 'core instance', instance: this.#coreBag(definition, scope) });
        break;
      case 'core types':
        this.#budget.spend(definition.count, offset);
        for (let left = definition.count; left > 0; left--) scope.push({ sort: 'core type' });
        break;
      case 'component':
        scope.push({ sort: 'component', closure: scope.close(definition.component) });
        break;
      case 'bag':
        scope.push({ sort: 'instance', instance: this.#collect(definition.exports, scope, offset) });
        break;
      case 'type':
        this.#budget.spend(sizeOf(definition.type), offset);
        scope.push({ sort: 'type', type: evaluateType(definition.type, scope, offset) });
        break;
      case 'lift':
        scope.push({ sort: 'func', func: lift(definition, scope) });
        break;
      case 'lower':
        scope.push(lower(definition, scope));
        break;
      case 'resource drop':
        scope.push(resourceDrop(definition.type, scope, offset));
        break;
      default:
        scope.push(resolveAlias(definition, scope, offset));
    }
  }

  /** The entities that a list of names and indexes denotes. */
  #collect(list: readonly NamedIndex[], scope: Scope, offset: number): ReadonlyMap<string, Entity> {
    this.#budget.spend(list.length, offset);
    const entities = new Map<string, Entity>();
    for (const { name, sort, index } of list) define(entities, name, scope.get(sort, index, offset), offset);
    return entities;
  }

  #instantiate(definition: Definition & { kind: 'instantiate' }, scope: Scope, depth: number): Instance {
    const { offset } = definition;
    checkNesting(depth + 1, offset);
    const { closure } = scope.get('component', definition.component, offset);
    const args = this.#collect(definition.args, scope, offset);
    const supply: Supply = ({ name, type }) => {
      const entity = args.get(name);
      if (entity?.sort === type.kind) return entity;
      const found = entity === undefined ? 'nothing' : `a ${entity.sort}`;
      throw malformed(`${type.kind} import ${quote(name)} of component ${definition.component} given ${found}`, offset);
    };
    return this.#evaluate(closure.body, new Scope(closure), supply, depth + 1);
  }

  #coreBag({ exports, offset }: Definition & { kind: 'core bag' }, scope: Scope): CoreInstance {
    this.#budget.spend(exports.length, offset);
    const bag = new Map<string, CoreEntity>();
    for (const { name, sort, index } of exports) {
      const entity = scope.get(sort, index, offset);
      if (!isCoreExtern(entity)) throw malformed(`a core instance with the export ${quote(name)}, a ${sort}`, offset);
      define(bag, name, entity, offset);
    }
    return bag;
  }

  #instantiateModule(definition: Definition & { kind: 'core instantiate' }, scope: Scope): CoreInstance {
    const { offset } = definition;
    const args = new Map<string, CoreInstance>();
    for (const { name, instance } of definition.args) {
      define(args, name, scope.get('core instance', instance, offset).instance, offset);
    }
    const { index, name, module } = this.#load(scope.get('core module', definition.module, offset));
    this.#budget.spend(args.size + module.imports.length + module.exports.length, offset);
    const imports = module.imports.map((wanted): CoreImport => {
      const kind = wanted.type.kind;
      const given = args.get(wanted.module)?.get(wanted.name);
      if (given?.sort === `core ${kind}`) return { module: wanted.module, name: wanted.name, kind, from: given.source };
      const what = `import ${quote(wanted.module)} ${quote(wanted.name)} of core module ${quote(name)}`;
      throw malformed(`${what}, a ${kind}, given ${given === undefined ? 'nothing' : `a ${given.sort}`}`, offset);
    });
    const instance = this.#instances.push({ module: index, imports }) - 1;
    const exports = new Map<string, CoreEntity>();
    for (const { name: exported, kind } of module.exports) {
      const source = { kind: 'core', instance, name: exported } as const;
      define(exports, exported, { sort: `core ${kind}`, source }, offset);
    }
    return exports;
  }

  /** Parses a module when it is first instantiated. */
  #load({ module: definition, name: given }: Entity & { sort: 'core module' }): LoadedModule {
    const known = this.#modules.get(definition);
    if (known !== undefined) return known;
    const index = this.#modules.size;
    const module = parseCoreModule(definition, given === '' ? String(index) : given);
    const customs = module.customs.map(({ name, body }) => ({
      name,
      content: module.bytes.subarray(body.start, body.end),
    }));
    const name = given === '' ? (ownName(customs) ?? `module${index}`) : given;
    const loaded = { index, name, module };
    this.#modules.set(definition, loaded);
    this.#producers.add(producersOf(customs));
    return loaded;
  }

  /** What the outermost component imports comes from the host. */
  #hostSupply(): Supply {
    const names = new Map<string, true>();
    return ({ name, type, offset }, scope) => {
      define(names, name, true, offset);
      if (type.kind !== 'instance') return this.#declare(name, type, WORLD, scope, offset);
      const { type: instance } = scope.get('type', type.type, offset);
      if (instance.kind !== 'instance') throw malformed(`type ${type.type} is no instance type`, offset);
      return { sort: 'instance', instance: this.#hostInstance(instance.closure, interfaceName(name)) };
    };
  }

  /** The instance that an instance type describes, provided by the host as the interface `from`. */
  #hostInstance(closure: Closure<readonly Decl[]>, from: InterfaceName): Instance {
    this.#importedInterface(from);
    const scope = new Scope(closure);
    const exports = new Map<string, Entity>();
    for (const decl of closure.body) {
      const { offset } = decl;
      this.#budget.spend(decl.kind === 'type' ? sizeOf(decl.type) : 1, offset);
      if (decl.kind === 'type') {
        scope.push({ sort: 'type', type: evaluateType(decl.type, scope, offset) });
      } else if (decl.kind === 'export') {
        const entity = this.#declare(decl.name, decl.type, from, scope, offset);
        define(exports, decl.name, entity, offset);
        scope.push(entity);
      } else {
        scope.push(resolveAlias(decl, scope, offset));
      }
    }
    return exports;
  }

  /** What the host is declared to provide under `name`, in the interface `from`. */
  #declare(name: string, type: ExternType, from: InterfaceName, scope: Scope, offset: number): Entity {
    switch (type.kind) {
      case 'func': {
        const { type: func } = scope.get('type', type.type, offset);
        if (func.kind !== 'func') throw malformed(`type ${type.type} is no function type`, offset);
        this.#importedInterface(from).funcs.push(name);
        this.#importTypes.set(importKey(from, name), { name, params: func.params, result: func.result });
        return { sort: 'func', func: { kind: 'host', from, name } };
      }
      case 'type':
        if (type.eq !== null) return scope.get('type', type.eq, offset);
        return { sort: 'type', type: { kind: 'resource', from, name } };
      case 'instance':
        throw refused(`an instance ${quote(name)} inside the imported interface ${quote(from.interface)}`, offset);
      default:
        throw refused(`the import ${quote(name)} of a ${type.kind}: put it into the component`, offset);
    }
  }

  #importedInterface(from: InterfaceName): ImportedInterface {
    const key = importKey(from, '');
    const imported = this.#imports.get(key) ?? { ...from, funcs: [] };
    this.#imports.set(key, imported);
    return imported;
  }

  #liftedExports(exports: Instance): LiftedExport[] {
    const lifted: LiftedExport[] = [];
    const add = (from: InterfaceName, name: string, entity: Entity): void => {
      // Types are known to those who call.
      if (entity.sort === 'type') return;
      const { core, options } = liftedFunc(name, entity, 0);
      lifted.push({ ...from, func: name, core, options });
    };
    for (const [name, entity] of exports) {
      if (entity.sort !== 'instance') {
        add(WORLD, name, entity);
        continue;
      }
      this.#budget.spend(entity.instance.size, 0);
      const from = interfaceName(name);
      for (const [member, exported] of entity.instance) add(from, member, exported);
    }
    return lifted;
  }
}

/** Parses a core module. The offsets of its errors count from the module's first byte, so they say which module. */
function parseCoreModule({ bytes, offset }: ModuleDef, name: string): CoreModule {
  try {
    return parseModule(bytes);
  } catch (error) {
    if (!(error instanceof ThawError)) throw error;
    const where = `core module ${quote(name)}, which begins at byte offset 0x${offset.toString(16)} of the component`;
    throw new ThawError(error.code, `in ${where}: ${error.message}`, { cause: error });
  }
}
