import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { captureState, captureWatched, type CapturedState } from '../../src/build/capture.ts';
import { WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { decodeComponent } from '../../src/wasm/link.ts';
import { rewriteModule } from '../../src/wasm/rewrite.ts';
import { SILENT, handlerComponent, type Handler } from '../support/wat.ts';
import { thawError } from '../snapshot/support.ts';

type Linked = Parameters<typeof captureState>;

async function link(handler: Handler, { names = true } = {}): Promise<Linked> {
  const { plan, modules } = decodeComponent(await handlerComponent(handler));
  const compiled = modules.map((bytes) => {
    const { code, shape } = rewriteModule(bytes, { state: 'keep', names });
    return { module: new WebAssembly.Module(code), shape };
  });
  return [plan, compiled];
}

const capture = async (handler: Handler, options?: { names: boolean }): Promise<CapturedState> =>
  captureState(...(await link(handler, options)));

const textAt = ({ bytes }: { readonly bytes: Uint8Array }, at: number, length: number): string =>
  Buffer.from(bytes).toString('latin1', at, at + length);

describe('the state after initialisation', () => {
  test('has data segments and what the start function wrote', async () => {
    const { memories, globals } = await capture({
      core: `(memory (export "memory") 2 9) (data (i32.const 70000) "data")
        (global $big (mut i64) (i64.const 0)) (global $fixed i32 (i32.const 3)) (global $half (mut f32) (f32.const 0.5))
        (start $start)
        (func $start
          (i32.store8 (i32.const 70000) (i32.const 68))
          (global.set $big (i64.const -9223372036854775808)))
        ${SILENT}`,
    });
    assert.equal(memories.length, 1);
    const [memory] = memories;
    assert.ok(memory);
    assert.deepEqual(
      { ...memory, bytes: memory.bytes.length },
      {
        key: { instance: 0, index: 0 },
        min: 2,
        max: 9,
        pages: 2,
        bytes: 2 * WASM_PAGE_BYTES,
      },
    );
    assert.equal(textAt(memory, 69_999, 6), '\0Data\0');
    assert.deepEqual(globals, [
      { instance: 0, name: 'thaw:global0', type: 'i64', value: '-9223372036854775808' },
      { instance: 0, name: 'thaw:global2', type: 'f32', value: '0.5' },
    ]);
  });

  test('has what the start function grew', async () => {
    const { memories } = await capture({
      core: `(memory (export "memory") 1) (start $start)
        (func $start
          (i32.store (i32.const 0) (memory.grow (i32.const 3)))
          (i32.store (i32.const 4) (memory.size))
          (i32.store (i32.const 200000) (i32.const 0x776f7267)))
        ${SILENT}`,
    });
    const [memory] = memories;
    assert.equal(memory?.pages, 4);
    assert.equal(memory.bytes.length, 4 * WASM_PAGE_BYTES);
    assert.deepEqual([...memory.bytes.subarray(0, 8)], [1, 0, 0, 0, 4, 0, 0, 0]);
    assert.equal(textAt(memory, 200_000, 4), 'grow');
  });

  test('has every memory, by the instance that defines it', async () => {
    const { memories } = await capture({
      imports: `
        (core module $Store (memory (export "memory") 3) (data (i32.const 0) "store"))
        (core instance $store (instantiate $Store))`,
      links: '(with "store" (instance $store))',
      core: `(import "store" "memory" (memory 3)) (memory $own 1) (data $own (memory $own) (i32.const 1) "own") ${SILENT}`,
    });
    const found = memories.map((memory) => [memory.key, memory.pages, textAt(memory, 0, 5)]);
    assert.deepEqual(found, [
      [{ instance: 0, index: 0 }, 3, 'store'],
      [{ instance: 1, index: 1 }, 1, '\0own\0'],
    ]);
  });

  test('is empty for a component without memories and globals', async () => {
    assert.deepEqual(await capture({ core: SILENT }), { memories: [], globals: [] });
  });

  test('is of a memory that begins with no pages', async () => {
    const { memories } = await capture({ core: `(memory (export "memory") 0) ${SILENT}` });
    assert.deepEqual(
      memories.map(({ pages, bytes }) => [pages, bytes.length]),
      [[0, 0]],
    );
  });
});

const calling = (name: string): Handler => ({
  imports: `
    (import "wasi:clocks/wall-clock@0.2.3" (instance $clock
      (export "resolution" (func (result u64)))))
    (core func $resolution (canon lower (func $clock "resolution")))`,
  links: '(with "host" (instance (export "resolution" (func $resolution))))',
  core: `(import "host" "resolution" (func $resolution (result i64)))
    (memory (export "memory") 1) (start $start)
    (func $start (call ${name}))
    (func ${name} (drop (call $resolution)))
    ${SILENT}`,
});

describe('initialisation that fails', () => {
  test('for a call of an import names it and the function that calls it', async () => {
    const refused = thawError(
      'BUILD_INIT_CALLS_IMPORT',
      'wasi:clocks/wall-clock@0.2.3 resolution',
      'function App.what_time',
    );
    await assert.rejects(capture(calling('$what_time')), refused);
  });

  test('names functions as C++ and Rust do, with blanks and parentheses', async () => {
    const name = 'clock::now(std::vector<int, char>&, bool) const';
    await assert.rejects(capture(calling(`$"${name}"`)), thawError('BUILD_INIT_CALLS_IMPORT', `function App.${name})`));
  });

  for (const name of ['$"wit-component:shim"', '']) {
    test(`names the function behind the shim that calls on its behalf${name === '' ? ', of an old wit-component too' : ''}`, async () => {
      const handler = calling('$what_time');
      const shim = `(import "host" "resolution" (func (result i64))) (func (export "resolution") (result i64) (call 0))`;
      const module = name === '' ? `(core module ${shim})` : `(core module ${name} ${shim})`;
      const shimmed = {
        ...handler,
        imports: `${handler.imports} ${module}
          (core instance $shim (instantiate 0 (with "host" (instance (export "resolution" (func $resolution))))))`,
        links: '(with "host" (instance $shim))',
      };
      await assert.rejects(capture(shimmed), thawError('BUILD_INIT_CALLS_IMPORT', 'function App.what_time'));
    });
  }

  test('gives the index of a function that has no name', async () => {
    await assert.rejects(
      capture(calling('$what_time'), { names: false }),
      thawError('BUILD_INIT_CALLS_IMPORT', 'wasi:clocks/wall-clock@0.2.3 resolution', 'function 2'),
    );
  });

  test('for dropping a resource names that', async () => {
    const handler = {
      imports: '(core func $drop (canon resource.drop $incoming-request))',
      links: '(with "host" (instance (export "drop" (func $drop))))',
      core: `(import "host" "drop" (func $drop (param i32))) (start $start)
        (func $start (call $drop (i32.const 1))) ${SILENT}`,
    };
    const refused = thawError(
      'BUILD_INIT_CALLS_IMPORT',
      'wasi:http/types@0.2.10 [resource-drop]incoming-request',
      'start',
    );
    await assert.rejects(capture(handler), refused);
  });

  test('with a trap says which, and where', async () => {
    const handler = { core: `(start $start) (func $start (call $give_up)) (func $give_up unreachable) ${SILENT}` };
    await assert.rejects(capture(handler), thawError('BUILD_INIT_FAILED', 'unreachable', 'function App.give_up'));
  });

  test('with data beyond the memory says so', async () => {
    const handler = { core: `(memory (export "memory") 1) (data (i32.const 65536) "x") ${SILENT}` };
    await assert.rejects(capture(handler), thawError('BUILD_INIT_FAILED', 'data segment'));
  });
});

describe('a watched initialisation', () => {
  test('that does not end is stopped, and says where it was', async () => {
    const [plan, modules] = await link({
      core: `(memory (export "memory") 1) (start $begin) (func $begin (call $forever)) (func $forever (loop (br 0))) ${SILENT}`,
    });
    await assert.rejects(
      captureWatched(plan, modules, 50),
      thawError('BUILD_INIT_FAILED', 'stopped after 0.05 s', 'from function App.forever'),
    );
  });

  test('gives what one that nobody watches does', async () => {
    const [plan, modules] = await link({
      core: `(memory (export "memory") 1) (start $s) (func $s (i32.store (i32.const 8) (i32.const 7))) ${SILENT}`,
    });
    assert.deepEqual(await captureWatched(plan, modules), captureState(plan, modules));
  });

  test('that traps or calls the host fails as it does without a watch', async () => {
    const [plan, modules] = await link({
      core: `(memory (export "memory") 1) (start $s) (func $s unreachable) ${SILENT}`,
    });
    await assert.rejects(captureWatched(plan, modules), thawError('BUILD_INIT_FAILED', 'unreachable'));
  });
});
