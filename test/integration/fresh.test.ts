import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concurrently, freezeGuests, hostRoute, keepAlive, serve } from './support.ts';

const GUESTS = ['js-kitchen', 'as-table', 'wat-two', 'wat-tableset'] as const;
const REQUESTS = 1000;
const AT_A_TIME = 32;

const store = await freezeGuests(GUESTS);
const node = await serve(
  {
    pool: { slots: 60, memory: '1GiB' },
    routes: [
      ...GUESTS.map((guest) => hostRoute(`${guest}.test`, guest)),
      hostRoute('first.test', 'js-kitchen', { env: { NAME: 'first', ONLY_FIRST: '1' } }),
      hostRoute('second.test', 'js-kitchen', { env: { NAME: 'second' } }),
    ],
  },
  { store },
);
const agent = keepAlive(AT_A_TIME);
const get = (guest: string, path: string) => node.send(path, { host: `${guest}.test`, agent });

const distinct = (values: readonly unknown[]): number => new Set(values).size;

// as-table counts twice: in a global and in its memory.
for (const [guest, answer] of [
  ['js-kitchen', '1\n'],
  ['as-table', '1 1\n'],
  ['wat-two', '1\n'],
  ['wat-tableset', '1\n'],
] as const) {
  test(`the counter of ${guest} answers 1 to each of ${REQUESTS} requests, ${AT_A_TIME} at a time`, async () => {
    const answers = await concurrently(REQUESTS, AT_A_TIME, async () => {
      const { status, text } = await get(guest, '/counter');
      return `${status} ${text}`;
    });
    assert.deepEqual([...new Set(answers)], [`200 ${answer}`]);
    assert.equal(answers.length, REQUESTS);
  });
}

test('random numbers of a JavaScript guest differ from request to request', async () => {
  const answers = await concurrently(100, AT_A_TIME, async () => {
    const { text } = await get('js-kitchen', '/random');
    return JSON.parse(text) as { random: number; uuid: string; values: number[] };
  });
  assert.equal(distinct(answers.map(({ random }) => random)), 100);
  assert.equal(distinct(answers.map(({ uuid }) => uuid)), 100);
  assert.equal(distinct(answers.map(({ values }) => values.join())), 100);
  for (const { random, uuid } of answers) {
    assert.ok(random >= 0 && random < 1);
    assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
});

test('get-random-u64 differs from request to request', async () => {
  const answers = await concurrently(100, AT_A_TIME, async () => (await get('as-table', '/random')).text);
  assert.equal(distinct(answers), 100);
});

test('what a request writes to memory is gone for the next', async () => {
  const { text: before } = await get('as-table', '/peek?at=65536&n=64');
  await concurrently(20, 4, () => get('as-table', '/scribble?at=65536&n=4096&value=170'));
  const after = await concurrently(20, 4, async () => (await get('as-table', '/peek?at=65536&n=64')).text);
  assert.notEqual(before, `${'aa'.repeat(64)}\n`);
  assert.deepEqual([...new Set(after)], [before]);
});

test('memory that a request grew is gone for the next', async () => {
  const answers = await concurrently(50, 8, async () => (await get('as-table', '/grow?pages=3')).text);
  const [before, result, afterwards] = (answers[0] as string).trim().split(' ').map(Number) as [number, number, number];
  assert.equal(result, before);
  assert.equal(afterwards, before + 3);
  assert.equal(distinct(answers), 1);
});

test('a guest has the environment of its route and of no other', async () => {
  const environments = await concurrently(40, 8, async (index) => {
    const host = index % 2 === 0 ? 'first.test' : 'second.test';
    return JSON.parse((await node.send('/env', { host, agent })).text) as unknown;
  });
  for (const [index, env] of environments.entries()) {
    assert.deepEqual(env, index % 2 === 0 ? { NAME: 'first', ONLY_FIRST: '1' } : { NAME: 'second' });
  }
  assert.deepEqual(JSON.parse((await get('js-kitchen', '/env')).text), {});
});
