import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../src/config/problem.ts';
import type { EdgeConfig, RouteConfig } from '../../src/config/schema.ts';
import { checkSnapshots } from '../../src/config/snapshots.ts';

const route = (snapshot: string, line: number): RouteConfig => ({
  id: `/${line}`,
  route: `/${line}`,
  host: null,
  methods: null,
  snapshot,
  env: {},
  allowedOutboundHosts: [],
  limits: {
    requestBodyBytes: 0,
    responseBodyBytes: null,
    wallMs: 1,
    concurrency: 1,
    outboundRequests: 1,
    outboundConcurrency: 1,
    cpuMs: 1,
    memoryBytes: 128 * 1024,
  },
  source: { file: 'edge.yaml', line },
});

const config = (...snapshots: readonly string[]): EdgeConfig => ({
  listen: { host: '127.0.0.1', port: 0 },
  admin: { host: '127.0.0.1', port: 0 },
  store: 'snapshots',
  pool: { memoryBytes: 65_536, slots: 1 },
  outbound: { allowedNetworks: [], blockedNetworks: [] },
  threads: 1,
  limits: { connections: 0, connectionsPerAddress: 0, concurrency: 1 },
  drainMs: 0,
  routes: snapshots.map((snapshot, index) => route(snapshot, index + 1)),
});

const NAMES = ['hello', 'proxy'];
const store = {
  find: (name: string) => (NAMES.includes(name) ? { name, firstPages: 2 } : null),
  names: () => NAMES,
};

test('checkSnapshots() tells of snapshots that are missing and of those that are too large together', async () => {
  const large = { ...store, find: (name: string) => (name === 'hello' ? { name, firstPages: 3 } : null) };
  await assert.rejects(checkSnapshots(config('hello', 'b46007c4d678'), large), (error) => {
    assert.ok(error instanceof ConfigError);
    const told = error.problems.map(({ code, where }) => `${code} ${where}`);
    assert.deepEqual(told.toSorted(), ['CONFIG_INVALID edge.yaml:1', 'CONFIG_SNAPSHOT_MISSING edge.yaml:2']);
    assert.match(
      error.message,
      /"b46007c4d678", which the store does not have; a digest is written with all of its 64/,
    );
    return true;
  });
});

test('checkSnapshots() returns what each name stands for, asked for once', async () => {
  const asked: string[] = [];
  const find = (name: string): ReturnType<typeof store.find> => {
    asked.push(name);
    return store.find(name);
  };
  const found = await checkSnapshots(config('hello', 'proxy', 'hello'), { ...store, find });
  assert.deepEqual(
    [...found],
    [
      ['hello', { name: 'hello', firstPages: 2 }],
      ['proxy', { name: 'proxy', firstPages: 2 }],
    ],
  );
  assert.deepEqual(asked, ['hello', 'proxy']);
});

test('checkSnapshots() names every route whose snapshot is not, and the nearest name', async () => {
  const asked: string[] = [];
  const later = {
    find: async (name: string) => {
      asked.push(name);
      return Promise.resolve(store.find(name));
    },
    names: async () => Promise.resolve(NAMES),
  };
  await assert.rejects(checkSnapshots(config('helo', 'hello', 'zzzzzz', 'helo'), later), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(
      error.problems.map(({ code, where, message }) => [code, where, message.replace(/^.*does not have/, '')]),
      [
        ['CONFIG_SNAPSHOT_MISSING', 'edge.yaml:1', '; did you mean "hello"?'],
        ['CONFIG_SNAPSHOT_MISSING', 'edge.yaml:3', ''],
        ['CONFIG_SNAPSHOT_MISSING', 'edge.yaml:4', '; did you mean "hello"?'],
      ],
    );
    return true;
  });
  assert.deepEqual(asked, ['helo', 'hello', 'zzzzzz']);
});

test('checkSnapshots() names every route that allows less memory than its snapshot begins with', async () => {
  const large = { ...store, find: (name: string) => ({ firstPages: name === 'proxy' ? 3 : 2 }) };
  await assert.rejects(checkSnapshots(config('hello', 'proxy'), large), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(error.problems, [
      {
        code: 'CONFIG_INVALID',
        where: 'edge.yaml:2',
        message:
          'the route "/2" has limits.memory 128KiB, but its snapshot "proxy" begins with 192KiB (3 pages): allow it more, or build it with less',
      },
    ]);
    return true;
  });
});
