import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { bundleApp } from '../../src/build/bundle.ts';
import { buildTools } from '../../src/build/tools.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'thaw-test-'));
});
after(() => rm(root, { recursive: true, force: true }));

/** Writes files, by path, below a new directory; returns its path. */
async function project(files: Record<string, string>): Promise<string> {
  const dir = await mkdtemp(join(root, 'project-'));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return dir;
}

const bundle = async (files: Record<string, string>, entry: string) =>
  bundleApp(join(await project(files), entry), buildTools());

test('bundleApp() takes TypeScript, JSON and packages, and leaves one import', async () => {
  const { code } = await bundle(
    {
      'app.ts': `
        import greeting, { type Text } from 'greeting';
        import data from './data.json';
        const text: Text = greeting + data.name;
        export default { fetch: (): Response => new Response(text) };`,
      'data.json': '{ "name": "from json" }',
      'node_modules/greeting/package.json': JSON.stringify({
        name: 'greeting',
        exports: { workerd: './worker.js', node: './node.js', default: './default.js' },
      }),
      'node_modules/greeting/worker.js': "export default 'for workers';",
      'node_modules/greeting/node.js': "export default 'for node';",
    },
    'app.ts',
  );
  assert.match(code, /for workers/);
  assert.match(code, /from json/);
  assert.deepEqual(code.match(/^import .*$/gm), ['import { getEnvironment } from "wasi:cli/environment@0.2.10";']);
});

test('bundleApp() takes Hono', async () => {
  const { code } = await bundleApp(join(import.meta.dirname, '../../edge-config/apps/roman.ts'), buildTools());
  assert.match(code, /HTTPException/);
});

test('bundleApp() says that it is production to packages that ask', async () => {
  const files = { 'app.js': "if (process.env.NODE_ENV !== 'production') leftover(); export default {};" };
  assert.doesNotMatch((await bundle(files, 'app.js')).code, /leftover/);
});

test('bundleApp() gives the same text wherever the sources lie', async () => {
  const files = { 'app.js': "import './other.js'; export default {};", 'other.js': '/* gone */ globalThis.x = 1;' };
  const [one, two] = [await bundle(files, 'app.js'), await bundle({ ...files, 'deeper/x': '' }, 'app.js')];
  assert.equal(one.code, two.code);
  assert.doesNotMatch(one.code, /thaw-test-|sourceMappingURL|gone/);
});

const sourceErrors: [title: string, source: string, message: RegExp][] = [
  [
    'a syntax error',
    'const a = 1;\nexport default { fetch( { return }\n',
    /app\.ts:2:34: .*\n[^]*2: export default \{ fetch\( \{ return \}\n {36}\^/,
  ],
  [
    'a missing file',
    "\nimport x from './nope.js';\nexport default x;",
    /app\.ts:2:15: Could not resolve '\.\/nope\.js'/,
  ],
  ['a missing package', "import x from 'nope';\nexport default x;", /app\.ts imports 'nope', but it is not installed/],
  [
    'a module of Node',
    "import { readFileSync } from 'node:fs';\nexport default readFileSync('x');",
    /app\.ts imports 'node:fs', but it is a module of Node/,
  ],
];
for (const [title, source, message] of sourceErrors) {
  test(`bundleApp() tells the place of ${title}`, async () => {
    await assert.rejects(bundle({ 'app.ts': source }, 'app.ts'), { code: 'BUILD_SOURCE_ERROR', message });
  });
}

test('buildTools() names the missing package and the command', async () => {
  const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
  const tools = buildTools(() => Promise.reject(missing));
  await assert.rejects(bundleApp('/app.js', tools), {
    code: 'BUILD_TOOLS_MISSING',
    message: /the package rolldown, which is not installed: npm install rolldown@\d+\.\d+\.\d+$/,
  });
});

test('buildTools() tells a missing Wizer executable from a missing package', async () => {
  const tools = buildTools(() =>
    Promise.reject(new Error('The package "@bytecodealliance/wizer-x" could not be found')),
  );
  await assert.rejects(tools('@bytecodealliance/wizer'), {
    code: 'BUILD_TOOLS_MISSING',
    message: new RegExp(`no executable for ${process.platform}-${process.arch}`),
  });
});

test('buildTools() tells a broken package from a missing one', async () => {
  const tools = buildTools(() => Promise.reject(new SyntaxError('Unexpected token')));
  await assert.rejects(tools('rolldown'), { code: 'BUILD_TOOL_FAILED', message: /loading rolldown: Unexpected token/ });
});
