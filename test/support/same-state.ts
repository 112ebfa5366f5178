import assert from 'node:assert/strict';
import type { Slot } from '../../src/runtime/slot.ts';
import { serve } from './call.ts';

type State = ReturnType<Slot['observe']>;

const PAGE_BYTES = 4096;

/** Every byte of every memory and every global of two slots are equal. */
export function assertSameState(actual: State, expected: State, what: string): void {
  assert.deepEqual(actual.globals, expected.globals, `globals ${what}`);
  assert.deepEqual(
    actual.memories.map(({ length }) => length),
    expected.memories.map(({ length }) => length),
    `sizes of memories ${what}`,
  );
  for (const [index, memory] of actual.memories.entries()) {
    const other = expected.memories[index] as Buffer;
    if (!memory.equals(other)) assert.fail(`memory ${index} ${what}: ${difference(memory, other)}`);
  }
}

function difference(actual: Buffer, expected: Buffer): string {
  const pages: number[] = [];
  for (let at = 0; at < actual.length; at += PAGE_BYTES) {
    if (actual.compare(expected, at, at + PAGE_BYTES, at, at + PAGE_BYTES) !== 0) pages.push(at / PAGE_BYTES);
  }
  const first = actual.findIndex((byte, at) => byte !== expected[at]);
  return `pages ${pages.slice(0, 16).join(', ')} of ${actual.length / PAGE_BYTES} differ, ${pages.length} in all, the first at byte ${first}`;
}

/** The slot, which has served, is restored to the snapshot of a brand-new one and serves as that does. */
export async function assertServesOn(slot: Slot, fresh: Slot): Promise<void> {
  assert.equal(slot.state, 'dirty');
  slot.turn(fresh.snapshot);
  assert.equal(slot.state, 'clean');
  assertSameState(slot.observe(), fresh.observe(), 'after a restore');
  assert.deepEqual(await serve(slot, '/counter'), await serve(fresh, '/counter'));
  assertSameState(slot.observe(), fresh.observe(), 'after the next request');
}
