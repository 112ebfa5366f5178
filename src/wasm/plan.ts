/**
 * The link plan: what is left of a component once its type level is evaluated away. A plan is a list of core module
 * instantiations, in order, each import of each named with its source. It is plain JSON: the manifest stores it.
 */

/** SHA-256 in lower-case hex, 64 digits. */
export type Digest = string;

/** An export of an earlier core instance. `instance` indexes `LinkPlan.instances`. */
export type CoreExportRef = { readonly instance: number; readonly name: string };

export type StringEncoding = 'utf8' | 'utf16' | 'latin1+utf16';

/** The canonical ABI options of a `canon lower` or `canon lift`. */
export type CanonOptions = {
  readonly memory: CoreExportRef | null;
  readonly realloc: CoreExportRef | null;
  readonly postReturn: CoreExportRef | null;
  readonly encoding: StringEncoding;
};

/** `interface` without version (`wasi:http/types`), `version` as the component wrote it (`0.2.10`), or '' for none. */
export type InterfaceName = { readonly interface: string; readonly version: string };

/** A function of an imported interface, lowered. `func` is the export name: `[method]fields.append`. */
export type LoweredImport = { readonly kind: 'host' } & InterfaceName & {
    readonly func: string;
    readonly options: CanonOptions;
  };

/** `canon resource.drop` of an imported resource type. `resource` is the name it is exported under: `fields`. */
type ResourceDropImport = { readonly kind: 'resource-drop' } & InterfaceName & { readonly resource: string };

type CoreExportImport = { readonly kind: 'core' } & CoreExportRef;

export type ImportSource = LoweredImport | ResourceDropImport | CoreExportImport;

export type ExternKind = 'func' | 'table' | 'memory' | 'global' | 'tag';

/** One import of a core module, by its two-level name, with what satisfies it. In the module's own import order. */
export type CoreImport = {
  readonly module: string;
  readonly name: string;
  readonly kind: ExternKind;
  readonly from: ImportSource;
};

/** `module` indexes `LinkPlan.modules`. */
export type CoreInstantiation = { readonly module: number; readonly imports: readonly CoreImport[] };

/** A function exported by the component through an interface, lifted from a core function. */
export type LiftedExport = InterfaceName & {
  readonly func: string;
  readonly core: CoreExportRef;
  readonly options: CanonOptions;
};

export type LinkPlan = {
  /** The core modules in the order of their first instantiation. Their bytes travel beside the plan. */
  readonly modules: readonly { readonly name: string }[];
  readonly instances: readonly CoreInstantiation[];
  readonly exports: readonly LiftedExport[];
  /** Every imported interface as the component declares it, used or not, for `inspect`. */
  readonly imports: readonly (InterfaceName & { readonly funcs: readonly string[] })[];
};

export type DecodedComponent = {
  readonly plan: LinkPlan;
  /** The original bytes of `plan.modules`, same order. */
  readonly modules: readonly Uint8Array[];
  /** From the `producers` custom sections: `processed-by wit-component 0.259.0`. */
  readonly producers: readonly { readonly field: string; readonly name: string; readonly version: string }[];
};

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'ref';
export type CoreFuncType = { readonly params: readonly ValType[]; readonly results: readonly ValType[] };

/**
 * What the rewriter did to one core module and what the runtime must provide for it. All names that it adds to the
 * module begin with `thaw:`.
 */
export type ModuleShape = {
  /**
   * Memories that the module defined and now imports as module `thaw`, name `memory<index>`. `index` is the memory
   * index, unchanged by the rewrite. `min` is the original minimum in 64 KiB pages (the code's import says 0), `max`
   * the declared maximum or null.
   */
  readonly memories: readonly { readonly index: number; readonly min: number; readonly max: number | null }[];
  /** Mutable numeric globals that the module defines, exported as `thaw:global<index>`. */
  readonly globals: readonly { readonly index: number; readonly type: 'i32' | 'i64' | 'f32' | 'f64' }[];
  /**
   * Memory indexes for which the module has `memory.size` or `memory.grow`. For each the module exports a mutable i32
   * global `thaw:memory<index>`: the address, in the control memory (imported as `thaw`.`control`), of that memory's
   * pages and limit words. See runtime/control.ts.
   */
  readonly sized: readonly number[];
};

/** The state of one instance after initialisation. Memory contents are in layers, beside. */
export type GlobalState = {
  readonly instance: number;
  /** The export name: `thaw:global7`. */
  readonly name: string;
  readonly type: 'i32' | 'i64' | 'f32' | 'f64';
  /** Decimal for i32 and i64; `Number.prototype.toString` for floats (never NaN: a NaN makes a component not restorable). */
  readonly value: string;
};
