/**
 * docs/errors.md, held to the table in src/errors.ts: `node scripts/errors-doc.ts` writes codes, statuses and advice
 * anew. What a code means is written in the document by hand; it is kept, and codes that lack it are named.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ERRORS, type ErrorCode } from '../src/errors.ts';

/** A part of the document under one heading. `intro` is what stands before the table; rows are in the order of the text. */
type Section = { readonly heading: string; readonly intro: string; readonly meanings: ReadonlyMap<string, string> };

const FILE = new URL('../docs/errors.md', import.meta.url);
const TABLE_HEAD = '| code | means | HTTP | what to do |\n|---|---|---|---|';

const codes = Object.keys(ERRORS) as ErrorCode[];
const isCode = (text: string): text is ErrorCode => Object.hasOwn(ERRORS, text);
const cell = (text: string): string => text.replaceAll('|', String.raw`\|`);

function parseSection(text: string): Section {
  const [heading = '', ...lines] = text.trimEnd().split('\n');
  const rows = lines.filter((line) => line.startsWith('|'));
  const intro = lines.filter((line) => !line.startsWith('|'));
  const meanings = rows.flatMap((row): [string, string][] => {
    const [, code, meaning = ''] = /^\| `([A-Z0-9_]+)` \|(.*?)(?<!\\)\|/.exec(row) ?? [];
    return code === undefined ? [] : [[code, meaning.trim()]];
  });
  return { heading, intro: intro.join('\n').trim(), meanings: new Map(meanings) };
}

/** Where each code belongs: where the document has it, else behind the code that it follows in the table. */
function placeCodes(sections: readonly Section[]): Map<ErrorCode, Section | undefined> {
  const places = new Map<ErrorCode, Section | undefined>();
  let last = sections.find(({ meanings }) => [...meanings.keys()].some(isCode));
  for (const code of codes) {
    last = sections.find(({ meanings }) => meanings.has(code)) ?? last;
    places.set(code, last);
  }
  return places;
}

function row(code: ErrorCode, meaning: string): string {
  const { help, ...rest } = ERRORS[code];
  const status = 'status' in rest ? String(rest.status) : '';
  return `| \`${code}\` | ${meaning} | ${status} | ${cell(help)} |`;
}

/**
 * The document brought up to date.
 *
 * @param current the text of docs/errors.md
 * @returns `text`, and `unexplained`: the codes whose meaning has yet to be written into it
 */
export function errorsDocument(current: string): { readonly text: string; readonly unexplained: readonly ErrorCode[] } {
  const [preamble = '', ...parts] = current.split(/^## /m);
  const sections = parts.map(parseSection);
  const places = placeCodes(sections);
  const meaningOf = (code: ErrorCode): string => places.get(code)?.meanings.get(code) ?? '';
  const texts = sections.map((section) => {
    const own = codes.filter((code) => places.get(code) === section);
    const table = own.length === 0 ? [] : [[TABLE_HEAD, ...own.map((code) => row(code, meaningOf(code)))].join('\n')];
    const intro = section.intro === '' ? [] : [section.intro];
    return `## ${[section.heading, ...intro, ...table].join('\n\n')}\n`;
  });
  return {
    text: [preamble.trimEnd() + '\n', ...texts].join('\n'),
    unexplained: codes.filter((code) => meaningOf(code) === ''),
  };
}

if (import.meta.main) {
  const { text, unexplained } = errorsDocument(readFileSync(FILE, 'utf8'));
  writeFileSync(FILE, text);
  if (unexplained.length > 0) {
    console.error(`docs/errors.md: say what these mean, in their second column: ${unexplained.join(', ')}`);
    process.exitCode = 1;
  }
}
