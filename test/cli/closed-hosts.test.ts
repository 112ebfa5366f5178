import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { closedHosts } from '../../src/cli/closed-hosts.ts';
import { type LocatedConfig, loadLocatedConfig } from '../../src/config/load.ts';
import { mayConnect } from '../../src/http/connect-policy.ts';
import { putGuest, scratch, serving, thaw, thawJson } from './support.ts';

const root = mkdtempSync(join(tmpdir(), 'thaw-closed-hosts-'));
after(() => rmSync(root, { recursive: true }));

let configs = 0;

/** What is said of these files, each place relative to their directory. */
function warningsOf(files: Readonly<Record<string, string>>): string[] {
  const directory = join(root, String(configs++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
  return closedHosts(loadLocatedConfig(directory)).map(
    ({ where, message }) => `${where.replace(`${directory}/`, '')}: ${message}`,
  );
}

test('closedHosts() names route, entry, place and reason, in all files', () => {
  const said = warningsOf({
    'edge.yaml': [
      'outbound: { allowed_networks: [127.0.0.0/8], blocked_networks: [203.0.114.0/24] }',
      'routes:',
      '  - route: /own',
      '    snapshot: a',
      '    allowed_outbound_hosts: ["http://127.0.0.1:9000", "http://10.1.2.3"]',
    ].join('\n'),
    'routes/more.yaml': [
      '- route: /:id',
      '  host: www.example.test',
      '  snapshot: a',
      '  allowed_outbound_hosts:',
      '    - "https://api.example.test"',
      '    - "*://203.0.114.7:*"',
    ].join('\n'),
  });
  assert.deepEqual(said, [
    'edge.yaml:5:55: the route "/own" allows "http://10.1.2.3" in vain, its requests there fail with destination-IP-prohibited: it is not public, and outbound.allowed_networks does not open it',
    'routes/more.yaml:6:7: the route "www.example.test/:id" allows "*://203.0.114.7:*" in vain, its requests there fail with destination-IP-prohibited: outbound.blocked_networks closes it',
  ]);
});

/** Loads one route with this one entry. */
function located(entry: string, allowed: readonly string[] = [], blocked: readonly string[] = []): LocatedConfig {
  const file = join(root, `${configs++}.json`);
  const outbound = { allowed_networks: allowed, blocked_networks: blocked };
  const routes = [{ route: '/', snapshot: 'a', allowed_outbound_hosts: [entry] }];
  writeFileSync(file, JSON.stringify({ outbound, routes }));
  return loadLocatedConfig(file);
}

const isWarnedOf = (entry: string, allowed?: readonly string[], blocked?: readonly string[]): boolean =>
  closedHosts(located(entry, allowed, blocked)).length > 0;

test('closedHosts() warns of closed addresses and networks in all spellings', () => {
  for (const host of [
    '127.0.0.1',
    '2130706433',
    '0x7f.1',
    '[::1]',
    '[::ffff:10.0.0.1]',
    '[64:ff9b::a00:1]',
    '[fe80::1]',
    '169.254.169.254',
    '168.63.129.16',
    '10.0.0.0/8',
    '192.168.0.0/16',
    '[fd00::]/8',
    '224.0.0.0/4',
  ])
    assert.ok(isWarnedOf(`http://${host}`), host);
});

test('closedHosts() is silent about names, and where some address can be reached', () => {
  for (const host of ['localhost', 'api.example.test', '*.example.test', '1.1.1.1', '[2606:4700::1111]', '0.0.0.0/0'])
    assert.ok(!isWarnedOf(`http://${host}`), host);
  assert.ok(!isWarnedOf('*://*:*'));
  assert.ok(!isWarnedOf('http://10.0.0.0/8', ['10.1.2.0/24']), 'a part of it is open');
  assert.ok(!isWarnedOf('http://10.1.0.0/16', ['10.0.0.0/8']), 'it is a part of what is open');
  assert.ok(isWarnedOf('http://10.1.0.0/16', ['10.0.0.0/8'], ['10.1.0.0/16']), 'and closed again');
  assert.ok(!isWarnedOf('http://8.0.0.0/8', [], ['8.8.0.0/16']), 'a part of it is closed');
});

/** Where ranges of special purpose begin and end, and some that are public. */
const CORNERS = ['0.0.0.0', '10.0.0.0', '100.64.0.0', '127.0.0.0', '169.254.0.0', '172.16.0.0', '192.0.0.0'].concat(
  ['192.0.2.0', '192.31.196.0', '192.52.193.0', '192.88.99.0', '192.168.0.0', '192.175.48.0', '198.18.0.0'],
  ['198.51.100.0', '203.0.113.0', '224.0.0.0', '240.0.0.0', '255.255.255.255', '8.8.8.8', '172.0.0.0', '198.0.0.0'],
);

const address = fc.oneof(fc.constantFrom(...CORNERS), fc.ipV4());

const block = fc
  .tuple(address, fc.integer({ min: 0, max: 32 }))
  .map(([text, bits]) => `${ipaddr.IPv4.networkAddressFromCIDR(`${text}/${bits}`).toString()}/${bits}`);

test('closedHosts() warns of a network only if none of its addresses may be connected to, and of an address exactly then', () => {
  fc.assert(
    fc.property(
      block,
      fc.array(block, { maxLength: 2 }),
      fc.array(block, { maxLength: 2 }),
      fc.array(fc.nat({ max: 2 ** 32 - 1 }), { minLength: 8, maxLength: 8 }),
      (entry, allowed, blocked, offsets) => {
        const { config, literalHosts } = located(`http://${entry}`, allowed, blocked);
        const isWarned = closedHosts({ config, literalHosts }).length > 0;
        const [base = '', bits = ''] = entry.split('/');
        const size = 2 ** (32 - Number(bits));
        const first = Number(BigInt(`0x${Buffer.from(ipaddr.parse(base).toByteArray()).toString('hex')}`));
        const inside = CORNERS.map((text) =>
          Number(BigInt(`0x${Buffer.from(ipaddr.parse(text).toByteArray()).toString('hex')}`)),
        )
          .filter((corner) => corner >= first && corner < first + size)
          .concat(
            first,
            first + size - 1,
            offsets.map((offset) => first + (offset % size)),
          );
        const open = inside.filter((value) => mayConnect(dotted(value), config.outbound));
        if (isWarned) assert.deepEqual(open.map(dotted), []);
        if (size === 1) assert.equal(isWarned, open.length === 0);
      },
    ),
    { numRuns: 500 },
  );
});

const dotted = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');

const ROUTE = '  - { route: /, snapshot: a, allowed_outbound_hosts: ["http://10.0.0.1"] }';
const WHERE = `edge.yaml:2:${ROUTE.indexOf('"') + 1}`;

test('check warns on stderr and in JSON, and is content; serve says it in its log', async (t) => {
  const cwd = await scratch(t);
  writeFileSync(join(cwd, 'edge.yaml'), `routes:\n${ROUTE}\n`);
  await putGuest(cwd, 'a.wasm', 'wat-two');
  const options = ['--config', 'edge.yaml', '--store', 'store'];
  assert.equal((await thaw(['build', 'a.wasm', '--store', 'store'], { cwd })).code, 0);
  const { code, stdout, stderr } = await thaw(['check', ...options], { cwd });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^1 route, no problems, 1 warning$/m);
  assert.match(stderr, new RegExp(`^${WHERE}: warning: the route "/" allows "http://10\\.0\\.0\\.1" in vain`));
  const found = (await thawJson(['check', ...options], { cwd })) as { ok: boolean; warnings: { where: string }[] };
  assert.deepEqual([found.ok, found.warnings.map(({ where }) => where)], [true, [WHERE]]);

  const { child, ended } = await serving(t, ['serve', ...options], { cwd });
  child.kill('SIGTERM');
  const log = (await ended).stderr.split('\n').filter((line) => line.startsWith('{'));
  const warnings = log.map((line) => JSON.parse(line) as { level: string; where?: string; msg: string });
  assert.deepEqual(
    warnings.map(({ level, where }) => ({ level, where })),
    [{ level: 'warn', where: WHERE }],
  );
  assert.match(warnings[0]?.msg ?? '', /allowed_networks does not open it$/);
});
