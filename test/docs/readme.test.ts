import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { PAGES, ROOT, blocksOf, commandsOf, readPage } from './support.ts';

const run = promisify(execFile);
const THAW = /^(?:npx )?thaw\b/;
const ENVIRONMENT = /^(?:[A-Z_]+=\S+ )+/;

/** `thaw --help` or `thaw <command> --help`, asked once. */
const helps = new Map<string, Promise<string>>();

function helpOf(command: string): Promise<string> {
  let help = helps.get(command);
  if (help === undefined) {
    const args = [join(ROOT, 'bin/thaw.js'), ...(command === '' ? [] : [command]), '--help'];
    help = run(process.execPath, args).then(({ stdout }) => stdout);
    helps.set(command, help);
  }
  return help;
}

/** The commands in the blocks of a page that begin with `prefix`, with where they stand. */
const commandsIn = (name: string): { readonly where: string; readonly command: string }[] =>
  blocksOf(readPage(name)).flatMap((block) =>
    commandsOf(block).map((command) => ({
      where: `${name}, block of line ${block.line}: ${command}`,
      command: command.replace(ENVIRONMENT, ''),
    })),
  );

test('every thaw command in the documents exists, with every flag that they give it', async () => {
  const all = PAGES.flatMap(commandsIn).filter(({ command }) => THAW.test(command));
  assert.ok(all.length >= 4);
  for (const { where, command } of all) {
    const [, ...words] = command.replace(/^npx /, '').split(/\s+/);
    const name = words[0]?.startsWith('-') === false ? words[0] : '';
    if (name !== '') assert.match(await helpOf(''), new RegExp(`^ {2}${name} `, 'm'), where);
    const help = await helpOf(name);
    for (const flag of words.filter((word) => word.startsWith('--'))) {
      const [option = ''] = flag.split('=');
      assert.match(help, new RegExp(`(^|\\s)${option}\\b`, 'm'), where);
    }
  }
});

test('every flag and command that the prose names exists', async () => {
  const main = await helpOf('');
  const commands = [...main.matchAll(/^ {2}([a-z]+) /gm)].map(([, name = '']) => name);
  const everyHelp = (await Promise.all(commands.filter((name) => name !== 'help').map(helpOf))).join('\n');
  for (const name of PAGES) {
    const spans = [...readPage(name).matchAll(/`thaw ([a-z]+)([^`]*)`/g)];
    for (const [span, command = '', rest = ''] of spans) {
      assert.ok(commands.includes(command), `${name}: ${span}`);
      for (const [flag] of rest.matchAll(/--[a-z-]+/g))
        assert.ok((await helpOf(command)).includes(flag), `${name}: ${span}`);
    }
    for (const [span, flag = ''] of readPage(name).matchAll(/`(--[a-z-]+)[^`]*`/g)) {
      if (NOT_OURS.has(flag)) continue;
      assert.ok(everyHelp.includes(flag), `${name}: ${span}`);
    }
  }
});

/** Flags of other programs that the documents name. */
const NOT_OURS = new Set([
  '--omit',
  '--isolate-requests',
  '--permission',
  '--allow-addons',
  '--allow-fs-read',
  '--allow-fs-write',
  '--allow-net',
  '--allow-worker',
  '--inplace',
]);

test('every npm script in the documents exists', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const all = PAGES.flatMap(commandsIn).flatMap(({ where, command }) => {
    const name = /^npm (?:run )?(start|test|[a-z:]+)$/.exec(command)?.[1];
    return name === undefined || BUILT_IN.has(name) ? [] : [{ where, name }];
  });
  assert.ok(all.length >= 2);
  for (const { where, name } of all) assert.ok(Object.hasOwn(scripts, name), where);
});

/** Commands of npm itself. */
const BUILT_IN = new Set(['ci', 'install', 'pack']);

test('every link within the repository leads somewhere, to a heading where it names one', () => {
  for (const name of [...PAGES, 'CHANGELOG.md'] as const) {
    for (const [link, target = ''] of readPage(name).matchAll(/\]\(([^)]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? name : join(dirname(name), path);
      assert.ok(existsSync(join(ROOT, file)), `${name}: ${link}`);
      if (anchor !== undefined) assert.ok(anchorsOf(readPage(file)).has(anchor), `${name}: ${link}`);
    }
  }
});

/** The anchors that GitHub makes of headings. */
function anchorsOf(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
