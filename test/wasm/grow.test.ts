import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import * as fc from 'fast-check';
import { CONTROL_PAGES, CONTROL_RECORD_BYTES } from '../../src/runtime/control.ts';
import type { ModuleShape } from '../../src/wasm/plan.ts';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import { call, Control, exportNames, globalOf, importNames, instantiate, KEEP, onePage } from './fixtures/rewritten.ts';

const growing = (min: number, max: number | '') => `(module
  (memory (export "memory") ${min} ${max})
  (func (export "size") (result i32) memory.size)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "both") (param i32) (result i32)
    (i32.sub (i32.mul (memory.grow (local.get 0)) (i32.const 1000)) (memory.size))))`;

describe('memory.size and memory.grow', () => {
  const delta = fc.oneof(
    { weight: 8, arbitrary: fc.nat(4) },
    { weight: 1, arbitrary: fc.constantFrom(-1, -(2 ** 31), 65_536, 65_537, 2 ** 31 - 1) },
  );
  const step = fc.tuple(fc.constantFrom('size', 'grow', 'both'), delta);

  test('behave as in the module before it was rewritten, whatever the memory already has', async () => {
    const sources = await Promise.all([0, 1, 3].map((min) => parse(growing(min, 8))));
    const scenario = fc.record({
      at: fc.nat(2),
      record: fc.nat(CONTROL_PAGES * 1024 - 1),
      extra: fc.nat(9),
      calls: fc.array(step, { minLength: 1, maxLength: 12 }),
    });
    fc.assert(
      fc.property(scenario, ({ at, record, extra, calls }) => {
        const source = sources[at] ?? assert.fail();
        const original = instantiate(source);
        const { code, shape } = rewriteModule(source, KEEP);
        const [min, control, address] = [shape.memories[0]?.min ?? 0, new Control(), record * CONTROL_RECORD_BYTES];
        const memory0 = new WebAssembly.Memory({ initial: min + extra, maximum: 20 });
        const instance = instantiate(code, { thaw: { memory0, control: control.memory } });
        globalOf(instance, 'thaw:memory0').value = address;
        control.set(address, min, 8);
        for (const [name, by] of calls) {
          assert.equal(call(instance, name, by), call(original, name, by), `${name}(${by})`);
        }
        const pages = call(original, 'size');
        assert.equal(control.pages(address), pages);
        assert.ok(memory0.buffer.byteLength >= pages * 65_536);
        assert.ok(memory0.buffer.byteLength <= Math.max(pages, min + extra) * 65_536, 'no more than was asked for');
      }),
      { numRuns: 60 },
    );
  });

  test('give no more than the limit, nor what the memory cannot grow to, and change nothing when they refuse', async () => {
    const { code } = rewriteModule(await parse(growing(1, '')), KEEP);
    const control = new Control();
    const memory0 = new WebAssembly.Memory({ initial: 2, maximum: 4 });
    const instance = instantiate(code, { thaw: { memory0, control: control.memory } });
    const size = (): number => call(instance, 'size');
    const grow = (pages: number): number => call(instance, 'grow', pages);
    control.set(0, 1, 3);
    assert.deepEqual([grow(3), size(), memory0.buffer.byteLength], [-1, 1, 2 * 65_536], 'over the limit');
    control.set(0, 1, 100);
    assert.deepEqual(
      [grow(4), size(), memory0.buffer.byteLength],
      [-1, 1, 2 * 65_536],
      'over the maximum of the memory',
    );
    assert.deepEqual([grow(1), size(), memory0.buffer.byteLength], [1, 2, 2 * 65_536], 'pages it had already');
    assert.deepEqual([grow(2), size(), memory0.buffer.byteLength], [2, 4, 4 * 65_536]);
    control.set(0, 4, 2);
    assert.deepEqual([grow(0), grow(1), size()], [4, -1, 4], 'a limit below the size leaves no room');
    control.set(0, 65_535, 65_536);
    assert.deepEqual([grow(2), grow(-1), size()], [-1, -1, 65_535]);
  });

  test('of several memories, imported and defined, keep to their own words', async () => {
    const source = await parse(`(module
      (import "env" "memory" (memory 1 5))
      (import "env" "callback" (func))
      (memory $unsized 1) (memory $own 2 9)
      (global $imm i32 (i32.const 3))
      (func (export "size0") (result i32) (memory.size 0))
      (func (export "size2") (result i32) (memory.size $own))
      (func (export "grow2") (param i32) (result i32) (memory.grow $own (local.get 0)))
      (func (export "sum") (result i32)
        (i32.store $unsized (i32.const 0) (i32.const 40)) (i32.store $own (i32.const 0) (i32.const 2))
        (i32.add (i32.load $unsized (i32.const 0)) (i32.load $own (i32.const 0)))))`);
    const { code, shape } = rewriteModule(source, KEEP);
    assert.deepEqual(shape, {
      memories: [
        { index: 1, min: 1, max: null },
        { index: 2, min: 2, max: 9 },
      ],
      globals: [],
      sized: [0, 2],
    } satisfies ModuleShape);
    assert.deepEqual(importNames(code), [
      'memory env memory',
      'function env callback',
      'memory thaw memory1',
      'memory thaw memory2',
      'memory thaw control',
    ]);
    const control = new Control();
    const [memory1, memory2] = [onePage(), onePage()];
    const thaw = { memory1, memory2, control: control.memory };
    const instance = instantiate(code, { env: { memory: onePage(), callback: () => {} }, thaw });
    globalOf(instance, 'thaw:memory0').value = 64;
    globalOf(instance, 'thaw:memory2').value = 72;
    control.set(64, 1, 5);
    control.set(72, 2, 9);
    const steps = ['size0', 'size2', 'grow2', 'size2', 'size0', 'sum'];
    assert.deepEqual(
      steps.map((name) => call(instance, name, 3)),
      [1, 2, 2, 5, 1, 42],
    );
    assert.equal(memory2.buffer.byteLength, 5 * 65_536);
  });

  test('grow all memories of a record by its headroom together, and count what was refused', async () => {
    const source = await parse(`(module (memory $a 1) (memory $b 1 3)
      (func (export "a") (param i32) (result i32) (memory.grow $a (local.get 0)))
      (func (export "b") (param i32) (result i32) (memory.grow $b (local.get 0))))`);
    const control = new Control();
    const thaw = { memory0: onePage(), memory1: onePage(), control: control.memory };
    const instance = instantiate(rewriteModule(source, KEEP).code, { thaw });
    globalOf(instance, 'thaw:memory0').value = 128;
    globalOf(instance, 'thaw:memory1').value = 136;
    control.set(128, 1, 65_536, 5);
    control.set(136, 1, 3, 5);
    const steps: [name: string, by: number, result: number, headroom: number, refused: number][] = [
      ['a', 2, 1, 3, 0],
      ['b', 3, -1, 3, 1],
      ['b', 2, 1, 1, 1],
      ['a', 2, -1, 1, 2],
      ['a', 65_535, -1, 1, 3],
      ['a', -1, -1, 1, 4],
      ['a', 1, 3, 0, 4],
      ['a', 0, 4, 0, 4],
      ['b', 1, -1, 0, 5],
    ];
    for (const [name, by, result, headroom, refused] of steps) {
      assert.deepEqual(
        [call(instance, name, by), control.headroom(136), control.refused(128)],
        [result, headroom, refused],
        `${name}(${by})`,
      );
    }
    assert.equal(control.headroom(0) + control.headroom(64) + control.refused(64), 0, 'of other records nothing');
  });

  test('are found in a module that has neither types of their kind, nor imports, globals and exports', async () => {
    const { code, shape } = rewriteModule(
      await parse('(module (memory 1) (func (drop (memory.grow (memory.size)))))'),
      KEEP,
    );
    assert.deepEqual(exportNames(code), ['global thaw:memory0']);
    assert.deepEqual(shape.sized, [0]);
    assert.ok(WebAssembly.validate(Uint8Array.from(code)));
  });

  test('need no control memory in a module that has none of them', async () => {
    const { code, shape } = rewriteModule(await parse('(module (memory (export "m") 1))'), KEEP);
    assert.deepEqual([importNames(code), exportNames(code)], [['memory thaw memory0'], ['memory m']]);
    assert.deepEqual(shape.sized, []);
  });
});
