import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { putGuest, scratch, start, thaw } from './support.ts';

const COMMANDS = ['build', 'inspect', 'ls', 'rm', 'gc', 'check', 'serve', 'up', 'doctor'];

test('--version prints the version of the package', async (t) => {
  const packageJson = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8');
  const { version } = JSON.parse(packageJson) as { version: string };
  assert.deepEqual(await thaw(['--version'], { cwd: await scratch(t) }), {
    code: 0,
    stdout: `${version}\n`,
    stderr: '',
  });
});

test('--help of every command starts with examples of it, and the main one names every command', async (t) => {
  const cwd = await scratch(t);
  const main = await thaw(['--help'], { cwd });
  assert.equal(main.code, 0);
  assert.match(main.stdout, /^Examples:\n {2}thaw /);
  for (const command of COMMANDS) assert.match(main.stdout, new RegExp(`^ {2}${command} .*[a-z]`, 'm'));
  const helps = await Promise.all(COMMANDS.map((command) => thaw([command, '--help'], { cwd })));
  helps.forEach(({ code, stdout, stderr }, index) => {
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`^Examples:\\n {2}thaw ${COMMANDS[index]}\\b`));
    assert.match(stdout, /^Usage: thaw /m);
  });
});

test('wrong usage exits with 2, says what is wrong on stderr, and where the help is', async (t) => {
  const cwd = await scratch(t);
  const cases: readonly [args: string[], message: RegExp][] = [
    [[], /^Examples:/],
    [['serv'], /^thaw: unknown command 'serv'\n\(Did you mean serve\?\)/],
    [['ls', '--jsn'], /^thaw: unknown option '--jsn'\n\(Did you mean --json\?\)\nSee thaw ls --help/],
    [['build'], /^thaw: missing required argument 'input'\nSee thaw build --help/],
    [['ls', 'hello'], /^thaw: too many arguments/],
    [
      ['serve', '--restore-tier', 'magic'],
      /argument 'magic' is invalid. Allowed choices are scan, pagemap, drop, copy/,
    ],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await thaw(args, { cwd });
    assert.equal(code, 2, args.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, message);
  }
});

test('a failure exits with 1 and prints what failed and what to do, without colour in a pipe', async (t) => {
  const { code, stdout, stderr } = await thaw(['ls', '--store', 'nowhere'], { cwd: await scratch(t) });
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  assert.match(
    stderr,
    /^thaw: there is no snapshot store in nowhere .*\nthaw build makes .*--store names another\.\n$/,
  );
});

test('colour comes where it is asked for, and never with NO_COLOR', async (t) => {
  const cwd = await scratch(t);
  const escape = '\u001B[';
  assert.ok((await thaw(['ls'], { cwd, env: { FORCE_COLOR: '1' } })).stderr.includes(escape));
  assert.ok(!(await thaw(['ls'], { cwd, env: { NO_COLOR: '1' } })).stderr.includes(escape));
});

test('control characters of what it is given do not reach the terminal', async (t) => {
  const { stderr } = await thaw(['inspect', './\u001B[31mred\u202E.wasm'], { cwd: await scratch(t) });
  assert.match(stderr, /\.\/\\u\{1b\}\[31mred\\u\{202e\}\.wasm/);
});

test('a reader of stdout that goes away is no failure', async (t) => {
  const cwd = await scratch(t);
  const component = await putGuest(cwd, 'two.wasm', 'wat-two');
  const child = start(['inspect', component], { cwd });
  assert.ok(child.stdout && child.stderr);
  child.stdout.destroy();
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  assert.deepEqual({ code: code as unknown, stderr }, { code: 0, stderr: '' });
});

/** The Node on PATH that is older than thaw needs, if the machine has one. */
function oldNode(): string | undefined {
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, 'node'));
  return candidates.find((node) => {
    const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
    const major = Number(/^v(\d+)/.exec(stdout ?? '')?.[1] ?? Number.NaN);
    return major >= 18 && major < 26;
  });
}

test('the launcher hands over to a Node that can run thaw, with arguments and exit code', async (t) => {
  const node = oldNode();
  if (node === undefined) return t.skip('no old Node on PATH');
  const cwd = await scratch(t);
  assert.match((await thaw(['--version'], { cwd, node })).stdout, /^\d+\.\d+\.\d+\n$/);
  assert.equal((await thaw(['serv'], { cwd, node })).code, 2);
});
