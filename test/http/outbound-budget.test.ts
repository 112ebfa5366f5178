import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutboundBudget } from '../../src/http/outbound-budget.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('requests are spent, and do not come back', async () => {
  const budget = new OutboundBudget({ outboundRequests: 2, outboundConcurrency: 1 });
  assert.equal(budget.spend(), true);
  await budget.run(async () => {});
  assert.equal(budget.spend(), true);
  assert.equal(budget.spend(), false);
  assert.equal(budget.spend(), false);
});

test('no more run at a time than may; the others follow in order, failures too', async () => {
  const budget = new OutboundBudget({ outboundRequests: 10, outboundConcurrency: 2 });
  const begun: number[] = [];
  const gates = Array.from({ length: 6 }, () => Promise.withResolvers<number>());
  const runs = gates.map(({ promise }, index) =>
    budget.run(() => {
      begun.push(index);
      return promise;
    }),
  );
  const settled = Promise.allSettled(runs);
  await turn();
  assert.deepEqual(begun, [0, 1]);
  gates[1]?.reject(new Error('on purpose'));
  await turn();
  assert.deepEqual(begun, [0, 1, 2]);
  gates[0]?.resolve(0);
  gates[2]?.resolve(2);
  await turn();
  assert.deepEqual(begun, [0, 1, 2, 3, 4]);
  for (const [index, gate] of gates.entries()) gate.resolve(index);
  assert.deepEqual(
    (await settled).map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
  );
  assert.equal(await budget.run(async () => 'after'), 'after');
});

test('when all are done, as many run at a time as before', async () => {
  const budget = new OutboundBudget({ outboundRequests: 10, outboundConcurrency: 2 });
  await Promise.all([1, 2, 3, 4, 5].map(() => budget.run(async () => {})));
  let running = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++running);
    await turn();
    running--;
  };
  await Promise.all([1, 2, 3, 4].map(() => budget.run(work)));
  assert.equal(most, 2);
});
