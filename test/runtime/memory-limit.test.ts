import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { Slot } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { buildGuest } from '../guests/build.ts';
import { RecordingCall, requestTo } from '../support/call.ts';
import { Bench, TIERS } from '../support/runtime.ts';
import { assertSameState } from '../support/same-state.ts';
import { handlerComponent } from '../support/wat.ts';
import { thawError } from '../snapshot/support.ts';

const bench = new Bench();
const pages = (count: number): number => count * WASM_PAGE_BYTES;

/** @returns the body */
async function ask(slot: Slot, path: string, memoryBytes: number): Promise<string | undefined> {
  const call = new RecordingCall({ limits: { memoryBytes } });
  await slot.serve(call, requestTo(path));
  return call.sent?.body;
}

for (const { tier, failure } of TIERS) {
  describe(`memory, tier ${tier}`, { skip: failure ?? false }, () => {
    for (const kind of ['restorable', 'fresh'] as const) {
      test(`of a ${kind} instance grows to the limit of its request, whatever others had before`, async () => {
        const component = await buildGuest('as-plain');
        const app = await (kind === 'fresh' ? bench.freezeWhole(component) : bench.freeze(component));
        assert.equal(app.state.kind, kind);
        const environment = bench.environment(tier);
        const slot = await bench.newSlot(app, environment);
        const first = (slot.observe().memories[0]?.length ?? 0) / WASM_PAGE_BYTES;
        // Up and down: a limit holds for one request, and pages that the slot still has are not a guest's for that.
        for (const more of [5, 40, 3, 0, 17]) {
          const limit = pages(first + more);
          assert.equal(await ask(slot, `/grow?pages=${more + 1}`, limit), `${first} -1 ${first}\n`, `over ${more}`);
          assert.equal(slot.usage.refusedGrows, 1);
          slot.turn(app);
          assert.equal(await ask(slot, `/grow?pages=${more}`, limit), `${first} ${first} ${first + more}\n`);
          assert.equal(slot.usage.refusedGrows, 0);
          slot.turn(app);
        }
        assertSameState(slot.observe(), (await bench.newSlot(app, environment)).observe(), 'in the end');
      });
    }
  });
}

describe('memory', () => {
  let app: LoadedSnapshot;
  before(async () => {
    app = await bench.freeze(await buildGuest('as-plain'));
  });

  test('of which there is more than the limit at the start ends the request', async () => {
    const slot = await bench.newSlot(app, bench.environment('copy'));
    await assert.rejects(ask(slot, '/counter', pages(1)), thawError('GUEST_LIMIT', 'limits.memory, 1 pages'));
    slot.turn(app);
    assert.equal(await ask(slot, '/counter', pages(64)), '1 1\n');
  });

  test('a limit that is not a whole number of pages is rounded down', async () => {
    const slot = await bench.newSlot(app, bench.environment('copy'));
    const first = (slot.observe().memories[0]?.length ?? 0) / WASM_PAGE_BYTES;
    assert.equal(await ask(slot, '/grow?pages=2', pages(first + 2) - 1), `${first} -1 ${first}\n`);
  });

  test('of several memories counts together', async () => {
    const component = await handlerComponent({
      core: `(memory $a 1) (memory $b 2)
        (func (export "handle") (param i32 i32)
          (if (i32.ne (memory.grow $a (i32.const 3)) (i32.const 1)) (then (unreachable)))
          (if (i32.ne (memory.grow $b (i32.const 3)) (i32.const -1)) (then (unreachable)))
          (if (i32.ne (memory.grow $b (i32.const 2)) (i32.const 2)) (then (unreachable)))
          (if (i32.ne (memory.grow $a (i32.const 1)) (i32.const -1)) (then (unreachable))))`,
    });
    const several = await bench.freeze(component);
    const slot = await bench.newSlot(several, bench.environment('copy'));
    for (let round = 0; round < 2; round++) {
      await ask(slot, '/', pages(8));
      assert.equal(slot.usage.refusedGrows, 2);
      slot.turn(several);
    }
  });
});
