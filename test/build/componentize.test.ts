import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { componentizeApp } from '../../src/build/componentize.ts';
import { buildComponent } from '../../src/build/input.ts';
import { initError } from '../../src/build/init-errors.ts';
import { buildTools } from '../../src/build/tools.ts';
import { decodeComponent } from '../../src/wasm/link.ts';
import { parseModule, SECTION, sectionOf } from '../../src/wasm/module.ts';
import { buildGuest } from '../guests/build.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'thaw-test-'));
  await mkdir(join(root, 'tmp'));
  // Of this process only, so that other tests' temporary directories are not seen below.
  process.env['TMPDIR'] = join(root, 'tmp');
});
after(() => rm(root, { recursive: true, force: true }));

/** Writes an app into a new directory whose name is as long as `padding` makes it. */
async function app(source: string, name = 'app.ts', padding = ''): Promise<string> {
  const dir = await mkdtemp(join(root, `app${padding}-`));
  await writeFile(join(dir, name), source);
  return join(dir, name);
}

const HANDLER = 'export default { fetch: () => new Response() };';

test('componentizeApp() gives the same bytes for the same source, wherever it lies, and hands back the output', async () => {
  // The other build of it is the guest's: another process, another directory, and maybe another day.
  const source = await readFile(join(import.meta.dirname, '../guests/js/tiny.js'), 'utf8');
  const steps: string[] = [];
  const path = await app(source, 'tiny.js', '-with-a-longer-name-than-that-of-the-guests');
  const { component, output } = await componentizeApp(path, buildTools(), (step) => steps.push(step));
  assert.equal(output, 'tiny at build time: 2\n');
  assert.ok(Buffer.from(component).equals(await buildGuest('js-tiny')), 'the two components differ');
  assert.deepEqual(steps, ['bundling', 'running the top level and freezing it with Wizer']);
});

/** The code section of the component's largest core module: the engine. */
function engineCode(component: Uint8Array): Uint8Array {
  const [engine = new Uint8Array()] = decodeComponent(component).modules.toSorted((a, b) => b.length - a.length);
  const code = sectionOf(parseModule(engine), SECTION.code);
  assert.ok(code);
  return engine.subarray(code.body.start, code.body.end);
}

test('two apps have the same engine code', async () => {
  const [kitchen, tiny] = [engineCode(await buildGuest('js-kitchen')), engineCode(await buildGuest('js-tiny'))];
  assert.ok(kitchen.length > 1_000_000);
  assert.ok(Buffer.from(kitchen).equals(tiny), 'the engines differ');
});

const initErrors: [title: string, source: string, code: string, message: RegExp][] = [
  [
    'an exception, with its place in the TypeScript source',
    `type Removed = { a: 1 };\nconst f = (n: number) => {\n  throw new RangeError('no ' + n);\n};\nf(5);\n${HANDLER}`,
    'BUILD_INIT_FAILED',
    /app\.ts:3:9: at the top level: RangeError: no 5\n3:   throw new RangeError[^\n]*\n {11}\^\n    from the top level .*app\.ts:5:1$/,
  ],
  [
    'random numbers, also when the app survives without them',
    `let id;\ntry {\n  id = crypto.randomUUID();\n} catch {\n  id = 'fallback';\n}\n${HANDLER}\nglobalThis.id = id;`,
    'BUILD_INIT_RANDOM',
    /app\.ts:3:15: crypto\.randomUUID\(\) is called at the top level\n3:   id = crypto\.randomUUID\(\);\n/,
  ],
  ['the absence of a handler', 'export const nothing = 1;', 'BUILD_NO_HANDLER', /app\.ts has no fetch handler$/],
  [
    'an await without end',
    `await new Promise(() => {});\n${HANDLER}`,
    'BUILD_INIT_FAILED',
    /app\.ts awaits something that does not happen at build time$/,
  ],
];
for (const [title, source, code, message] of initErrors) {
  test(`componentizeApp() reports ${title}`, async () => {
    await assert.rejects(buildComponent(await app(source)), { code, message });
    assert.deepEqual(await readdir(tmpdir()), []);
  });
}

/** What Wizer prints when the engine traps; the reason comes last. */
const trapReport = (said: string, reason: string): string =>
  `${said}\nError: the \`componentize.wizer\` function trapped\n\nCaused by:\n    0: error while executing at wasm backtrace:\n` +
  `           0: 0x2a85df - <unknown>!<wasm function 5895>\n    1: ${reason}\n`;
const importCall = (module: string, name: string): string =>
  `Error: attempted to call an unknown imported function: '${module}' '${name}'`;
const exceptionReport = (what: string): string =>
  `Exception while evaluating top-level script\napp.js:1:80 ${what}\nStack:\n  @app.js:1:80\n`;

const reports: [title: string, report: string, code: string, message: RegExp][] = [
  [
    'a call of wasi:random',
    trapReport('', importCall('wasi:random/random@0.2.10', 'get-random-u64')),
    'BUILD_INIT_RANDOM',
    /app\.js uses random numbers at the top level \(wasi:random\/random@0\.2\.10 get-random-u64\)$/,
  ],
  [
    'a call of another import',
    trapReport('', importCall('wasi:cli/environment@0.2.10', 'get-environment')),
    'BUILD_INIT_CALLS_IMPORT',
    /the top level of .*app\.js calls wasi:cli\/environment@0\.2\.10 get-environment$/,
  ],
  [
    'an abort of the engine, with its last words',
    trapReport('bad_optional_access was thrown\n', 'wasm trap: wasm `unreachable` instruction executed'),
    'BUILD_INIT_FAILED',
    /trapped: wasm `unreachable` instruction executed\nbad_optional_access was thrown$/,
  ],
  [
    'an exception whose place is not in the app',
    exceptionReport('TypeError: fetch can only be used during request handling'),
    'BUILD_INIT_FAILED',
    /app\.js: at the top level: TypeError: fetch can only be used during request handling$/,
  ],
  ['something else', 'the disk is on fire\n', 'BUILD_TOOL_FAILED', /componentizing .*app\.js: the disk is on fire$/],
];
for (const [title, report, code, message] of reports) {
  test(`initError() tells ${title}`, () => {
    const map = { file: '', version: 3, sources: [], sourcesContent: [], names: [], mappings: '', sourceRoot: '' };
    const error = initError('/somewhere/app.js', report, map);
    assert.equal(error.code, code);
    assert.match(error.message, message);
  });
}

test('componentizeApp() ends a top level that does not end', async () => {
  const path = await app(`for (;;) globalThis.x = 1;\n${HANDLER}`);
  await assert.rejects(
    componentizeApp(path, buildTools(), () => {}, 1000),
    { code: 'BUILD_INIT_FAILED', message: /app\.ts did not end within 1 s$/ },
  );
  assert.deepEqual(await readdir(tmpdir()), []);
});

test('an interrupted build leaves nothing behind and dies of the signal', async () => {
  const path = await app(`for (;;) globalThis.x = 1;\n${HANDLER}`);
  const input = new URL('../../src/build/input.ts', import.meta.url).href;
  const script = `
    const { buildComponent } = await import(${JSON.stringify(input)});
    await buildComponent(${JSON.stringify(path)}, { progress: (step) => console.log(step) });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const text of child.stdout) if (String(text).includes('Wizer')) break;
  assert.notDeepEqual(await readdir(tmpdir()), []);
  child.kill('SIGINT');
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  assert.equal(signal, 'SIGINT');
  assert.deepEqual(await readdir(tmpdir()), []);
});
