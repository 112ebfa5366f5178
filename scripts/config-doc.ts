/**
 * The table of keys in docs/config.md: `node scripts/config-doc.ts` writes it anew from the schema. The rest of the page
 * is written by hand.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { CONFIG_SCHEMA } from '../src/config/schema.ts';

/** What the table shows of a schema; all keys of the config have it. */
type Node = {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
};

const FILE = new URL('../docs/config.md', import.meta.url);
const BEGIN = '<!-- keys: written by scripts/config-doc.ts -->\n';
const END = '<!-- end of keys -->';

const cell = (text: string): string => text.replaceAll('|', String.raw`\|`);

/** `size`, `list of outbound hosts`; objects are told by their members. */
function kindOf({ type, title, items }: Node): string {
  if (items !== undefined && items.properties === undefined) return `list: ${kindOf(items)}`;
  return title ?? type ?? '';
}

function defaultOf(node: Node, required: boolean): string {
  if (node.default !== undefined)
    return `\`${typeof node.default === 'string' ? node.default : JSON.stringify(node.default)}\``;
  return required ? 'required' : '';
}

/** One row for each key, in the order of the schema; those of a list's members as `routes[].host`. */
function rowsOf({ properties = {}, required = [] }: Node, path: string): string[] {
  return Object.entries(properties).flatMap(([key, node]) => {
    if (key === '$schema') return [];
    const name = `${path}${key}`;
    const members = node.items?.properties === undefined ? rowsOf(node, `${name}.`) : rowsOf(node.items, `${name}[].`);
    const isGroup = members.length > 0;
    const cells = isGroup ? ['', ''] : [kindOf(node), defaultOf(node, required.includes(key))];
    return [`| \`${name}\` | ${cells.map(cell).join(' | ')} | ${cell(node.description ?? '')} |`, ...members];
  });
}

/** The page with its table brought up to date. Throws when the page has lost the marks around it. */
export function configDocument(current: string): string {
  const [before, rest] = current.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`docs/config.md has lost ${BEGIN.trim()} or ${END}`);
  const table = ['| key | value | default | |', '|---|---|---|---|', ...rowsOf(CONFIG_SCHEMA, '')];
  return `${before}${BEGIN}\n${table.join('\n')}\n\n${END}${after}`;
}

if (import.meta.main) writeFileSync(FILE, configDocument(readFileSync(FILE, 'utf8')));
