import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import { parseModule } from '../../src/wasm/module.ts';
import { reasonsNotRestorable } from '../../src/wasm/restorable.ts';

const reasons = async (wat: string): Promise<string[]> => reasonsNotRestorable(parseModule(await parse(wat)));

const dropping = (segment: string) => `(module (memory 1) (data $d ${segment} "x") (func (data.drop $d)))`;

describe('reasonsNotRestorable', () => {
  const TABLE = '(table $t 2 externref) (table $f 2 funcref) (elem $e func)';
  const obstacles: [string, string][] = [
    ['table.set', '(table.set $t (i32.const 0) (ref.null extern))'],
    ['table.grow', '(drop (table.grow $t (ref.null extern) (i32.const 1)))'],
    ['table.fill', '(table.fill $t (i32.const 0) (ref.null extern) (i32.const 1))'],
    ['table.copy', '(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 0))'],
    ['table.init', '(table.init $f $e (i32.const 0) (i32.const 0) (i32.const 0))'],
    ['elem.drop', '(elem.drop $e)'],
  ];
  for (const [instruction, code] of obstacles) {
    test(`names ${instruction} and its function`, async () => {
      const module = `(module (import "a" "b" (func)) ${TABLE} (func) (func ${code}))`;
      assert.deepEqual(await reasons(module), [`${instruction} in function 2`]);
    });
  }

  test('counts the places, and gives the first function its name', async () => {
    assert.deepEqual(
      await reasons(`(module ${TABLE} (func)
        (func $drops_segments (elem.drop $e) (elem.drop $e)) (func $later (elem.drop $e)))`),
      ['elem.drop in 3 places, first in function 1 (drops_segments)'],
    );
  });

  test('minds data.drop only where there are passive segments', async () => {
    assert.deepEqual(await reasons(dropping('(i32.const 0)')), []);
    assert.deepEqual(await reasons(dropping('')), ['data.drop in function 0, with 1 passive data segments']);
  });

  test('minds changes of objects only where objects live as long as the instance', async () => {
    const TYPE = '(type $s (struct (field (mut i32)))) (type $a (array (mut i32)))';
    const CHANGE = `(func (struct.set $s 0 (struct.new_default $s) (i32.const 1)))
      (func (array.set $a (array.new_default $a (i32.const 1)) (i32.const 0) (i32.const 1)))`;
    const GLOBAL = '(global (ref $s) (struct.new $s (i32.const 1)))';
    assert.deepEqual(await reasons(`(module ${TYPE} ${CHANGE})`), []);
    assert.deepEqual(await reasons(`(module ${TYPE} ${GLOBAL})`), []);
    assert.deepEqual(await reasons(`(module ${TYPE} ${GLOBAL} ${CHANGE})`), [
      'struct.set in function 0, with 1 objects made at instantiation',
      'array.set in function 1, with 1 objects made at instantiation',
    ]);
    assert.equal((await reasons(`(module ${TYPE} (elem (ref $s) (struct.new_default $s)) ${CHANGE})`)).length, 2);
    assert.equal((await reasons(`(module ${TYPE} (table 1 (ref $s) (struct.new_default $s)) ${CHANGE})`)).length, 2);
    // Of another module, which may hand it over.
    assert.equal(reasonsNotRestorable(parseModule(await parse(`(module ${TYPE} ${CHANGE})`)), 1).length, 2);
  });

  test('names mutable globals that JavaScript cannot set back, unless they are imported', async () => {
    assert.deepEqual(
      await reasons(`(module
        (import "a" "b" (global (mut externref)))
        (global funcref (ref.null func))
        (global (mut funcref) (ref.null func))
        (global (mut v128) (v128.const i64x2 0 0))
        (global (mut i64) (i64.const 0)))`),
      [
        'global 2 is mutable and holds a reference',
        'global 3 is mutable and holds a v128, which JavaScript cannot read',
      ],
    );
  });

  test('finds none in code that reads tables and changes memory and numeric globals', async () => {
    assert.deepEqual(
      await reasons(`(module (memory 1) (table 1 funcref) (global $g (mut i32) (i32.const 0)) (data $p "x")
        (func (export "f") (param i32)
          (global.set $g (table.size))
          (drop (ref.is_null (table.get (i32.const 0))))
          (memory.init $p (i32.const 0) (i32.const 0) (i32.const 1))
          (memory.copy (i32.const 0) (i32.const 1) (i32.const 1))
          (memory.fill (i32.const 0) (i32.const 1) (i32.const 1))
          (drop (memory.grow (i32.const 1)))))`),
      [],
    );
  });

  test('does without a name when the name section is damaged', async () => {
    const source = await parse('(module (elem $e func) (func $named (elem.drop $e)))');
    const module = parseModule(source);
    const section = module.customs.find(({ name }) => name === 'name');
    assert.ok(section);
    assert.deepEqual(reasonsNotRestorable(module), ['elem.drop in function 0 (named)']);
    const damaged = Uint8Array.from(source);
    damaged[section.body.start + 1] = 0x7f;
    assert.deepEqual(reasonsNotRestorable(parseModule(damaged)), ['elem.drop in function 0']);
  });
});
