import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import { ThawError } from '../../src/errors.ts';
import { parseModule, SECTION, sectionOf } from '../../src/wasm/module.ts';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import {
  call,
  contentOf,
  Control,
  exportNames,
  globalOf,
  instantiate,
  KEEP,
  outcome,
  STRIP,
} from './fixtures/rewritten.ts';

/** An instance of the `keep` code after its start function has run, with its memory and its shape. */
function started(source: Uint8Array) {
  const { code, shape } = rewriteModule(source, KEEP);
  const control = new Control();
  control.set(0, 1, 4);
  const memory0 = new WebAssembly.Memory({ initial: 1, maximum: 4 });
  return { instance: instantiate(code, { thaw: { memory0, control: control.memory } }), memory0, control, shape };
}

describe('state', () => {
  const STATEFUL = `(module
    (memory (export "memory") 1 4)
    (global $count (mut i32) (i32.const 7))
    (global $big (mut i64) (i64.const 1))
    (global $ratio (mut f64) (f64.const 0.5))
    (global $fixed i32 (i32.const 3))
    (type $op (func (param i32) (result i32)))
    (table funcref (elem $double $square))
    (data (i32.const 8) "\\05\\06\\07")
    (data (i32.const 100) "x")
    (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
    (func $square (type $op) (i32.mul (local.get 0) (local.get 0)))
    (func $init
      (global.set $big (i64.const 5000000000))
      (i32.store8 (i32.const 9) (i32.add (i32.load8_u (i32.const 8)) (memory.size))))
    (start $init)
    (func (export "run") (param i32) (result i32)
      (global.set $count (i32.add (global.get $count) (global.get $fixed)))
      (global.set $big (i64.add (global.get $big) (i64.const 1)))
      (global.set $ratio (f64.mul (global.get $ratio) (f64.const 1.5)))
      (i32.store8 (i32.const 10) (i32.add (i32.load8_u (i32.const 10)) (i32.load8_u (i32.const 9))))
      (i32.add
        (i32.add (global.get $count) (i32.wrap_i64 (global.get $big)))
        (i32.add
          (i32.trunc_f64_s (global.get $ratio))
          (call_indirect (type $op) (i32.load8_u (i32.const 10)) (i32.and (local.get 0) (i32.const 1)))))))`;
  const INPUTS = [0, 1, 1, 0, 5, 2];

  const outputs = (instance: WebAssembly.Instance): unknown[] => INPUTS.map((input) => outcome(instance, 'run', input));

  test('kept: computes what the original computes', async () => {
    const source = await parse(STATEFUL);
    assert.deepEqual(outputs(started(source).instance), outputs(instantiate(source)));
  });

  test('stripped: computes the same once memory and globals are put in', async () => {
    const source = await parse(STATEFUL);
    const { instance: first, memory0: image, control, shape } = started(source);
    assert.deepEqual(
      shape.globals.map(({ index, type }) => `${index} ${type}`),
      ['0 i32', '1 i64', '2 f64'],
    );
    const memory0 = new WebAssembly.Memory({ initial: 1, maximum: 4 });
    const stripped = rewriteModule(source, STRIP);
    assert.deepEqual(stripped.shape, shape);
    const instance = instantiate(stripped.code, { thaw: { memory0, control: control.memory } });
    assert.ok(
      new Uint8Array(memory0.buffer).every((byte) => byte === 0),
      'instantiation writes nothing',
    );
    assert.equal(globalOf(instance, 'thaw:global1').value, 1n, 'the start function has not run');
    new Uint8Array(memory0.buffer).set(new Uint8Array(image.buffer));
    for (const { index } of shape.globals) {
      globalOf(instance, `thaw:global${index}`).value = globalOf(first, `thaw:global${index}`).value;
    }
    assert.deepEqual(outputs(instance), outputs(instantiate(source)));
    assert.equal(instance.exports['memory'], memory0);
  });

  test('stripped: no data, data count and start sections; kept: all of them, byte for byte', async () => {
    const source = await parse(STATEFUL);
    const original = parseModule(source);
    const kept = parseModule(rewriteModule(source, KEEP).code);
    const stripped = parseModule(rewriteModule(source, STRIP).code);
    for (const id of [SECTION.start, SECTION.data]) {
      assert.deepEqual(contentOf(kept, id), contentOf(original, id));
      assert.equal(contentOf(stripped, id), null);
    }
    assert.equal(sectionOf(stripped, SECTION.dataCount), undefined);
  });

  test('stripped: passive segments stay, active ones are as instantiation leaves them', async () => {
    const source = await parse(`(module
      (memory (export "memory") 1)
      (type $bytes (array i8))
      (data $a (i32.const 0) "active") (data $p "passive") (data $b (i32.const 100) "active")
      (func (export "init") (param i32) (result i32)
        (memory.init $p (i32.const 200) (i32.const 1) (local.get 0)) (i32.load8_u (i32.const 200)))
      (func (export "initActive") (param i32) (result i32)
        (memory.init $a (i32.const 0) (i32.const 0) (local.get 0)) (i32.const 1))
      (func (export "array") (param i32) (result i32)
        (array.len (array.new_data $bytes $b (i32.const 0) (local.get 0))))
      (func (export "drop") (param i32) (result i32) (data.drop $p) (data.drop $b) (i32.const 0)))`);
    const memory0 = new WebAssembly.Memory({ initial: 1 });
    const { code } = rewriteModule(source, STRIP);
    const thaw = { memory0, control: new Control().memory };
    const [instance, original] = [instantiate(code, { thaw }), instantiate(source)];
    assert.equal(new Uint8Array(memory0.buffer)[0], 0);
    const calls = [
      ...['initActive', 'array'].flatMap((name) => [`${name} 0`, `${name} 1`]),
      'init 6',
      'init 7',
      'drop 0',
      'init 1',
    ];
    const results = (of: WebAssembly.Instance): unknown[] =>
      calls.map((line) => {
        const [name = '', argument] = line.split(' ');
        return outcome(of, name, Number(argument));
      });
    assert.deepEqual(results(instance), results(original));
    assert.equal(results(original).filter((result) => typeof result === 'string').length, 5, 'some of them trap');
    assert.deepEqual(
      parseModule(code).data.map(({ mode }) => mode),
      ['passive', 'passive', 'passive'],
    );
  });

  for (const code of [
    '(memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))',
    '(data.drop $d)',
    '(drop (array.new_data $bytes $d (i32.const 0) (i32.const 0)))',
    '(array.init_data $bytes $d (array.new_default $bytes (i32.const 1)) (i32.const 0) (i32.const 0) (i32.const 0))',
  ]) {
    test(`stripped: segments keep their indexes for ${code.slice(0, code.indexOf('$')).trim()} alone`, async () => {
      const source = await parse(
        `(module (memory 1) (type $bytes (array (mut i8))) (data (i32.const 0) "a") (data $d "b") (func ${code}))`,
      );
      const stripped = rewriteModule(source, STRIP).code;
      assert.ok(WebAssembly.validate(Uint8Array.from(stripped)));
      assert.equal(parseModule(stripped).data.length, 2);
    });
  }

  test('imported globals, immutable ones, vectors and references are not exported', async () => {
    const { shape, code } = rewriteModule(
      await parse(`(module
        (import "env" "g" (global (mut i32)))
        (global i32 (i32.const 1)) (global (mut v128) (v128.const i64x2 0 0)) (global (mut funcref) (ref.null func))
        (global (mut f32) (f32.const 1)))`),
      KEEP,
    );
    assert.deepEqual(shape.globals, [{ index: 4, type: 'f32' }]);
    assert.deepEqual(exportNames(code), ['global thaw:global4']);
  });
});

/** Names and contents of the custom sections. */
const customs = (code: Uint8Array): string[] =>
  parseModule(code).customs.map(
    ({ name, body }) => `${name} ${Buffer.from(code.subarray(body.start, body.end)).toString('hex')}`,
  );

/** Two of these with other arguments differ in state and names only. */
const app = (pages: number, text: string, name: string) => `(module $${name}
  (import "env" "memory" (memory ${pages} ${pages + 7})) (memory ${pages + 1})
  (data (i32.const 0) "${text}")
  (func $${name} (export "run") (result i32) (memory.grow (i32.const 0)))
  (@custom "${name}" "content"))`;

describe('code', () => {
  test('of modules that differ in data, sizes of memories and names only is equal', async () => {
    const [a, b] = await Promise.all([parse(app(1, 'a', 'one')), parse(app(2, 'longer', 'two'))]);
    assert.ok(a && b);
    assert.deepEqual(rewriteModule(a, STRIP).code, rewriteModule(b, STRIP).code);
    assert.notDeepEqual(rewriteModule(a, KEEP).code, rewriteModule(b, KEEP).code);
    assert.notDeepEqual(
      rewriteModule(a, { ...STRIP, names: true }).code,
      rewriteModule(b, { ...STRIP, names: true }).code,
    );
  });

  test('has the name section if it is wanted, and no other custom section', async () => {
    const source = await parse(app(1, 'a', 'one'));
    const nameSection = customs(source).filter((custom) => custom.startsWith('name '));
    assert.equal(nameSection.length, 1);
    assert.deepEqual(customs(rewriteModule(source, { ...STRIP, names: true }).code), nameSection);
    assert.deepEqual(customs(rewriteModule(source, STRIP).code), []);
  });

  test('is the same from bytes and from a parsed module, and leaves the input alone', async () => {
    const source = await parse(app(1, 'a', 'one'));
    const before = Uint8Array.from(source);
    assert.deepEqual(rewriteModule(parseModule(source), STRIP), rewriteModule(source, STRIP));
    assert.deepEqual(Uint8Array.from(source), before);
  });

  test('keeps bodies before, between and after those with sites', async () => {
    const source = await parse(`(module (memory 1 9)
      (func (export "a") (result i32) (i32.const 1))
      (func (export "b") (result i32) (memory.size) (drop) (i32.const 2) (drop) (memory.size))
      (func (export "c") (result i32) (i32.const 3))
      (func (export "d") (result i32) (i32.const 4))
      (func (export "e") (result i32) (i32.add (memory.grow (i32.const 1)) (memory.size)))
      (func (export "f") (result i32) (i32.const 6)))`);
    const control = new Control();
    control.set(0, 1, 9);
    const memory0 = new WebAssembly.Memory({ initial: 1 });
    const instance = instantiate(rewriteModule(source, KEEP).code, { thaw: { memory0, control: control.memory } });
    assert.deepEqual(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => call(instance, name)),
      [1, 1, 3, 4, 3, 6],
    );
  });
});

describe('refusals', () => {
  const refused: [string, string, string][] = [
    ['a shared memory', '(module (memory 1 2 shared))', 'shared memory 0'],
    ['a 64-bit memory', '(module (memory 1) (memory i64 1))', '64-bit memory 1'],
    ['an imported 64-bit memory', '(module (import "a" "b" (memory i64 1)))', '64-bit memory 0'],
    ['pages of one byte', '(module (memory 1 (pagesize 1)))', 'pages of 2^0 bytes'],
    ['an export with a reserved name', '(module (func (export "thaw:x")))', '"thaw:x"'],
    ['an import from the reserved module', '(module (import "thaw" "control" (memory 1)))', 'reserved module "thaw"'],
  ];
  for (const [what, wat, message] of refused) {
    test(`of ${what} say which`, async () => {
      const source = await parse(wat);
      assert.throws(
        () => rewriteModule(source, STRIP),
        (error) => error instanceof ThawError && error.code === 'WASM_UNSUPPORTED' && error.message.includes(message),
      );
    });
  }

  test('of a memory that does not exist say where it is used', () => {
    const header = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
    const sections = [1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 7, 1, 5, 0, 0x3f, 0x01, 0x1a, 0x0b];
    assert.throws(
      () => rewriteModule(Uint8Array.from([...header, ...sections]), STRIP),
      (error) =>
        error instanceof ThawError && error.code === 'WASM_MALFORMED' && error.message.includes('memory 1 of 0'),
    );
  });
});
