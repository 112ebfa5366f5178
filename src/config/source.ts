import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import type { Document, Node, Pair } from 'yaml';
import { messageOf } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { readJson } from './json-source.ts';
import type { Problem } from './problem.ts';

/** From the top of the config: `['routes', 0, 'limits', 'wall']`. */
export type Path = readonly (string | number)[];

/** A place in a file. `line` and `column` count from 1, `offset` from 0. */
export type Position = { readonly offset: number; readonly line: number; readonly column: number };

/** One file, read. `value` is plain data; `find` says where a part of it stands: the key, or what it holds. */
export type Source = {
  readonly file: string;
  readonly value: unknown;
  readonly find: (path: Path, part: 'key' | 'value') => Position;
};

export type Reading =
  | { readonly source: Source; readonly problems: readonly [] }
  | {
      readonly source: null;
      readonly problems: readonly Problem[];
    };

/** A mapping, as `Source.value` holds it. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Uses of anchors: a hundred and more make a file that grows when it is read, which is an attack and not a config. */
const MAX_ALIASES = 100;

/** Syntax errors shown for one file: the first ones matter, what follows is mostly their consequence. */
const SHOWN_ERRORS = 3;

const place = (file: string, { line, column }: Position): string => `${file}:${line}:${column}`;

const problemAt = (file: string, position: Position, message: string, code: ErrorCode = 'CONFIG_SYNTAX'): Problem => ({
  code,
  where: place(file, position),
  message,
});

const START: Position = { offset: 0, line: 1, column: 1 };

const positionOf = (counter: LineCounter, offset: number): Position => {
  const { line, col } = counter.linePos(offset);
  return { offset, line: Math.max(1, line), column: Math.max(1, col) };
};

const keyText = ({ key }: Pair): string | undefined => (isScalar(key) ? String(key.value) : undefined);

/** The parser's own check of keys is quadratic, and names only one of the two places. */
const duplicateKeys = (file: string, document: Document, counter: LineCounter): Problem[] => {
  const problems: Problem[] = [];
  visit(document, {
    Map(_, map) {
      const seen = new Map<string, Position>();
      for (const pair of map.items) {
        const text = keyText(pair);
        if (text === undefined || !isScalar(pair.key)) continue;
        const position = positionOf(counter, pair.key.range?.[0] ?? 0);
        const first = seen.get(text);
        if (first === undefined) seen.set(text, position);
        else
          problems.push(
            problemAt(file, position, `the key ${JSON.stringify(text)} is there twice: first at ${place(file, first)}`),
          );
      }
    },
  });
  return problems;
};

const syntaxProblems = (file: string, document: Document, counter: LineCounter): Problem[] => {
  const faults = [...document.errors, ...document.warnings];
  const exhausted = faults.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  const shown = exhausted === undefined ? faults.slice(0, SHOWN_ERRORS) : [exhausted];
  return shown.map(({ code, message, pos }) => {
    const position = positionOf(counter, pos[0]);
    if (code === 'RESOURCE_EXHAUSTION') return problemAt(file, position, 'too deeply nested');
    if (code === 'MULTIPLE_DOCS') return problemAt(file, position, 'a second document begins here: a file holds one');
    return problemAt(file, position, message.replace(/\s*\n[^]*$/, ''));
  });
};

type Step = { readonly key: Node | null; readonly value: Node | null };

const nodeOf = (value: unknown): Node | null => (isNode(value) ? value : null);

const childOf = (document: Document, parent: Node, name: string | number): Step | null => {
  const node = isAlias(parent) ? parent.resolve(document) : parent;
  if (isSeq(node)) {
    const item = nodeOf(node.items[Number(name)]);
    return item === null ? null : { key: item, value: item };
  }
  if (!isMap(node)) return null;
  const pair = node.items.find((candidate) => keyText(candidate) === String(name));
  return pair === undefined ? null : { key: nodeOf(pair.key), value: nodeOf(pair.value) };
};

/** The position of what `path` names, or of the nearest thing around it that is in the file. */
const finder =
  (document: Document, counter: LineCounter, listIsRoutes: boolean) =>
  (path: Path, part: 'key' | 'value'): Position => {
    let step: Step = { key: null, value: document.contents };
    for (const name of listIsRoutes ? path.slice(1) : path) {
      const next = step.value === null ? null : childOf(document, step.value, name);
      if (next === null) break;
      step = next;
    }
    const node = part === 'key' ? (step.key ?? step.value) : (step.value ?? step.key);
    return positionOf(counter, node?.range?.[0] ?? 0);
  };

const decode = (bytes: Uint8Array): string | null => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
};

const parse = (file: string, text: string): Reading => {
  const counter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: counter,
    schema: 'core',
    resolveKnownTags: false,
    stringKeys: true,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'error',
  });
  const problems = [...syntaxProblems(file, document, counter)];
  if (problems.length === 0) problems.push(...duplicateKeys(file, document, counter));
  if (problems.length > 0) return { source: null, problems };
  const content: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
  const isList = Array.isArray(content);
  const source = { file, value: isList ? { routes: content } : content, find: finder(document, counter, isList) };
  return { source, problems: [] };
};

/**
 * Reads YAML 1.2 or JSON (which is YAML) into plain data that knows its places. A list at the top is taken as `routes`.
 * Refuses, each with its place, what makes a config ambiguous or dangerous: text that is not UTF-8, a key that is there
 * twice, several documents, tags, anchors used to grow the file, nesting that exhausts the stack.
 */
export const readSource = (file: string, bytes: Uint8Array): Reading => {
  const fail = (message: string): Reading => ({ source: null, problems: [problemAt(file, START, message)] });
  const text = decode(bytes);
  if (text === null) return fail('the file is not UTF-8 text');
  if (text.includes('\0')) return fail('the file has a NUL character: it is not text');
  try {
    const json = readJson(file, text);
    return json === null ? parse(file, text) : { source: json, problems: [] };
  } catch (error) {
    // From `toJS` and `visit`: an alias without its anchor, too many of them, or a stack that overflows.
    return fail(error instanceof RangeError ? 'too deeply nested' : messageOf(error));
  }
};

/** `file:line:column` of a part of a source. */
export const whereIs = (source: Source, path: Path, part: 'key' | 'value'): string =>
  place(source.file, source.find(path, part));
