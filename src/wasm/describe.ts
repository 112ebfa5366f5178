import type { ImportSource, InterfaceName, LinkPlan } from './plan.ts';

/** Names come from the component: control characters of theirs must not reach a terminal. */
const clean = (name: string): string =>
  name.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16) ?? ''}}`);

/** `wasi:http/types@0.2.10`; `(world)` for functions of no interface. */
const interfaceText = ({ interface: name, version }: InterfaceName): string =>
  name === '' ? '(world)' : clean(version === '' ? name : `${name}@${version}`);

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** What one core instance is given by one source. */
type ImportGroup = {
  readonly source: string;
  readonly funcs: number;
  readonly drops: number;
  readonly core: number;
};

/** A plan for people: one row an instance, its imports by source. All text is fit for a terminal. */
type PlanDescription = {
  readonly instances: readonly { readonly label: string; readonly imports: readonly ImportGroup[] }[];
  readonly exports: readonly { readonly interface: string; readonly func: string; readonly from: string }[];
  readonly imports: readonly { readonly interface: string; readonly declared: number; readonly used: number }[];
};

/** Describes a plan, instances in the order of their instantiation, imported interfaces in the component's. */
export function describePlan(plan: LinkPlan): PlanDescription {
  const labels = plan.instances.map(
    ({ module }, index) => `${index} ${clean(plan.modules[module]?.name ?? `module${module}`)}`,
  );
  const used = usedFuncs(plan);
  const label = (index: number): string => labels[index] ?? String(index);
  return {
    instances: plan.instances.map(({ imports }, index) => ({
      label: label(index),
      imports: groupImports(imports, label),
    })),
    exports: plan.exports.map((exported) => ({
      interface: interfaceText(exported),
      func: clean(exported.func),
      from: `${label(exported.core.instance)}, ${clean(exported.core.name)}`,
    })),
    imports: plan.imports.map((imported) => ({
      interface: interfaceText(imported),
      declared: imported.funcs.length,
      used: used.get(interfaceText(imported))?.size ?? 0,
    })),
  };
}

function groupImports(
  imports: LinkPlan['instances'][number]['imports'],
  label: (instance: number) => string,
): ImportGroup[] {
  const sourceOf = (from: ImportSource): string =>
    from.kind === 'core' ? `instance ${label(from.instance)}` : interfaceText(from);
  return [...Map.groupBy(imports, ({ from }) => sourceOf(from))].map(([source, group]) => {
    const count = (kind: ImportSource['kind']): number => group.filter(({ from }) => from.kind === kind).length;
    return { source, funcs: count('host'), drops: count('resource-drop'), core: count('core') };
  });
}

/** The host functions that core modules are given, as sets of names by interface. */
function usedFuncs({ instances }: LinkPlan): ReadonlyMap<string, ReadonlySet<string>> {
  const used = new Map<string, Set<string>>();
  for (const { from } of instances.flatMap(({ imports }) => imports)) {
    if (from.kind !== 'host') continue;
    const key = interfaceText(from);
    used.set(key, (used.get(key) ?? new Set()).add(from.func));
  }
  return used;
}

/** The lines that `thaw inspect` prints of a description. */
export function planLines(description: PlanDescription): string[] {
  return [
    'core instances',
    ...description.instances.flatMap(({ label, imports }) => [
      `  ${label}`,
      ...imports.map((group) => `    from ${group.source}: ${countsText(group)}`),
    ]),
    'exports',
    ...description.exports.map((row) => `  ${row.interface} ${row.func}: lifted from ${row.from}`),
    'imports',
    ...description.imports.map((row) => `  ${row.interface}: ${row.used} of ${plural(row.declared, 'function')} used`),
  ];
}

const countsText = ({ funcs, drops, core }: ImportGroup): string =>
  [
    ...(funcs > 0 ? [plural(funcs, 'function')] : []),
    ...(drops > 0 ? [plural(drops, 'resource drop')] : []),
    ...(core > 0 ? [plural(core, 'core export')] : []),
  ].join(', ');
