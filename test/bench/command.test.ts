import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchReport, StartupWay } from '../../bench/report/format.ts';
import { putGuest, scratch, start, thaw, thawJson, type Run } from '../cli/support.ts';

/** An empty core module. */
const CORE_MODULE = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);

const bench = async (t: TestContext, ...args: readonly string[]): Promise<Run> => {
  const cwd = await scratch(t);
  await writeFile(join(cwd, 'core.wasm'), CORE_MODULE);
  await writeFile(join(cwd, 'notes.txt'), 'no app');
  return thaw(['bench', ...args], { cwd });
};

describe('thaw bench refuses before it measures', () => {
  const refusals = [
    { args: ['--suite', 'speed'], code: 2, says: /Allowed choices are startup, throughput, density, all/ },
    {
      args: ['--suite', 'density', '--app', 'app.js'],
      code: 2,
      says: /--app is for the startup suite, not for density/,
    },
    { args: ['--path', '/x'], code: 2, says: /--path is for an app given with --app/ },
    { args: ['--app', 'app.js', '--path', 'x'], code: 2, says: /the path of a request begins with \// },
    { args: ['--peers', 'workerd,'], code: 2, says: /there is an empty name in the list/ },
    { args: ['--peers', 'nginx'], code: 2, says: /"nginx" is none of the peers: .*workerd/ },
    { args: ['--suite', 'startup', '--app', 'gone.js'], code: 1, says: /reading gone\.js: there is no such file/ },
    { args: ['--suite', 'startup', '--app', 'notes.txt'], code: 1, says: /notes\.txt is neither WebAssembly/ },
    { args: ['--suite', 'startup', '--app', 'core.wasm'], code: 2, says: /core\.wasm is a core module/ },
    { args: ['--suite', 'startup', '--out', 'notes.txt'], code: 1, says: /preparing notes\.txt: / },
  ];
  for (const { args, code, says } of refusals) {
    test(`thaw bench ${args.join(' ')}`, async (t) => {
      const run = await bench(t, ...args);
      assert.match(run.stderr, says);
      assert.equal(run.code, code, run.stderr);
      assert.equal(run.stdout, '');
    });
  }
});

const medianOf = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test('thaw bench measures a component of the user, and writes the report', async (t) => {
  const cwd = await scratch(t);
  await putGuest(cwd, 'numbers.wasm', 'as-table');
  const args = ['bench', '--suite', 'startup', '--quick', '--app', 'numbers.wasm', '--path', '/lookup/7'];
  const report = (await thawJson([...args, '--out', 'mine'], { cwd })) as BenchReport;
  assert.equal(report.command, `thaw ${args.join(' ')} --json`);
  assert.equal(report.isQuick, true);
  assert.equal(report.throughput, null);
  const [app, ...others] = report.startup?.apps ?? [];
  assert.ok(app !== undefined && others.length === 0);
  assert.equal(app.name, 'numbers');

  const byName = new Map<string, StartupWay>(app.ways.map((way) => [way.way, way]));
  const outcomes = Object.fromEntries(app.ways.map(({ way, outcome }) => [way, outcome.kind]));
  const ran = { wizer: 'ran', mapped: 'ran', instantiate: 'ran', hot: 'ran' };
  assert.deepEqual(outcomes, { initialise: 'skipped', ...ran, switch: 'skipped' });
  for (const name of Object.keys(ran)) {
    const rounds = byName.get(name)?.rounds ?? [];
    assert.deepEqual(
      rounds.map(({ round }) => round),
      [0, 1, 2],
      name,
    );
    for (const { total, phase } of rounds) {
      assert.ok(total.length > 0 && total.every((micros) => micros > 0));
      for (const micros of Object.values(phase)) assert.equal(micros.length, total.length);
    }
  }
  const typical = (name: string): number => medianOf(byName.get(name)?.rounds.flatMap(({ total }) => total) ?? []);
  assert.ok(typical('hot') < typical('wizer'), 'a slot that waits is faster than new instances');

  const directory = join(cwd, 'mine');
  assert.deepEqual((await readdir(directory)).toSorted(), ['report.html', 'report.json', 'report.md']);
  assert.deepEqual(JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')), report);
});

test('thaw bench that is interrupted ends its processes and leaves nothing behind', async (t) => {
  const cwd = await scratch(t);
  const temporary = join(cwd, 'tmp');
  await mkdir(temporary);
  await putGuest(cwd, 'app.wasm', 'as-table');
  const args = ['bench', '--suite', 'startup', '--app', 'app.wasm'];
  const child = start(args, { cwd, env: { TMPDIR: temporary } });
  const ended = once(child, 'exit');
  child.stderr?.resume();
  child.stdout?.resume();
  let workers: string[] = [];
  // Until it has a process under way.
  for (let waited = 0; workers.length === 0 && waited < 15_000; waited += 20) {
    await sleep(20);
    workers = childrenOf(child.pid ?? 0);
  }
  assert.notDeepEqual(workers, []);
  child.kill('SIGINT');
  const [code] = (await ended) as [number | null];
  assert.equal(code, 130);
  assert.deepEqual(await readdir(temporary), []);
  for (let waited = 0; workers.some(isAlive) && waited < 5000; waited += 20) await sleep(20);
  assert.deepEqual(workers.filter(isAlive), []);
});

/** Empty when the kernel does not tell. */
function childrenOf(pid: number): string[] {
  const path = `/proc/${pid}/task/${pid}/children`;
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split(' ').filter(Boolean) : [];
}

/** A zombie, which nobody has waited for, is not alive. */
function isAlive(pid: string): boolean {
  try {
    return !/^\d+ \(.*\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
