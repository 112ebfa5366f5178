import { ThawError } from '../errors.ts';
import { importKey, type LinkedComponent } from '../wasm/link.ts';
import { importedFunctionTypes } from '../wasm/signatures.ts';
import { parseModule } from '../wasm/module.ts';
import type { CoreFuncType, LoweredImport } from '../wasm/plan.ts';
import type { Host } from '../wasi/host.ts';
import type { WitFunc } from '../wasi/wit.ts';

/**
 * Holds what a component imports against what the host has: every name known, every declared type the host's, every core
 * signature the one that the canonical ABI derives. V8 checks none of this for functions of JavaScript.
 *
 * @throws ThawError UNKNOWN_IMPORT, IMPORT_TYPE_MISMATCH
 */
export function checkImports(component: LinkedComponent, host: Host): void {
  for (const [index, instantiation] of component.plan.instances.entries()) {
    const bytes = component.modules[instantiation.module];
    const types = bytes === undefined ? [] : importedFunctionTypes(parseModule(bytes));
    const typeOf = new Map(types.map(({ module, name, type }) => [`${module}#${name}`, type]));
    for (const { module, name, from } of instantiation.imports) {
      if (from.kind === 'core') continue;
      if (from.kind === 'resource-drop') host.resource(from, from.resource);
      else checkFunction(from, component, host, typeOf.get(`${module}#${name}`), index);
    }
  }
}

function checkFunction(
  from: LoweredImport,
  component: LinkedComponent,
  host: Host,
  core: CoreFuncType | undefined,
  instance: number,
): void {
  const { declared, core: lowered } = host.func(from, from.func);
  const theirs = component.importTypes.get(importKey(from, from.func));
  if (theirs !== undefined && shapeOf(theirs) !== shapeOf(declared)) {
    throw mismatch(from, `declares it as ${shapeOf(theirs)}, where WASI has ${shapeOf(declared)}`);
  }
  if (core !== undefined && coreText(core) !== coreText(lowered)) {
    throw mismatch(
      from,
      `core instance ${instance} imports it as ${coreText(core)}, where the canonical ABI says ${coreText(lowered)}`,
    );
  }
}

const mismatch = (from: LoweredImport, what: string): ThawError =>
  new ThawError(
    'IMPORT_TYPE_MISMATCH',
    `the guest imports ${from.interface}@${from.version} ${from.func}, but ${what}`,
  );

/** Types without the names of parameters, which do not matter to the ABI and were renamed between releases. */
const shapeOf = ({ params, result }: WitFunc): string => JSON.stringify([params.map(([, type]) => type), result]);

const coreText = ({ params, results }: CoreFuncType): string => `(${params.join(', ')}) -> (${results.join(', ')})`;
