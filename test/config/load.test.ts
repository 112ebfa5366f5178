import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { ThawError } from '../../src/errors.ts';

const root = mkdtempSync(join(tmpdir(), 'thaw-config-'));
after(() => rmSync(root, { recursive: true }));

let configs = 0;

/** A directory with these files in it. */
const directory = (files: Readonly<Record<string, string | Uint8Array>>): string => {
  const path = join(root, String(configs++));
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return path;
};

const load = (yaml: string, overrides = {}) => loadConfig(directory({ 'edge.yaml': yaml }), overrides);

/** `[code, 'edge.yaml:1:2: message']` of every problem. */
const problems = (path: string, overrides = {}): (readonly [ErrorCode, string])[] => {
  try {
    loadConfig(path, overrides);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems.map(({ code, where, message }) => [code, `${where.replace(`${path}/`, '')}: ${message}`]);
  }
  return [];
};

const assertProblems = (path: string, expected: readonly (readonly [ErrorCode, RegExp])[], overrides = {}): void => {
  const actual = problems(path, overrides);
  assert.deepEqual(
    actual.map(([code]) => code),
    expected.map(([code]) => code),
    JSON.stringify(actual, null, 1),
  );
  for (const [index, [, message]] of actual.entries()) assert.match(message, expected[index]?.[1] ?? /^$/);
};

const ROUTE = 'routes: [{ route: /, snapshot: a }]\n';

test('loadConfig() fills in every default', () => {
  const path = directory({ 'edge.yaml': ROUTE });
  assert.deepEqual(loadConfig(path), {
    listen: { host: '127.0.0.1', port: 8080 },
    admin: { host: '127.0.0.1', port: 9090 },
    store: 'snapshots',
    pool: { memoryBytes: 256 * 1024 ** 2, slots: 64 },
    outbound: { allowedNetworks: [], blockedNetworks: [] },
    limits: { connections: 4000, connectionsPerAddress: 256, concurrency: 2000 },
    threads: 'auto',
    drainMs: 10_000,
    routes: [
      {
        id: '/',
        route: '/',
        host: null,
        methods: null,
        snapshot: 'a',
        env: {},
        allowedOutboundHosts: [],
        limits: {
          requestBodyBytes: 10 * 1024 ** 2,
          responseBodyBytes: null,
          wallMs: 10_000,
          concurrency: 100,
          outboundRequests: 32,
          outboundConcurrency: 6,
          cpuMs: 50,
          memoryBytes: 128 * 1024 ** 2,
        },
        source: { file: join(path, 'edge.yaml'), line: 1 },
      },
    ],
  });
});

const WHOLE = `
listen: 0.0.0.0:80
admin: "[::1]:81"
store: ../snapshots
pool: { memory: 1GiB, slots: 8 }
outbound: { allowed_networks: [10.0.0.0/8], blocked_networks: ['2001:db8::/32'] }
limits: { connections: 900, connections_per_address: 0, concurrency: 7 }
threads: 2
drain: 0s
routes:
  - route: /hello/...
    host: WWW.Example.Test
    methods: [POST, GET]
    snapshot: hello
    env: { GREETING: hi, __proto__: x }
    allowed_outbound_hosts: ["https://api.example.test"]
    limits: { requestBody: 0B, responseBody: 2MB, wall: 1m, concurrency: 1, outboundRequests: 3, outboundConcurrency: 2, cpu: 1s, memory: 64MiB }
`;

test('loadConfig() reads every key', () => {
  const path = directory({ 'edge.yaml': WHOLE });
  const { routes, ...node } = loadConfig(path);
  assert.deepEqual(node, {
    listen: { host: '0.0.0.0', port: 80 },
    admin: { host: '::1', port: 81 },
    store: join(root, 'snapshots'),
    pool: { memoryBytes: 1024 ** 3, slots: 8 },
    outbound: {
      allowedNetworks: [{ text: '10.0.0.0/8', bytes: [10, 0, 0, 0], bits: 8 }],
      blockedNetworks: [{ text: '2001:db8::/32', bytes: [0x20, 1, 0xd, 0xb8, ...Array<number>(12).fill(0)], bits: 32 }],
    },
    limits: { connections: 900, connectionsPerAddress: 0, concurrency: 7 },
    threads: 2,
    drainMs: 0,
  });
  const [route] = routes;
  assert.ok(route !== undefined);
  const { env, allowedOutboundHosts, ...rest } = route;
  assert.deepEqual(Object.entries(env), [
    ['GREETING', 'hi'],
    ['__proto__', 'x'],
  ]);
  assert.deepEqual(
    allowedOutboundHosts.map(({ text }) => text),
    ['https://api.example.test'],
  );
  assert.deepEqual(rest, {
    id: 'GET,POST www.example.test/hello/...',
    route: '/hello/...',
    host: 'www.example.test',
    methods: ['POST', 'GET'],
    snapshot: 'hello',
    limits: {
      requestBodyBytes: 0,
      responseBodyBytes: 2_000_000,
      wallMs: 60_000,
      concurrency: 1,
      outboundRequests: 3,
      outboundConcurrency: 2,
      cpuMs: 1000,
      memoryBytes: 64 * 1024 ** 2,
    },
    source: { file: join(path, 'edge.yaml'), line: 11 },
  });
});

test('loadConfig() adds the files of routes/ by name, lists and mappings, YAML and JSON', () => {
  const path = directory({
    'edge.yml': `# only comments: everything has its default\n`,
    'routes/b.yaml': '- route: /b1\n  snapshot: a\n- route: /b2\n  snapshot: a\n',
    'routes/a.json': '{\n\t"$schema": "../schema.json",\n\t"routes": [\n\t\t{"route": "/a", "snapshot": "a"}\n\t]\n}\n',
    'routes/c.yml': '\uFEFFroutes:\r\n  - route: /c\r\n    snapshot: a\r\n',
    'routes/.hidden.yaml': 'broken: [',
    'routes/c.yaml~': 'broken: [',
    'routes/README.md': 'broken: [',
  });
  assert.deepEqual(
    loadConfig(path).routes.map(({ id, source }) => [id, source.file, source.line]),
    [
      ['/a', join(path, 'routes/a.json'), 4],
      ['/b1', join(path, 'routes/b.yaml'), 1],
      ['/b2', join(path, 'routes/b.yaml'), 3],
      ['/c', join(path, 'routes/c.yml'), 2],
    ],
  );
});

test('loadConfig() takes one file, and then only that', () => {
  const path = directory({ 'edge.yaml': ROUTE, 'routes/x.yaml': '- { route: /x, snapshot: x }' });
  assert.equal(loadConfig(join(path, 'edge.yaml')).routes.length, 1);
  assert.equal(loadConfig(path).routes.length, 2);
});

test('loadConfig() lets flags win over the environment, and that over the file', () => {
  const yaml = `listen: 127.0.0.1:1\npool: { slots: 2 }\nstore: here\n${ROUTE}`;
  const env = {
    THAW_LISTEN: '127.0.0.1:3',
    THAW_ADMIN: '',
    THAW_POOL_SLOTS: '7',
    THAW_DRAIN: '1s',
    THAW_STORE: 'there',
  };
  const config = load(yaml, { env, flags: { listen: '127.0.0.1:4' } });
  assert.equal(config.listen.port, 4);
  assert.equal(config.admin.port, 9090);
  assert.deepEqual(config.pool, { memoryBytes: 256 * 1024 ** 2, slots: 7 });
  assert.equal(config.drainMs, 1000);
  assert.equal(config.store, 'there');
  assert.equal(load(yaml, { env }).listen.port, 3);
  assert.equal(load(yaml, { env: {}, flags: { listen: undefined } }).listen.port, 1);
});

test('loadConfig() names the flag or the variable that is wrong', () => {
  const path = directory({ 'edge.yaml': ROUTE });
  assertProblems(
    path,
    [
      ['CONFIG_INVALID', /^--listen: listen: "8080" is not an address.*127\.0\.0\.1:8080/],
      ['CONFIG_INVALID', /^THAW_DRAIN: drain: "1" is not a duration/],
      ['CONFIG_INVALID', /^THAW_POOL_SLOTS: pool\.slots must be a whole number, and is "many"$/],
    ],
    { flags: { listen: '8080' }, env: { THAW_POOL_SLOTS: 'many', THAW_DRAIN: '1' } },
  );
});

test('loadConfig() reports everything at once, each in its place', () => {
  const path = directory({
    'edge.yaml': `listen: 8080
pol: {}
routes:
  - route: hello
    hots: www.example.test
    methods: [get]
    limits: { requestBody: 10, wall: 0s, cpu: 61s, memory: 5GiB }
`,
    'routes/a.yaml': '- route: /a/:x\n  snapshot: a\n- route: /a/:y\n  snapshot: b\n  methods: [GET]\n',
    'routes/b.yaml': 'a: [\n',
  });
  assertProblems(path, [
    [
      'CONFIG_INVALID',
      /^edge\.yaml:1:9: listen must be an address, such as "127\.0\.0\.1:8080", and is the number 8080$/,
    ],
    ['CONFIG_UNKNOWN_KEY', /^edge\.yaml:2:1: unknown key "pol" at the top; did you mean "pool"\?$/],
    ['CONFIG_INVALID', /^edge\.yaml:4:5: routes\[0\] lacks the key "snapshot"/],
    ['CONFIG_INVALID', /^edge\.yaml:4:12: routes\[0\]\.route: "hello" is not a route: it must begin with "\/"/],
    ['CONFIG_UNKNOWN_KEY', /^edge\.yaml:5:5: unknown key "hots" in routes\[0\]; did you mean "host"\?$/],
    [
      'CONFIG_INVALID',
      /^edge\.yaml:6:15: routes\[0\]\.methods\[0\] is "get", which is not a method; did you mean "GET"\?$/,
    ],
    [
      'CONFIG_INVALID',
      /^edge\.yaml:7:28: routes\[0\]\.limits\.requestBody must be a size, such as "64MiB", and is the number 10$/,
    ],
    ['CONFIG_INVALID', /^edge\.yaml:7:38: routes\[0\]\.limits\.wall: "0s" leaves no time/],
    ['CONFIG_INVALID', /^edge\.yaml:7:47: routes\[0\]\.limits\.cpu: "61s" is over the largest CPU time limit, 1m$/],
    ['CONFIG_INVALID', /^edge\.yaml:7:60: routes\[0\]\.limits\.memory: "5GiB" is over 4GiB/],
    ['CONFIG_SYNTAX', /^routes\/b\.yaml:2:1: /],
    [
      'CONFIG_DUPLICATE_ROUTE',
      /^routes\/a\.yaml:3:3: the route "GET \/a\/:y" is there already: "\/a\/:x" at .*routes\/a\.yaml:1:3$/,
    ],
  ]);
});

test('a ConfigError joins its problems, and its help names each remedy once', () => {
  assert.throws(
    () => load('a: 1\nb: 2\nlisten: x\n'),
    (error) => {
      assert.ok(error instanceof ThawError);
      assert.equal(error.code, 'CONFIG_UNKNOWN_KEY');
      assert.match(
        error.message,
        /^3 problems in the config\n {2}.*edge\.yaml:1:1: .*\n {2}.*edge\.yaml:2:1: .*\n {2}.*edge\.yaml:3:9: .*$/,
      );
      assert.equal(error.help.split('\n').length, 2);
      return true;
    },
  );
});

for (const [name, yaml, expected] of [
  ['no routes', 'listen: 127.0.0.1:1\n', [['CONFIG_INVALID', /no routes.*for example\nroutes:\n {2}- route: \/hello/]]],
  ['an empty file', '', [['CONFIG_INVALID', /^edge\.yaml:1:1: no routes/]]],
  ['an empty list of routes', 'routes: []', [['CONFIG_INVALID', /no routes/]]],
  [
    'a key without its list',
    'routes:\n',
    [['CONFIG_INVALID', /^edge\.yaml:1:\d+: routes must be a list, and is empty/]],
  ],
  ['text at the top', 'hello', [['CONFIG_INVALID', /^edge\.yaml:1:1: must be a mapping.*and is "hello"/]]],
  [
    'a key twice',
    `listen: 127.0.0.1:1\n${ROUTE}listen: 127.0.0.1:2\n`,
    [['CONFIG_SYNTAX', /^edge\.yaml:3:1: the key "listen" is there twice: first at .*edge\.yaml:1:1$/]],
  ],
  ['two documents', `${ROUTE}---\n${ROUTE}`, [['CONFIG_SYNTAX', /^edge\.yaml:2:1: a second document/]]],
  ['a tab', 'pool:\n\tslots: 1\n', [['CONFIG_SYNTAX', /^edge\.yaml:2:1: Tabs are not allowed/]]],
  ['a tag', 'listen: !!binary aGk=\n', [['CONFIG_SYNTAX', /^edge\.yaml:1:9: Unresolved tag/]]],
  ['an alias without its anchor', 'listen: *x\n', [['CONFIG_SYNTAX', /Unresolved alias/]]],
  ['a mapping as a key', '? { a: 1 }\n: 2\n', [['CONFIG_SYNTAX', /^edge\.yaml:1:3: .*keys must be strings/]]],
  ['a NUL character', 'listen: "\0"', [['CONFIG_SYNTAX', /NUL/]]],
  [
    'the same address twice',
    `listen: 127.0.0.1:1\nadmin: 127.0.0.1:1\n${ROUTE}`,
    [['CONFIG_INVALID', /^edge\.yaml:2:8: admin is the same address as listen/]],
  ],
  [
    'a variable that is a number',
    'routes: [{ route: /, snapshot: a, env: { A: 1 } }]',
    [['CONFIG_INVALID', /env\.A must be text, and is the number 1; put it in quotes/]],
  ],
  [
    'a bad name of a variable',
    'routes: [{ route: /, snapshot: a, env: { "A=B": x } }]',
    [['CONFIG_INVALID', /^edge\.yaml:1:42: .*has the key "A=B"/]],
  ],
  [
    'no threads',
    `threads: 0\n${ROUTE}`,
    [['CONFIG_INVALID', /threads is the number 0, which is not a number of threads \(auto, or 1 to 64\)/]],
  ],
  ['too many threads', `threads: 100\n${ROUTE}`, [['CONFIG_INVALID', /not a number of threads \(auto, or 1 to 64\)$/]]],
  ['a number of threads in quotes', `threads: "2"\n${ROUTE}`, [['CONFIG_INVALID', /; write it without quotes$/]]],
  ['threads with a slip', `threads: atuo\n${ROUTE}`, [['CONFIG_INVALID', /; did you mean "auto"\?$/]]],
  ['a store without a name', `store: ""\n${ROUTE}`, [['CONFIG_INVALID', /^edge\.yaml:1:8: store is empty$/]]],
  ['too many slots', `pool: { slots: 100000 }\n${ROUTE}`, [['CONFIG_INVALID', /pool\.slots must be <= 1024/]]],
  [
    'an empty list of methods',
    'routes: [{ route: /, snapshot: a, methods: [] }]',
    [['CONFIG_INVALID', /methods is an empty list/]],
  ],
  [
    'an outbound host with a path',
    'routes: [{ route: /, snapshot: a, allowed_outbound_hosts: ["https://a/b"] }]',
    [['CONFIG_INVALID', /^edge\.yaml:1:60: .*a path is not allowed/]],
  ],
  [
    'a snapshot with capitals',
    'routes: [{ route: /, snapshot: Hello }]',
    [['CONFIG_INVALID', /snapshot is "Hello", which is not a snapshot name, such as "hello"/]],
  ],
] as const) {
  test(`loadConfig() refuses ${name}`, () => assertProblems(directory({ 'edge.yaml': yaml }), expected));
}

test('loadConfig() refuses bombs: aliases that grow, nesting that overflows', () => {
  const bomb = [
    'a: &a [x, x]',
    ...'bcdefgh'.split('').map((name, i) => `${name}: &${name} [${`*${'abcdefgh'[i]},`.repeat(9)}]`),
  ];
  assertProblems(directory({ 'edge.yaml': bomb.join('\n') }), [['CONFIG_SYNTAX', /Excessive alias count/]]);
  assertProblems(directory({ 'edge.yaml': '['.repeat(20_000) }), [['CONFIG_SYNTAX', /too deeply nested/]]);
  assertProblems(directory({ 'edge.yaml': `routes: &r\n  - *r\n` }), [
    ['CONFIG_INVALID', /routes\[0\] must be a mapping.*and is a list/],
  ]);
});

test('loadConfig() takes anchors that share, and points into the anchor', () => {
  const yaml =
    'routes:\n  - { route: /a, snapshot: a, limits: &l { wall: 2s } }\n  - { route: /b, snapshot: b, limits: *l }\n';
  assert.deepEqual(
    load(yaml).routes.map(({ limits }) => limits.wallMs),
    [2000, 2000],
  );
  assertProblems(directory({ 'edge.yaml': yaml.replace('2s', '2') }), [
    ['CONFIG_INVALID', /^edge\.yaml:2:50: routes\[0\]\.limits\.wall must be/],
    ['CONFIG_INVALID', /^edge\.yaml:2:50: routes\[1\]\.limits\.wall must be/],
  ]);
});

test('loadConfig() refuses files that are not text, not there, or ambiguous', () => {
  assertProblems(directory({ 'edge.yaml': Uint8Array.of(0xff, 0xfe, 0x61, 0) }), [['CONFIG_SYNTAX', /not UTF-8/]]);
  assertProblems(directory({ 'edge.yaml': ROUTE, 'routes/a.yaml': '# nothing\n' }), [
    ['CONFIG_INVALID', /^routes\/a\.yaml:\d+:\d+: the file is empty/],
  ]);
  assertProblems(directory({ 'edge.yaml': ROUTE, 'routes/a.yaml/x': '' }), [
    ['CONFIG_NOT_FOUND', /^routes\/a\.yaml: cannot be read/],
  ]);
  assert.throws(() => loadConfig(join(root, 'nowhere')), { code: 'CONFIG_NOT_FOUND' });
  assert.throws(() => loadConfig(join(root, 'x'.repeat(300))), { code: 'CONFIG_NOT_FOUND', message: /ENAMETOOLONG/ });
  assert.throws(() => loadConfig(directory({ 'edge.toml': '' })), { code: 'CONFIG_NOT_FOUND' });
  assert.throws(() => loadConfig(directory({ 'edge.yaml': ROUTE, 'edge.json': '{}' })), {
    code: 'CONFIG_INVALID',
    message: /both edge\.yaml and edge\.json/,
  });
});

const route = (methods: string) => `  - { route: /a, snapshot: a, host: a.test${methods} }\n`;

test('loadConfig() refuses duplicates only where methods overlap', () => {
  const both = (a: string, b: string) => directory({ 'edge.yaml': `routes:\n${route(a)}${route(b)}` });
  assert.deepEqual(problems(both(', methods: [GET]', ', methods: [POST, HEAD]')), []);
  for (const [a, b] of [
    ['', ''],
    ['', ', methods: [GET]'],
    [', methods: [GET, POST]', ', methods: [PUT, POST]'],
  ] as const) {
    assertProblems(both(a, b), [['CONFIG_DUPLICATE_ROUTE', /^edge\.yaml:3:5: .*edge\.yaml:2:5$/]]);
  }
  assert.deepEqual(
    problems(directory({ 'edge.yaml': `routes:\n${route('')}${route('').replace('a.test', 'b.test')}` })),
    [],
  );
});
