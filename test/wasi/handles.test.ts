import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { HandleTable, HostResource } from '../../src/wasi/handles.ts';

const invalid = { code: 'HANDLE_INVALID' };

class Thing extends HostResource {
  readonly resource: string;
  disposed = 0;

  constructor(resource: string) {
    super();
    this.resource = resource;
  }
  override dispose(): void {
    this.disposed++;
  }
}

type Step = { readonly kind: 'add' | 'take' | 'drop' | 'get' | 'reset'; readonly type: string; readonly pick: number };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom('add', 'take', 'drop', 'get') },
    { weight: 1, arbitrary: fc.constant('reset') },
  ),
  type: fc.constantFrom('a#a', 'b#b'),
  pick: fc.nat(12),
});

/** A table of at most 8 handles beside the map that it should be. */
class Model {
  readonly table = new HandleTable(8);
  readonly open = new Map<number, Thing>();
  readonly made: Thing[] = [];
  readonly disposed = new Set<Thing>();

  run({ kind, type, pick }: Step): void {
    if (kind === 'add') this.#add(type);
    else if (kind === 'reset') this.#reset();
    else this.#use(kind, type, pick);
    assert.equal(this.table.size, this.open.size);
    for (const thing of this.made) assert.equal(thing.disposed, this.disposed.has(thing) ? 1 : 0);
  }

  #add(type: string): void {
    const thing = new Thing(type);
    if (this.open.size === 8) {
      assert.throws(() => this.table.add(thing), { code: 'GUEST_LIMIT' });
      return;
    }
    this.made.push(thing);
    const handle = this.table.add(thing);
    assert.ok(handle > 0 && !this.open.has(handle));
    this.open.set(handle, thing);
  }

  #reset(): void {
    for (const thing of this.open.values()) this.disposed.add(thing);
    this.open.clear();
    this.table.reset();
  }

  #use(kind: 'take' | 'drop' | 'get', type: string, handle: number): void {
    const thing = this.open.get(handle);
    if (thing?.resource !== type) {
      assert.throws(() => this.table[kind](handle, type), invalid);
      return;
    }
    const found = this.table[kind](handle, type);
    if (kind === 'drop') this.disposed.add(thing);
    else assert.equal(found, thing);
    if (kind !== 'get') this.open.delete(handle);
  }
}

/** The handles that the steps get, with errors as 0. */
const trace = (table: HandleTable, steps: readonly Step[]): number[] =>
  steps.map(({ kind, type, pick }) => {
    try {
      if (kind === 'add') return table.add(new Thing(type));
      if (kind === 'reset') table.reset();
      else table[kind](pick, type);
      return -1;
    } catch {
      return 0;
    }
  });

suite('HandleTable', () => {
  test('does what a map of handles does', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const model = new Model();
        for (const one of steps) model.run(one);
      }),
      { numRuns: 300 },
    );
  });

  test('a reset table gives out the handles of a new one, in the same order', () => {
    const steps = fc.array(step, { maxLength: 40 });
    fc.assert(
      fc.property(steps, steps, (before, after) => {
        const reset = new HandleTable(8);
        trace(reset, before);
        reset.reset();
        assert.equal(reset.size, 0);
        assert.deepEqual(trace(reset, after), trace(new HandleTable(8), after));
      }),
      { numRuns: 300 },
    );
  });

  test('wrong, stale and impossible handles are refused, and say why', () => {
    const table = new HandleTable(8);
    const handle = table.add(new Thing('a#a'));
    assert.throws(() => table.get(handle, 'b#b'), { ...invalid, message: /used as b#b, but is a a#a/ });
    table.drop(handle, 'a#a');
    assert.throws(() => table.get(handle, 'a#a'), { ...invalid, message: /is not open/ });
    for (const bad of [0, -1, 2, 0xffff_ffff, -0x8000_0000]) assert.throws(() => table.drop(bad, 'a#a'), invalid);
  });

  test('take gives the resource away without disposing of it', () => {
    const table = new HandleTable(8);
    const thing = new Thing('a#a');
    assert.equal(table.take(table.add(thing), 'a#a'), thing);
    table.reset();
    assert.equal(thing.disposed, 0);
  });
});

test('HandleTable counts a resource once, however many handles lead to it', () => {
  const table = new HandleTable(2, 5);
  const shared = new Thing('a#a');
  for (let times = 0; times < 4; times++) table.add(shared);
  table.add(new Thing('a#a'));
  assert.throws(() => table.add(shared), { code: 'GUEST_LIMIT' });
  table.drop(1, shared.resource);
  assert.throws(() => table.add(new Thing('a#a')), { code: 'GUEST_LIMIT' });
  assert.equal(shared.disposed, 0);
  for (const handle of [2, 3, 4]) table.drop(handle, shared.resource);
  assert.equal(shared.disposed, 1);
  table.add(new Thing('a#a'));
});
