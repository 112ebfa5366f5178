import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { CONFIG_SCHEMA } from '../../src/config/schema.ts';
import { parseDuration } from '../../src/config/units.ts';
import { UNIT, UNIT_FILE, serviceSettings, settingsOf, startCommand } from '../support/unit.ts';
import { ROOT, blocksOf, commandsOf, readPage } from './support.ts';

const run = promisify(execFile);

const deployCommands = blocksOf(readPage('docs/deploy.md')).flatMap(commandsOf);

const { name, dependencies, files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  name: string;
  dependencies: Record<string, string>;
  files: string[];
};

const ANALYZE = 'systemd-analyze';

/** The first systemd whose systemd-analyze rates a file, of a machine that it does not run. */
const OFFLINE_SINCE = 250;

/** Why systemd-analyze cannot be asked, or null. It comes with systemd, and needs none that runs. */
function whyNoSystemd(): string | null {
  const { error, stdout } = spawnSync(ANALYZE, ['--version'], { encoding: 'utf8' });
  if (error !== undefined) return 'no systemd-analyze on PATH';
  const version = Number(/^systemd (\d+)/.exec(stdout)?.[1]);
  return version >= OFFLINE_SINCE ? null : `systemd ${version} is older than ${OFFLINE_SINCE}`;
}

test('the unit is one: sections, settings, none given twice but lists', () => {
  assert.deepEqual([...new Set(UNIT.map(({ section }) => section))], ['Unit', 'Service', 'Install']);
  const keys = UNIT.filter(({ key }) => key !== 'SystemCallFilter').map(({ section, key }) => `${section} ${key}`);
  assert.equal(new Set(keys).size, keys.length);
  assert.throws(() => settingsOf('[Service]\nno setting\n'));
});

test('ExecStart names Node and thaw as npm installs them, and a command with flags that thaw has', async () => {
  const { node, nodeFlags, thaw, args } = startCommand();
  const prefix = '/opt/thaw/node_modules';
  assert.equal(node, `${prefix}/node/bin/node`);
  assert.ok('node' in dependencies);
  assert.ok(thaw.startsWith(`${prefix}/${name}/`));
  const file = thaw.slice(`${prefix}/${name}/`.length);
  assert.ok(existsSync(join(ROOT, file)), file);
  assert.ok(
    files.some((packed) => file.startsWith(`${packed}/`)),
    `${file} is packed`,
  );
  const [command = '', ...flags] = args;
  assert.equal(command, 'serve');
  const { stdout: help } = await run(process.execPath, [join(ROOT, 'bin/thaw.js'), command, '--help']);
  const names = flags.filter((flag) => flag.startsWith('--'));
  assert.deepEqual(names, ['--config', '--store']);
  for (const flag of names) assert.match(help, new RegExp(`${flag} <`), flag);
  // Node takes its flags, or says which one it does not know.
  await run(process.execPath, [...nodeFlags, '--eval', '0']);
});

test('Node may read what the unit hands to thaw', () => {
  const { nodeFlags, args } = startCommand();
  const readable = nodeFlags.flatMap((flag) => /^--allow-fs-read=(.*)$/.exec(flag)?.[1] ?? []);
  for (const path of args.filter((word) => word.startsWith('/')))
    assert.ok(
      readable.some((directory) => path === directory || path.startsWith(`${directory}/`)),
      path,
    );
  assert.ok(readable.includes('/proc/self/pagemap'), 'the best restore tiers need it');
});

test('the unit is stopped no sooner than the drain time ends', () => {
  const [timeout = ''] = serviceSettings('TimeoutStopSec');
  assert.deepEqual(serviceSettings('KillSignal'), ['SIGTERM']);
  assert.ok(parseDuration(timeout) >= 2 * parseDuration(CONFIG_SCHEMA.properties.drain.default));
});

test('the unit leaves descriptors for more connections than the config allows unless told otherwise', () => {
  const connections = CONFIG_SCHEMA.properties.limits.properties.connections.default;
  assert.ok(Number(serviceSettings('LimitNOFILE')[0]) > 4 * connections);
});

test('the unit does not forbid what V8 lives on', () => {
  assert.deepEqual(serviceSettings('MemoryDenyWriteExecute'), []);
});

test('systemd-analyze rates the exposure of the unit under 2.0', (t: TestContext) => {
  const why = whyNoSystemd();
  if (why !== null) return t.skip(why);
  const { stdout, stderr } = spawnSync(ANALYZE, ['security', '--offline=true', '--no-pager', UNIT_FILE], {
    encoding: 'utf8',
  });
  const score = /Overall exposure level for thaw\.service: ([\d.]+)/.exec(stdout)?.[1];
  assert.ok(score !== undefined, stderr);
  assert.ok(Number(score) < 2, score);
});

/** The system calls of a set, the sets in it included, or of a name that is no set. */
function callsOf(name: string): readonly string[] {
  if (!name.startsWith('@')) return [name];
  const { stdout } = spawnSync(ANALYZE, ['syscall-filter', '--no-pager', name], { encoding: 'utf8' });
  const lines = stdout.split('\n').filter((line) => /^ +[@\w-]+$/.test(line));
  assert.ok(lines.length > 0, `systemd knows ${name}`);
  return lines.flatMap((line) => callsOf(line.trim()));
}

/** Names of libc for which the system call has another name, or where there is none. */
const SYSTEM_CALLS: Readonly<Record<string, string | null>> = {
  getpagesize: null,
  pthread_self: null,
  pthread_getcpuclockid: null,
};

test('the filter of system calls admits what thaw calls in libc, and refuses what escapes are made of', (t) => {
  const why = whyNoSystemd();
  if (why !== null) return t.skip(why);
  const admitted = new Set<string>();
  for (const value of serviceSettings('SystemCallFilter')) {
    const calls = value.replace(/^~/, '').split(/\s+/).flatMap(callsOf);
    for (const call of calls) {
      if (value.startsWith('~')) admitted.delete(call);
      else admitted.add(call);
    }
  }
  const source = readFileSync(join(ROOT, 'src/runtime/libc.ts'), 'utf8');
  const called = [...source.matchAll(/'(?:intptr_t|uintptr_t|int) (\w+)\(/g)].map(([, call = '']) => call);
  assert.ok(called.length >= 6);
  for (const call of called) {
    const system = Object.hasOwn(SYSTEM_CALLS, call) ? SYSTEM_CALLS[call] : call;
    if (typeof system === 'string') assert.ok(admitted.has(system), system);
  }
  for (const call of ['ptrace', 'bpf', 'mount', 'setuid', 'io_uring_setup', 'userfaultfd', 'kexec_load', 'init_module'])
    assert.ok(!admitted.has(call), call);
});

test('docs/deploy.md installs what the unit expects, where it expects it', () => {
  const all = deployCommands.join('\n');
  const { args } = startCommand();
  const [user = ''] = serviceSettings('User');
  assert.match(all, new RegExp(`^useradd .*\\b${user}$`, 'm'));
  assert.match(all, /^npm install --prefix \/opt\/thaw /m);
  for (const directory of ['/etc/thaw', '/var/lib/thaw'])
    assert.match(all, new RegExp(`^install -d .*${directory}\\b`, 'm'));
  assert.ok(args.includes('/etc/thaw') && args.includes('/var/lib/thaw/snapshots'));
  const unit = /^cp \/opt\/thaw\/node_modules\/thaw\/(\S+) \/etc\/systemd\/system\/$/m.exec(all)?.[1] ?? '';
  assert.equal(join(ROOT, unit), UNIT_FILE);
  assert.ok(files.includes('packaging') && files.includes('SECURITY.md'));
});
