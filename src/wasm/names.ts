import { ThawError } from '../errors.ts';
import { type CoreModule, readerOf } from './module.ts';
import type { Reader } from './reader.ts';

const FUNCTION_NAMES = 1;

/**
 * The name that the module's name section gives a function, or null. Names are for people: a name section that is
 * damaged counts as absent.
 *
 * Source: WebAssembly 3.0 core specification, appendix "Custom Sections", name section.
 */
export function functionName(module: CoreModule, index: number): string | null {
  const section = module.customs.find(({ name }) => name === 'name');
  if (!section) return null;
  try {
    return findName(readerOf(module, section.body), index);
  } catch (error) {
    if (error instanceof ThawError) return null;
    throw error;
  }
}

function findName(section: Reader, wanted: number): string | null {
  while (!section.eof) {
    const id = section.byte();
    const subsection = section.sub(section.u32());
    if (id !== FUNCTION_NAMES) continue;
    for (let left = subsection.count('function names'); left > 0; left--) {
      const index = subsection.u32();
      const name = subsection.name();
      if (index === wanted) return name;
    }
  }
  return null;
}
