/**
 * Runs Wizer for componentize-js so that the result depends on the app only. The engine keeps its command line, so the
 * path of a temporary directory would be frozen into the snapshot, and its mere length would move everything on the
 * heap: paths are mapped to fixed ones. Time and random numbers: see steady-init.ts.
 * Arguments: the path of Wizer, then what componentize-js gives to it.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { restoreCode, steadyInit } from './steady-init.ts';

const [wizer = '', ...args] = process.argv.slice(2);

/** The value of an argument that begins with `prefix`. */
const valueOf = (prefix: string): string => args.find((arg) => arg.startsWith(prefix))?.slice(prefix.length) ?? '';

const appDir = valueOf('--mapdir=/::');
const bindingsDir = valueOf('--dir=');
const output = valueOf('-o=');
const input = args.at(-1) ?? '';

const commandLine = (await text(process.stdin)).replaceAll(bindingsDir, '/thaw').replaceAll(`${appDir}/`, '/');

/** What the shell that started this adds to the environment. */
const SHELL_VARIABLES = new Set(['PWD', 'OLDPWD', 'SHLVL', '_']);
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !SHELL_VARIABLES.has(name)));

const engine = readFileSync(input);
const seed = createHash('sha256')
  .update(readFileSync(join(appDir, 'app.js')))
  .digest()
  .readInt32LE();
writeFileSync(input, steadyInit(engine, seed));
const { status, error } = spawnSync(
  wizer,
  args.map((arg) => (arg.startsWith('--dir=') ? `--mapdir=/thaw::${bindingsDir}` : arg)),
  { stdio: ['pipe', 'inherit', 'inherit'], input: commandLine, env },
);
if (error !== undefined) process.stderr.write(`starting ${wizer}: ${error.message}`);
if (status === 0) writeFileSync(output, restoreCode(readFileSync(output), engine));
process.exitCode = status ?? 1;
