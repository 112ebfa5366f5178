import assert from 'node:assert/strict';
import { appendFile, chmod, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { putGuest, scratch, thaw, thawJson } from './support.ts';

type Built = { name: string; digest: string; codeDigest: string; kind: string; reasons: string[] };

/** What all the tests below read. */
type Listed = Built & { source: string };

test('build prints what it made, and gives the same component the same digest', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'Two Modules.wasm', 'wat-two');
  const { code, stdout, stderr } = await thaw(['build', 'Two Modules.wasm'], { cwd });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.match(
    stdout,
    /^two-modules\n {2}digest +[0-9a-f]{64}\n {2}code +[0-9a-f]{64}\n {2}start +restored in place\n/,
  );
  assert.match(
    stdout,
    /memory +64\.0 KiB: 1 of 16 pages of 4 KiB are not zero\n {2}sizes +component 4\.\d KiB, code \d+ B/,
  );
  const again = (await thawJson(['build', 'Two Modules.wasm', '--name', 'again'], { cwd })) as Built;
  assert.equal(again.name, 'again');
  assert.equal(again.digest, /digest +(\S+)/.exec(stdout)?.[1]);
});

test('build says why a component cannot be restored in place', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'tableset.wasm', 'wat-tableset');
  const { stdout } = await thaw(['build', 'tableset.wasm'], { cwd });
  assert.match(stdout, /start +a new instance for each request\n +because +table\.set in function \d+/);
});

test('build refuses what it cannot build, before it builds', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  await writeFile(join(cwd, 'core.wasm'), Buffer.from('0061736d01000000', 'hex'));
  await writeFile(join(cwd, 'text.txt'), 'hello');
  const cases: readonly [args: string[], code: number, message: RegExp][] = [
    [['nothing.js'], 1, /reading nothing\.js: there is no such file/],
    [['text.txt'], 1, /text\.txt is neither WebAssembly/],
    [['core.wasm'], 2, /core\.wasm is a core module.*: give --wit and --world too/],
    [['two.wasm', '--world', 'guest'], 2, /--world is for core modules, and two\.wasm is a component already/],
    [['two.wasm', '--name', 'Two'], 1, /"Two" cannot name a snapshot\nA name is 1 to 64 characters/],
    [['two.wasm', '--name', 'engine-two'], 1, /"engine-two" begins as the names that thaw gives to engines/],
    [['???.js'], 1, /no name can be made of \?\?\?\.js: choose one with --name/],
  ];
  await Promise.all(
    cases.map(async ([args, code, message]) => {
      const run = await thaw(['build', ...args], { cwd });
      assert.equal(run.code, code, run.stderr);
      assert.equal(run.stdout, '');
      assert.match(run.stderr, message);
    }),
  );
});

test('ls shows names with what to build them from, as a table and as JSON; --store stands over THAW_STORE', async (t) => {
  const cwd = await scratch(t);
  const env = { THAW_STORE: 'of-the-environment' };
  await putGuest(cwd, "it's two.wasm", 'wat-two');
  await thawJson(['build', "it's two.wasm"], { cwd, env });
  const { stdout } = await thaw(['ls'], { cwd, env });
  assert.match(stdout, /^NAME +DIGEST +START .*\nit-s-two +[0-9a-f]{12} +restorable .* 'it'\\''s two\.wasm'\n$/);
  const listed = (await thawJson(['ls', '--store', 'of-the-environment'], { cwd })) as Listed[];
  assert.deepEqual(
    listed.map(({ name, kind }) => ({ name, kind })),
    [{ name: 'it-s-two', kind: 'restorable' }],
  );
  assert.equal((await thaw(['ls', '--store', 'other'], { cwd, env })).code, 1);
});

test('ls shows the other snapshots when one is damaged', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  await putGuest(cwd, 'tableset.wasm', 'wat-tableset');
  const { digest } = (await thawJson(['build', 'two.wasm'], { cwd })) as Built;
  await thawJson(['build', 'tableset.wasm'], { cwd });
  await damage(cwd, digest);
  const { code, stdout } = await thaw(['ls'], { cwd });
  assert.equal(code, 0);
  assert.match(stdout, /^tableset +[0-9a-f]{12} +fresh /m);
  assert.match(stdout, /^two +[0-9a-f]{12} +damaged /m);
});

const pathOf = (cwd: string, digest: string): string =>
  join(cwd, 'snapshots/objects', digest.slice(0, 2), digest.slice(2));

async function damage(cwd: string, digest: string): Promise<void> {
  await chmod(pathOf(cwd, digest), 0o644);
  await appendFile(pathOf(cwd, digest), 'more');
}

test('inspect shows a snapshot by name and by digest, and a component in a file without storing it', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  const fromFile = (await thawJson(['inspect', 'two.wasm'], { cwd })) as Record<string, unknown>;
  assert.deepEqual(await readdir(cwd), ['two.wasm']);
  const { digest } = (await thawJson(['build', 'two.wasm'], { cwd })) as Built;
  const byName = (await thawJson(['inspect', 'two'], { cwd })) as Record<string, unknown>;
  assert.deepEqual(await thawJson(['inspect', digest.slice(0, 10)], { cwd }), byName);
  // What freezing changes is the code and where its state is; what it must keep is all the rest.
  for (const same of ['component', 'start', 'exports', 'imports', 'globals', 'plan']) {
    assert.deepEqual(byName[same], fromFile[same], same);
  }
  assert.deepEqual(byName['exports'], [{ interface: 'wasi:http/incoming-handler@0.2.10', functions: ['handle'] }]);
  const [memory] = byName['memories'] as Record<string, unknown>[];
  assert.deepEqual(memory, {
    instance: 0,
    index: 0,
    pages: 1,
    bytes: 65_536,
    imagePages: 16,
    maxPages: null,
    nonZeroPages: 1,
    deltaPages: 0,
  });
  const { stdout } = await thaw(['inspect', 'two'], { cwd });
  assert.match(stdout, /^two\n {2}start +restored in place\n/);
  assert.match(stdout, /^ {2}import wasi:io\/streams@0\.2\.10:\n? +\[method\]output-stream\.blocking-write-and-flush/m);
  assert.match(stdout, /^ {2}1 App: \d+ B, 4 functions, 2 table entries$/m);
  assert.match(stdout, /^ {4}from instance 0 Env: 1 core export$/m);
});

test('inspect of what is not a servable component says so', async (t) => {
  const cwd = await scratch(t);
  await writeFile(join(cwd, 'core.wasm'), Buffer.from('0061736d01000000', 'hex'));
  assert.match((await thaw(['inspect', 'core.wasm'], { cwd })).stderr, /^thaw: .*core module/);
  assert.match((await thaw(['inspect', './none.wasm'], { cwd })).stderr, /^thaw: reading \.\/none\.wasm: /);
});

test('rm forgets the names that are there, reports the others, and exits with 1 then', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  await thawJson(['build', 'two.wasm'], { cwd });
  const { code, stdout, stderr } = await thaw(['rm', 'twoo', 'two', 'two'], { cwd });
  assert.deepEqual({ code, stdout }, { code: 1, stdout: 'removed two\n' });
  assert.match(stderr, /^thaw: no snapshot is named "twoo".*did you mean "two"\?/);
  assert.deepEqual(await thawJson(['ls'], { cwd }), []);
});

/** Beyond the grace period of collection. */
async function makeOld(cwd: string): Promise<void> {
  const objects = await readdir(join(cwd, 'snapshots/objects'), { recursive: true, withFileTypes: true });
  const files = objects.filter((entry) => entry.isFile());
  await Promise.all(files.map(({ parentPath, name }) => utimes(join(parentPath, name), 1, 1)));
}

test('gc keeps what a name or the config leads to, and what is young', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  const { digest } = (await thawJson(['build', 'two.wasm'], { cwd })) as Built;
  await makeOld(cwd);
  assert.equal((await thaw(['gc'], { cwd })).stdout, 'removed 0 objects, 0 B\n');
  await thaw(['rm', 'two'], { cwd });
  const config = join(cwd, 'site.yaml');
  await writeFile(config, `routes: [{ route: /two, snapshot: ${digest} }]\n`);
  assert.equal((await thaw(['gc', '--config', config], { cwd })).stdout, 'removed 0 objects, 0 B\n');
  assert.match((await thaw(['gc'], { cwd })).stdout, /^removed [45] objects, \d/);
  await thawJson(['build', 'two.wasm'], { cwd });
  await thaw(['rm', 'two'], { cwd });
  const report = (await thawJson(['gc'], { cwd })) as { sweep: { kind: string; removed: unknown[]; young: unknown[] } };
  assert.equal(report.sweep.kind, 'done');
  assert.deepEqual(report.sweep.removed, []);
  assert.ok(report.sweep.young.length >= 4);
});

test('gc does not collect under a config that it cannot read', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  await thawJson(['build', 'two.wasm'], { cwd });
  await writeFile(join(cwd, 'site.yaml'), 'routes: [');
  const { code, stderr } = await thaw(['gc', '--config', 'site.yaml'], { cwd });
  assert.equal(code, 1);
  assert.match(stderr, /^thaw: site\.yaml:\d+:\d+: /);
});

test('gc --verify removes what is damaged, names who needs it, and exits with 1', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'two.wasm', 'wat-two');
  const { digest } = (await thawJson(['build', 'two.wasm'], { cwd })) as Built;
  await damage(cwd, digest);
  const { code, stdout } = await thaw(['gc', '--verify'], { cwd });
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`removed the damaged object ${digest.slice(0, 12)}: build two again`));
});
