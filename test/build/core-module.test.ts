import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildComponent } from '../../src/build/input.ts';
import { buildTools } from '../../src/build/tools.ts';
import { parseModule } from '../../src/wasm/module.ts';
import { buildGuest } from '../guests/build.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'thaw-test-'));
  await mkdir(join(root, 'wit'));
  await mkdir(join(root, 'tmp'));
  // Of this process only, so that other tests' temporary directories are not seen below.
  process.env['TMPDIR'] = join(root, 'tmp');
  await writeFile(
    join(root, 'wit/world.wit'),
    'package local:x; world w { import host: func(); export run: func() -> u32; }',
  );
});
after(() => rm(root, { recursive: true, force: true }));

const write = async (name: string, content: Uint8Array | string): Promise<string> => {
  await writeFile(join(root, name), content);
  return join(root, name);
};
const wat = async (text: string): Promise<string> =>
  write('module.wasm', await (await buildTools()('@bytecodealliance/jco')).parse(text));
const build = async (text: string, options = {}) =>
  buildComponent(await wat(text), { wit: join(root, 'wit'), world: 'w', ...options });

/** A module for world w whose `init` sets the global that `run` returns. */
const module = (init: string, body = 'global.set $g (i32.const 42)') => `(module
  (import "$root" "host" (func $host))
  (global $g (mut i32) (i32.const 1))
  (func (export "${init}") (${body}))
  (func (export "run") (result i32) (call $host) (global.get $g)))`;

/** The core modules of a component, in order. */
function coreModules(component: Uint8Array): Uint8Array[] {
  const found = [];
  for (let at = 8; at < component.length;) {
    const id = component[at++];
    let size = 0;
    for (let shift = 0, byte = 0x80; byte >= 0x80; shift += 7) {
      byte = component[at++] ?? 0;
      size |= (byte & 0x7f) << shift;
    }
    if (id === 1) found.push(component.subarray(at, at + size));
    at += size;
  }
  return found;
}

/** What `run` returns in the first core module of a component. */
function run(component: Uint8Array): unknown {
  const [main = new Uint8Array()] = coreModules(component);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(main), { $root: { host: () => {} } });
  return (instance.exports['run'] as () => number)();
}

test('a core module is initialised by the default init function, which is not exported any more', async () => {
  const built = await build(module('wizer-initialize'));
  assert.ok(built.kind === 'core-module');
  assert.equal(built.initFunc, 'wizer-initialize');
  assert.equal(run(built.component), 42);
  const names = parseModule(coreModules(built.component)[0] ?? new Uint8Array()).exports.map(({ name }) => name);
  assert.deepEqual(names, ['run']);
});

test('a core module is initialised by the function that is named', async () => {
  const built = await build(module('setup'), { initFunc: 'setup' });
  assert.equal(run(built.component), 42);
});

test('a core module without an init function is wrapped as it is', async () => {
  const built = await build(module('other'));
  assert.ok(built.kind === 'core-module');
  assert.equal(built.initFunc, null);
  assert.equal(run(built.component), 1);
});

test('two builds of a core module give the same bytes', async () => {
  const [one, two] = [await build(module('wizer-initialize')), await build(module('wizer-initialize'))];
  assert.deepEqual(one.component, two.component);
});

test('an init function that is not exported is refused with those that are', async () => {
  await assert.rejects(build(module('setup'), { initFunc: 'init' }), {
    code: 'BUILD_OPTION_INVALID',
    message: '--init-func init: the module does not export it; it exports setup, run',
  });
});

test('an init function that calls an import is refused with the names of both', async () => {
  await assert.rejects(build(module('setup', 'call $host'), { initFunc: 'setup' }), {
    code: 'BUILD_INIT_CALLS_IMPORT',
    message: 'setup calls $root host',
  });
});

test("an init function that traps is refused in Wizer's words", async () => {
  await assert.rejects(build(module('setup', 'unreachable'), { initFunc: 'setup' }), {
    code: 'BUILD_TOOL_FAILED',
    message: /^Wizer, running setup: [^]*unreachable/,
  });
});

test('a world that the WIT does not have, and one that the module does not fit, are refused', async () => {
  await assert.rejects(build(module('x'), { world: 'nope' }), {
    code: 'BUILD_TOOL_FAILED',
    message: /world nope .*\n?[^]*nope/,
  });
  await assert.rejects(build('(module)'), { code: 'BUILD_TOOL_FAILED', message: /making a component/ });
});

test('a core module needs --wit and --world', async () => {
  await assert.rejects(build('(module)', { wit: undefined }), {
    code: 'BUILD_OPTION_INVALID',
    message: /give --wit too$/,
  });
  await assert.rejects(build('(module)', { wit: undefined, world: undefined }), {
    code: 'BUILD_OPTION_INVALID',
    message: /give --wit and --world too$/,
  });
  await assert.rejects(build('(module)', { wit: join(root, 'nowhere') }), { code: 'BUILD_INPUT_MISSING' });
});

test('Wizer and jco are asked for only when they are needed, and named when they are missing', async () => {
  const missing = Object.assign(new Error('no'), { code: 'ERR_MODULE_NOT_FOUND' });
  const tools = buildTools(() => Promise.reject(missing));
  await assert.rejects(build(module('wizer-initialize'), { tools }), {
    code: 'BUILD_TOOLS_MISSING',
    message: /@bytecodealliance\/wizer,/,
  });
  await assert.rejects(build(module('other'), { tools }), {
    code: 'BUILD_TOOLS_MISSING',
    message: /@bytecodealliance\/jco,/,
  });
});

test('a component is passed through, and takes no options', async () => {
  const component = await buildGuest('wat-two');
  const path = await write('component.wasm', component);
  assert.deepEqual(await buildComponent(path), { kind: 'component', component: Buffer.from(component) });
  await assert.rejects(buildComponent(path, { world: 'w' }), {
    code: 'BUILD_OPTION_INVALID',
    message: /--world is for core modules, .* a component already/,
  });
});

const inputErrors: [title: string, name: string, content: Uint8Array | string, code: string, message: RegExp][] = [
  ['an empty file', 'empty.js', '', 'NOT_A_COMPONENT', /empty\.js is empty/],
  ['WebAssembly text', 'x.wat', '(component)', 'NOT_A_COMPONENT', /is WebAssembly text; .* npx jco parse/],
  ['something else', 'x.txt', 'hello', 'NOT_A_COMPONENT', /neither WebAssembly nor source in a file called \.js/],
  ['an unknown version', 'x.wasm', Buffer.from('0061736d02000000', 'hex'), 'WASM_UNSUPPORTED', /version 02000000/],
  ['a cut module', 'x.wasm', Buffer.from('0061736d0100000001', 'hex'), 'WASM_MALFORMED', /unexpected end/],
];
for (const [title, name, content, code, message] of inputErrors) {
  test(`buildComponent() refuses ${title}`, async () => {
    const path = await write(name, content);
    await assert.rejects(buildComponent(path, code === 'WASM_MALFORMED' ? { wit: root, world: 'w' } : {}), {
      code,
      message,
    });
  });
}

test('buildComponent() refuses a missing file and a directory', async () => {
  await assert.rejects(buildComponent(join(root, 'nope.js')), { code: 'BUILD_INPUT_MISSING', message: /no such file/ });
  await assert.rejects(buildComponent(root), { code: 'BUILD_INPUT_MISSING', message: /is a directory/ });
});

test('no temporary directory is left behind, also on errors', async () => {
  await build(module('wizer-initialize'));
  await assert.rejects(build(module('setup', 'unreachable'), { initFunc: 'setup' }));
  assert.deepEqual(await readdir(tmpdir()), []);
});
