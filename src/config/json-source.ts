import type { Path, Position, Source } from './source.ts';

/**
 * JSON, read as such: a config of ten thousand routes takes a tenth of the time and memory that it takes as YAML. What
 * needs telling (two keys alike, deep nesting, what is not quite JSON) is left to the reader of YAML, which knows how.
 */

/** Where a value begins, and where its key does; a value without a key is its own. */
type Place = { readonly key: number; readonly value: number; readonly children: Children };
type Children = Map<string, Place> | readonly Place[] | null;

/** Nested deeper than any config is. */
const MAX_DEPTH = 64;

/** Thrown to give a text back to the reader of YAML. */
class NotPlain extends Error {}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

/** Finds places in a text that `JSON.parse` has accepted: nothing is checked that the syntax promises. */
class Places {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The value that begins here, after white space. @throws NotPlain for two keys alike, and for deep nesting */
  read(depth = 0, key: number | null = null): Place {
    if (depth > MAX_DEPTH) throw new NotPlain();
    const first = this.#next();
    const value = this.#at;
    return { key: key ?? value, value, children: this.#children(first, depth + 1) };
  }

  #children(first: string | undefined, depth: number): Children {
    if (first === '{') return this.#members(depth);
    if (first === '[') return this.#items(depth);
    if (first === '"') this.#skipText();
    else this.#skipWord();
    return null;
  }

  #members(depth: number): Map<string, Place> {
    const members = new Map<string, Place>();
    for (this.#at++; this.#next() !== '}';) {
      const start = this.#at;
      this.#skipText();
      const name = JSON.parse(this.#text.slice(start, this.#at)) as string;
      if (members.has(name)) throw new NotPlain();
      this.#skip(':');
      members.set(name, this.read(depth, start));
      this.#skip(',');
    }
    this.#at++;
    return members;
  }

  #items(depth: number): readonly Place[] {
    const items: Place[] = [];
    for (this.#at++; this.#next() !== ']'; this.#skip(',')) items.push(this.read(depth));
    this.#at++;
    return items;
  }

  /** The next character that is no white space. */
  #next(): string | undefined {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
    return this.#text[this.#at];
  }

  #skip(mark: ':' | ','): void {
    if (this.#next() === mark) this.#at++;
  }

  #skipText(): void {
    for (this.#at++; this.#text[this.#at] !== '"'; this.#at++) {
      if (this.#text[this.#at] === '\\') this.#at++;
    }
    this.#at++;
  }

  /** A number, true, false or null. */
  #skipWord(): void {
    while (/[\w.+-]/.test(this.#text[this.#at] ?? '')) this.#at++;
  }
}

const childOf = ({ children }: Place, name: string | number): Place | undefined => {
  if (children === null) return undefined;
  return children instanceof Map ? children.get(String(name)) : children[Number(name)];
};

/** Lines and columns of offsets, as the reader of YAML counts them: lines end with a line feed. */
function positionsIn(text: string): (offset: number) => Position {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let [low, high] = [0, starts.length];
    // The line begins at or before the offset, and the next one after it.
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { offset, line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  };
}

/** The position of what `path` names, or of the nearest thing around it that is in the file. */
const finder =
  (root: Place, positionAt: (offset: number) => Position) =>
  (path: Path, part: 'key' | 'value'): Position => {
    let place = root;
    for (const name of path) {
      const next = childOf(place, name);
      if (next === undefined) break;
      place = next;
    }
    return positionAt(place[part]);
  };

/**
 * Reads a JSON object or list into plain data that knows its places.
 * @returns null for what is not, and for what has keys that are there twice or is nested deeply
 */
export function readJson(file: string, text: string): Source | null {
  // A carriage return alone ends a line in YAML, and no line in what counts them.
  if (!/^[ \t\r\n]*[{[]/.test(text) || /\r(?!\n)/.test(text)) return null;
  try {
    const content: unknown = JSON.parse(text);
    const root = new Places(text).read();
    const positionAt = positionsIn(text);
    if (!Array.isArray(content)) return { file, value: content, find: finder(root, positionAt) };
    const find = finder(root, positionAt);
    return { file, value: { routes: content }, find: (path, part) => find(path.slice(1), part) };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof NotPlain) return null;
    throw error;
  }
}
