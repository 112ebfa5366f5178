import { codeFacts, type InstructionUse, type WatchedInstruction } from './analyze.ts';
import type { CoreModule } from './module.ts';
import { functionName } from './names.ts';

/** Instructions that change state which lives neither in memory nor in globals, and which JavaScript cannot set back. */
const CHANGES_TABLES_OR_SEGMENTS: readonly WatchedInstruction[] = [
  'table.set',
  'table.grow',
  'table.fill',
  'table.copy',
  'table.init',
  'elem.drop',
];

/** Instructions that change an object of the garbage-collected heap. */
const CHANGES_OBJECTS: readonly WatchedInstruction[] = [
  'struct.set',
  'array.set',
  'array.fill',
  'array.copy',
  'array.init_data',
  'array.init_elem',
];

/**
 * Why an instance of this module cannot be brought back to its first state by writing its memory and its mutable numeric
 * globals: one sentence for each kind of obstacle, none when it can be restored. What a module imports is judged where
 * it is defined, but for objects: a module changes those that it imports, or is passed, as its own.
 *
 * @param allocations objects that the constant expressions of all modules it is linked with make
 *
 * Throws WASM_MALFORMED or WASM_UNSUPPORTED when the code cannot be read.
 */
export function reasonsNotRestorable(module: CoreModule, allocations = module.allocations): string[] {
  const { uses } = codeFacts(module);
  const has = (instruction: WatchedInstruction): string[] => {
    const use = uses.get(instruction);
    return use ? [describe(module, instruction, use)] : [];
  };
  const passive = module.data.filter(({ mode }) => mode === 'passive').length;
  return [
    ...CHANGES_TABLES_OR_SEGMENTS.flatMap(has),
    // Dropping an active segment does nothing: instantiation has dropped it.
    ...(passive > 0 ? has('data.drop').map((reason) => `${reason}, with ${passive} passive data segments`) : []),
    // Objects that constant expressions make live as long as the instance; others die with the request.
    ...(allocations > 0
      ? CHANGES_OBJECTS.flatMap(has).map((reason) => `${reason}, with ${allocations} objects made at instantiation`)
      : []),
    ...unreadableGlobals(module),
  ];
}

function describe(module: CoreModule, instruction: string, { count, firstFunction }: InstructionUse): string {
  const name = functionName(module, firstFunction);
  const where = `function ${firstFunction}${name === null ? '' : ` (${name})`}`;
  return count === 1 ? `${instruction} in ${where}` : `${instruction} in ${count} places, first in ${where}`;
}

function unreadableGlobals(module: CoreModule): string[] {
  const reasons: string[] = [];
  module.globals.forEach(({ type, mutable }, index) => {
    if (index < module.imported.global || !mutable) return;
    if (type === 'ref') reasons.push(`global ${index} is mutable and holds a reference`);
    if (type === 'v128') reasons.push(`global ${index} is mutable and holds a v128, which JavaScript cannot read`);
  });
  return reasons;
}
