import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RouteCounters, createRouteCounterMemory } from '../../src/metrics/route-counters.ts';

test('counts by route, whichever thread it is', () => {
  const memory = createRouteCounterMemory(2);
  const [one, other] = [new RouteCounters(memory), new RouteCounters(memory)];
  one.add(0, 'refusedGrows', 2 ** 40);
  other.add(0, 'refusedGrows');
  other.add(1, 'cpuStops');
  for (const counters of [one, other]) {
    assert.deepEqual(counters.of(0), { cpuStops: 0, refusedGrows: 2 ** 40 + 1 });
    assert.deepEqual(counters.of(1), { cpuStops: 1, refusedGrows: 0 });
  }
});

test('has no counters for routes that are none', () => {
  const counters = new RouteCounters(createRouteCounterMemory(1));
  assert.throws(() => counters.add(1, 'cpuStops'), { code: 'INTERNAL' });
  assert.throws(() => counters.of(1), { code: 'INTERNAL' });
});
