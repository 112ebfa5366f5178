import { Writer } from '../../src/wasm/writer.ts';
import type { Random } from './random.ts';

/**
 * Damage as it happens, and as somebody who wants to break a decoder would do it: files that end early, bits that flip,
 * pieces that are copied, moved or lost, numbers that claim more than there is, sections that come twice or out of order.
 */
type Mutation = (bytes: Uint8Array, random: Random, donor: Uint8Array) => Uint8Array;

const joined = (...parts: readonly Uint8Array[]): Uint8Array => {
  const whole = Buffer.concat(parts);
  return new Uint8Array(whole.buffer, whole.byteOffset, whole.length);
};

const truncate: Mutation = (bytes, random) => bytes.slice(0, random.below(bytes.length));

const flipBits: Mutation = (bytes, random) => {
  const flipped = bytes.slice();
  for (let left = 1 + random.below(3); left > 0 && flipped.length > 0; left--) {
    const at = random.below(flipped.length);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
  }
  return flipped;
};

/** Bytes that mean something in many places: zero, one, all ones, LEB128 that goes on, the largest of one byte. */
const TELLING = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x40, 0x0b];

const overwrite: Mutation = (bytes, random) => {
  const changed = bytes.slice();
  for (let left = 1 + random.below(3); left > 0 && changed.length > 0; left--) {
    changed[random.below(changed.length)] = random.once(2) ? random.pick(TELLING) : random.below(256);
  }
  return changed;
};

const MAX_SPLICE = 64;

/** Puts a piece of another file, or of this one, in the place of a piece of another length. */
const splice: Mutation = (bytes, random, donor) => {
  const from = random.below(donor.length);
  const piece = donor.subarray(from, from + random.below(MAX_SPLICE));
  const at = random.below(bytes.length);
  const cut = random.once(2) ? piece.length : random.below(MAX_SPLICE);
  return joined(bytes.subarray(0, at), piece, bytes.subarray(Math.min(at + cut, bytes.length)));
};

/** Counts and lengths at the edges of what 32 bits, and those who add to them, can hold. */
const HUGE = [0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 0x1000_0000, 0x00ff_ffff, 0xffff, 0xfff9, 1000, 200];

/** Replaces a byte, which may be a count, a length or an index, by a large number. */
const inflate: Mutation = (bytes, random) => {
  const at = random.below(bytes.length);
  const claim = new Writer(5).u32(random.pick(HUGE)).finish();
  return joined(bytes.subarray(0, at), claim, bytes.subarray(Math.min(at + 1, bytes.length)));
};

const anywhere: readonly Mutation[] = [truncate, flipBits, flipBits, overwrite, splice, inflate];

type Section = { readonly id: number; readonly content: Uint8Array };

const HEADER_BYTES = 8;

/** The sections of a module or a component, or null where they cannot be told apart. Without thaw's own reader. */
function sectionsOf(bytes: Uint8Array): Section[] | null {
  const sections: Section[] = [];
  let at = HEADER_BYTES;
  while (at < bytes.length) {
    const id = bytes[at++] as number;
    let size = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || scale > 2 ** 28) return null;
      size += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    if (size > bytes.length - at) return null;
    sections.push({ id, content: bytes.subarray(at, at + size) });
    at += size;
  }
  return sections;
}

function withSections(header: Uint8Array, sections: readonly Section[]): Uint8Array {
  const out = new Writer(sections.reduce((sum, { content }) => sum + content.length + 8, HEADER_BYTES));
  out.bytes(header.subarray(0, HEADER_BYTES));
  for (const { id, content } of sections) out.section(id, content);
  return out.finish();
}

/** Drops, doubles, moves or swaps sections, or takes one from another file. */
function shuffled(sections: readonly Section[], random: Random, donor: Uint8Array): Section[] {
  const changed = [...sections];
  const at = random.below(changed.length);
  const other = random.below(changed.length);
  const section = changed[at] as Section;
  switch (random.below(5)) {
    case 0:
      changed.splice(at, 1);
      break;
    case 1:
      changed.splice(other, 0, section);
      break;
    case 2:
      changed.splice(other, 0, ...changed.splice(at, 1));
      break;
    case 3:
      changed[at] = { id: random.below(16), content: section.content };
      break;
    default: {
      const theirs = sectionsOf(donor) ?? [];
      if (theirs.length > 0) changed.splice(at, random.below(2), random.pick(theirs));
    }
  }
  return changed;
}

const MAX_DEPTH = 4;

/** Damages a module or component somewhere, or within one of its sections so that all that is around it stays whole. */
export function mutateBinary(bytes: Uint8Array, random: Random, donor: Uint8Array, depth = 0): Uint8Array {
  const sections = random.below(10) < 8 && depth < MAX_DEPTH ? sectionsOf(bytes) : null;
  if (sections === null || sections.length === 0) return random.pick(anywhere)(bytes, random, donor);
  if (random.once(6)) return withSections(bytes, shuffled(sections, random, donor));
  const at = random.below(sections.length);
  const { id, content } = sections[at] as Section;
  const isNested = content.length > HEADER_BYTES && content[0] === 0 && content[1] === 0x61;
  const changed = isNested
    ? mutateBinary(content, random, donor, depth + 1)
    : random.pick(anywhere)(content, random, donor);
  return withSections(bytes, sections.with(at, { id, content: changed }));
}

/** Text that breaks or stretches JSON. */
const TOKENS = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  'null',
  '-',
  '1e999',
  '""',
  '\\u0000',
  '\u00e9',
  '{"kind":"core"}',
  '[[[[[[',
];
const NUMBERS = ['0', '-1', '-0', '1.5', '4294967296', '9007199254740993', '1e21', '65536', '65537', '1048577', 'true'];

/** Damages a JSON text: as bytes, by its tokens, or by its numbers. */
export function mutateJson(bytes: Uint8Array, random: Random, donor: Uint8Array): Uint8Array {
  const kind = random.below(3);
  if (kind === 0) return random.pick(anywhere)(bytes, random, donor);
  const text = Buffer.from(bytes).toString('latin1');
  if (kind === 1) {
    const at = random.below(text.length);
    return Buffer.from(text.slice(0, at) + random.pick(TOKENS) + text.slice(at + random.below(4)), 'utf8');
  }
  const from = random.below(text.length);
  const found = /\b\d+\b/.exec(text.slice(from));
  if (found === null) return random.pick(anywhere)(bytes, random, donor);
  const number = found[0];
  const index = from + found.index;
  return Buffer.from(text.slice(0, index) + random.pick(NUMBERS) + text.slice(index + number.length), 'latin1');
}

/** Damages a file of which nothing is known but that it has words of 32 bits at its head. */
export function mutateWords(bytes: Uint8Array, random: Random, donor: Uint8Array): Uint8Array {
  if (random.once(2) || bytes.length < 8) return random.pick(anywhere)(bytes, random, donor);
  const changed = Buffer.from(bytes);
  const words = Math.min(changed.length, 64) >> 2;
  changed.writeUInt32LE(random.once(2) ? random.pick(HUGE) : random.below(8), random.below(words) * 4);
  return changed;
}
