import { invariant } from '../errors.ts';
import { checkCode, wordCheckCode } from './grow.ts';
import { parseModule, SECTION, sectionOf } from './module.ts';
import { CONTROL_IMPORT, IMPORT_MODULE } from './rewrite.ts';

/**
 * Code of the rewriter's with checks that look at the segment's word, in place of those that load from the stop page. Both
 * have the same length, so nothing else changes.
 *
 * The bytes of a check name a memory that no guest knows of. If they stand within a constant of the guest's, that constant
 * becomes another one: a guest could have that without us.
 */
export function withWordChecks(code: Uint8Array): Uint8Array {
  const module = parseModule(code);
  const memories = module.imports.filter(({ type }) => type.kind === 'memory');
  const control = memories.findIndex(({ module: from, name }) => from === IMPORT_MODULE && name === CONTROL_IMPORT);
  const section = sectionOf(module, SECTION.code);
  if (control < 0 || section === undefined) return code;
  const [check, wordCheck] = [checkCode(control), wordCheckCode(control)];
  invariant(check.length === wordCheck.length, 'one check takes the place of another');
  const changed = Buffer.from(code);
  const { start, end } = section.body;
  for (let at = changed.indexOf(check, start); at >= 0 && at < end; at = changed.indexOf(check, at + check.length)) {
    changed.set(wordCheck, at);
  }
  return changed;
}
