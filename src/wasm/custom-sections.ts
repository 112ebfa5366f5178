import { ThawError } from '../errors.ts';
import type { DecodedComponent } from './plan.ts';
import { Reader } from './reader.ts';

export type CustomSection = { readonly name: string; readonly content: Uint8Array };
export type Producer = DecodedComponent['producers'][number];

/** Custom sections are remarks: a component whose remarks are damaged runs like any other, just with fewer names. */
function readAll<T>(sections: readonly CustomSection[], name: string, read: (reader: Reader) => readonly T[]): T[] {
  return sections
    .filter((section) => section.name === name)
    .flatMap((section) => {
      try {
        return read(new Reader(section.content));
      } catch (error) {
        if (error instanceof ThawError) return [];
        throw error;
      }
    });
}

/** The subsections of a name section that have the id `wanted`. */
function subsections(reader: Reader, wanted: number): Reader[] {
  const found: Reader[] = [];
  while (!reader.eof) {
    const id = reader.byte();
    const content = reader.sub(reader.u32());
    if (id === wanted) found.push(content);
  }
  return found;
}

/** The sort `core module` in two bytes. */
const isCoreModuleSort = (reader: Reader): boolean => reader.byte() === 0x00 && reader.byte() === 0x11;

/**
 * The names that a component gives to its core modules, by core module index.
 * Source: component-model design/mvp/Binary.md, "Name Section".
 */
export function coreModuleNames(sections: readonly CustomSection[]): ReadonlyMap<number, string> {
  const names = readAll(sections, 'component-name', (reader) =>
    subsections(reader, 1)
      .filter(isCoreModuleSort)
      .flatMap((content) => content.vec('names', () => [content.u32(), content.name()] as const)),
  );
  return new Map(names);
}

/** The name that a core module gives to itself, if any. Source: WebAssembly core specification, appendix 7.4. */
export function ownName(sections: readonly CustomSection[]): string | undefined {
  return readAll(sections, 'name', (reader) => subsections(reader, 0).map((content) => content.name()))[0];
}

/** What the `producers` sections say. Source: WebAssembly tool-conventions, ProducersSection.md. */
export function producersOf(sections: readonly CustomSection[]): Producer[] {
  return readAll(sections, 'producers', (reader) =>
    reader
      .vec('fields', () => {
        const field = reader.name();
        return reader.vec('values', () => ({ field, name: reader.name(), version: reader.name() }));
      })
      .flat(),
  );
}

/** Sorted by field, name and version, each row once. */
export function uniqueProducers(producers: readonly Producer[]): Producer[] {
  const rows = new Map(producers.map((row) => [JSON.stringify([row.field, row.name, row.version]), row]));
  const keys = [...rows.keys()].toSorted();
  return keys.flatMap((key) => rows.get(key) ?? []);
}
