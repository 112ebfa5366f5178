import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The root of the repository. */
export const ROOT = join(import.meta.dirname, '../..');

export const readPage = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

/** All pages that a user or a contributor reads. */
export const PAGES = [
  'README.md',
  'ARCHITECTURE.md',
  'SECURITY.md',
  'docs/config.md',
  'docs/deploy.md',
  'docs/errors.md',
  'docs/guests.md',
] as const;

/** A fenced block: `language` is what stands behind the fence, `line` where the fence is, counted from 1. */
export type Block = { readonly language: string; readonly line: number; readonly text: string };

/** The fenced blocks of a page. @throws Error when the last one does not end */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; line: number; lines: string[] } | null = null;
  for (const [index, line] of markdown.split('\n').entries()) {
    const fence = /^```(\S*)$/.exec(line);
    if (open !== null && fence !== null) {
      blocks.push({ language: open.language, line: open.line, text: open.lines.join('\n') });
      open = null;
    } else if (open !== null) open.lines.push(line);
    else if (fence !== null) open = { language: fence[1] ?? '', line: index + 1, lines: [] };
  }
  if (open !== null) throw new Error(`the block that begins in line ${open.line} does not end`);
  return blocks;
}

/** A command as it is typed, its continued lines joined, without the prompt and a trailing comment. */
export function commandsOf({ language, text }: Block): string[] {
  if (language !== 'sh' && language !== 'console') return [];
  const lines = text.replaceAll('\\\n', ' ').split('\n');
  const typed = language === 'console' ? lines.filter((line) => line.startsWith('$ ')) : lines;
  return typed
    .map((line) =>
      line
        .replace(/^\$ /, '')
        .replace(/(^|\s)#\s.*$/, '')
        .trim(),
    )
    .flatMap((line) => line.split(/\s+(?:&&|\|\||\|)\s+/))
    .filter((line) => line !== '');
}
