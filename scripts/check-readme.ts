/**
 * Does what README.md shows: `node scripts/check-readme.ts` builds and serves the sample deployment, types every `$ curl`
 * of its console blocks and compares what comes back with what stands below it. Takes the ports that README names; the
 * store is a new one.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '..');

/** Where README says that the sample deployment listens. */
const URL = 'http://127.0.0.1:8080';

/** Four apps and their engine take a minute on a busy machine of two cores. */
const START_MS = 300_000;

type Example = { readonly command: string; readonly output: string };

/** The commands of a page's console blocks, with what it shows below each. */
function examplesOf(markdown: string): Example[] {
  const blocks = [...markdown.matchAll(/^```console\n(.*?)^```$/gms)].map(([, text = '']) => text);
  return blocks.flatMap((text) =>
    text
      .split(/^\$ /m)
      .slice(1)
      .map((example) => {
        const [command = '', ...output] = example.split('\n');
        return { command, output: output.join('\n').trimEnd() };
      }),
  );
}

/** `npm start` with a store of its own. @throws Error with what the node said, when it does not serve */
async function startNode(store: string): Promise<ChildProcess> {
  const args = [join(ROOT, 'bin/thaw.js'), 'up', '--store', store];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] });
  const timer = setTimeout(() => child.kill(), START_MS);
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line);
    if (line.startsWith('admin on ')) break;
  }
  clearTimeout(timer);
  child.stderr.resume();
  if (!said.includes(`listening on ${URL}`)) throw new Error(`the node does not serve:\n${said.join('\n')}`);
  return child;
}

async function check({ command, output }: Example): Promise<string[]> {
  const { stdout } = await promisify(execFile)('sh', ['-c', `${command} --silent --show-error --max-time 20`]);
  if (stdout.trimEnd() === output) return [];
  return [`$ ${command}\n  README shows: ${output}\n  came back:    ${stdout.trimEnd()}`];
}

const examples = examplesOf(readFileSync(join(ROOT, 'README.md'), 'utf8'));
const store = mkdtempSync(join(tmpdir(), 'thaw-readme-'));
const child = await startNode(store);
try {
  const failures: string[] = [];
  for (const example of examples) failures.push(...(await check(example)));
  console.log(`${examples.length} commands of README.md, ${failures.length} with another outcome`);
  for (const failure of failures) console.error(failure);
  if (failures.length > 0 || examples.length === 0) process.exitCode = 1;
} finally {
  child.kill();
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) process.exitCode = 1;
  rmSync(store, { recursive: true, force: true });
}
