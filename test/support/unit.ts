import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** packaging/thaw.service, as systemd reads it: see systemd.syntax(7). */

export const UNIT_FILE = join(import.meta.dirname, '../../packaging/thaw.service');

/** A line of a section. An empty value resets what came before it. */
type Setting = { readonly section: string; readonly key: string; readonly value: string };

/** The settings of a unit in their order, continued lines joined. @throws Error at a line that is none */
export function settingsOf(text: string): Setting[] {
  const settings: Setting[] = [];
  let section = '';
  for (const line of text.replaceAll('\\\n', ' ').split('\n')) {
    if (line.trim() === '' || /^\s*[#;]/.test(line)) continue;
    const heading = /^\[(\w+)\]$/.exec(line)?.[1];
    const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (heading !== undefined) section = heading;
    else if (key !== undefined && value !== undefined && section !== '') settings.push({ section, key, value });
    else throw new Error(`not a line of a unit: ${line}`);
  }
  return settings;
}

export const UNIT = settingsOf(readFileSync(UNIT_FILE, 'utf8'));

/** All values of a setting of [Service]. */
export const serviceSettings = (key: string): string[] =>
  UNIT.flatMap((setting) => (setting.section === 'Service' && setting.key === key ? [setting.value] : []));

/** What the unit starts, word by word: Node, its flags, thaw, its command with its flags. */
export function startCommand(): { node: string; nodeFlags: string[]; thaw: string; args: string[] } {
  const [node = '', ...words] = (serviceSettings('ExecStart')[0] ?? '').split(/\s+/);
  const at = words.findIndex((word) => !word.startsWith('--'));
  return { node, nodeFlags: words.slice(0, at), thaw: words[at] ?? '', args: words.slice(at + 1) };
}
