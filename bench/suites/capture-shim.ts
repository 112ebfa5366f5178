/**
 * Stands in for Wizer when componentize-js calls it: keeps the engine as it is before Wizer, with all that its
 * initialisation reads, in the directory of the app, and gives the engine back as it came.
 * Arguments: the path of Wizer, which is not run, then what componentize-js gives to it.
 */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ENGINE_FILE, INPUTS_FILE, type EngineInputs } from './engine-start.ts';
import { readFileSync } from 'node:fs';

const args = process.argv.slice(3);

/** The value of an argument that begins with `prefix`. */
const valueOf = (prefix: string): string => args.find((arg) => arg.startsWith(prefix))?.slice(prefix.length) ?? '';

const appDirectory = valueOf('--mapdir=/::');
const bindingsDirectory = valueOf('--dir=');
const engine = args.at(-1) ?? '';

/** What the shell that started this adds to the environment. */
const SHELL_VARIABLES = new Set(['PWD', 'OLDPWD', 'SHLVL', '_']);
const inputs: EngineInputs = {
  stdin: (await text(process.stdin)).replaceAll(bindingsDirectory, '/thaw').replaceAll(`${appDirectory}/`, '/'),
  environment: Object.entries(process.env).flatMap(([name, value]) =>
    SHELL_VARIABLES.has(name) ? [] : [`${name}=${value ?? ''}`],
  ),
  bindings: readFileSync(join(bindingsDirectory, 'initializer.js'), 'utf8'),
};
writeFileSync(join(appDirectory, INPUTS_FILE), JSON.stringify(inputs));
copyFileSync(engine, join(appDirectory, ENGINE_FILE));
copyFileSync(engine, valueOf('-o='));
