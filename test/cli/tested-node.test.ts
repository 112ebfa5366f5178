import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { testedNode, warningAboutNode } from '../../src/cli/tested-node.ts';
import { finish, scratch, thawJson } from './support.ts';

const ROOT = join(import.meta.dirname, '../..');

type Found = { readonly node: { readonly version: string; readonly tested: string; readonly warning: string | null } };

test('testedNode() is one version, that which the package brings along', async () => {
  const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: { node: string };
  };
  assert.equal(testedNode(), dependencies.node);
  // A range would let npm choose, and then nothing could be said to be tested.
  assert.match(testedNode(), /^\d+\.\d+\.\d+$/);
});

test('testedNode() finds package.json from where the published package has its code, too', async (t) => {
  const cwd = await scratch(t);
  const files = ['errors.ts', 'package.ts', 'cli/tested-node.ts'];
  await mkdir(join(cwd, 'dist/src/cli'), { recursive: true });
  await Promise.all(files.map((file) => cp(join(ROOT, 'src', file), join(cwd, 'dist/src', file))));
  await writeFile(join(cwd, 'package.json'), '{ "type": "module", "dependencies": { "node": "999.1.2" } }');
  const published = (await import(pathToFileURL(join(cwd, 'dist/src/cli/tested-node.ts')).href)) as {
    testedNode: typeof testedNode;
  };
  assert.equal(published.testedNode(), '999.1.2');
});

test('warningAboutNode() warns about what is older than the tested version, and about nothing else', () => {
  const older = ['v26.9.0', 'v26.9.99', 'v26.10.0-rc.1', 'v25.99.99', 'v9.9.9', 'v26.10.0-nightly2026010112ab34'];
  for (const running of older)
    assert.ok(warningAboutNode(running, '26.10.0')?.startsWith(`${running} is older`), running);
  for (const running of ['v26.10.0', 'v26.10.1', 'v26.11.0', 'v27.0.0', 'v100.0.0'])
    assert.equal(warningAboutNode(running, '26.10.0'), null, running);
});

test('warningAboutNode() says what to install', () => {
  assert.match(warningAboutNode('v26.9.0', '26.10.0') ?? '', /npm install node@26\.10\.0$/);
});

test('doctor has nothing to say about the Node that the package brings along', async (t) => {
  const { node } = (await thawJson(['doctor'], { cwd: await scratch(t) })) as Found;
  assert.deepEqual({ tested: node.tested, warning: node.warning }, { tested: testedNode(), warning: null });
});

test('doctor warns, in words and in JSON, when a newer Node was tested than the one that runs', async (t) => {
  const cwd = await scratch(t);
  // A package of the same sources that says it was tested with a Node of the future.
  const packageJson = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Record<string, object>;
  await writeFile(
    join(cwd, 'package.json'),
    JSON.stringify({ ...packageJson, dependencies: { ...packageJson['dependencies'], node: '999.1.2' } }),
  );
  for (const part of ['bin', 'src']) await cp(join(ROOT, part), join(cwd, part), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(cwd, 'node_modules'));
  const run = (...flags: readonly string[]) => {
    const args = [join(cwd, 'bin/thaw.js'), 'doctor', ...flags];
    return finish(spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] }));
  };
  const [said, data] = await Promise.all([run(), run('--json')]);
  assert.equal(said.code, 0, said.stderr);
  assert.match(said.stdout, /^ +warning: v\S+ is older than v999\.1\.2\b.*npm install node@999\.1\.2$/m);
  assert.match((JSON.parse(data.stdout) as Found).node.warning ?? '', /older than v999\.1\.2/);
});
