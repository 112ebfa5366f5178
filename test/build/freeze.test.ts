import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { describe, test } from 'node:test';
import { freeze, prepare, type BaseImage } from '../../src/build/freeze.ts';
import { SnapshotLoader, type LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { codeDigest } from '../../src/snapshot/code-digest.ts';
import { IMAGE_PAGE_BYTES, type MemoryState, type ObjectRef } from '../../src/snapshot/manifest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import { buildGuest } from '../guests/build.ts';
import { serve } from '../support/call.ts';
import { Bench } from '../support/runtime.ts';
import { SILENT, handlerComponent, handlerText, parseWat, silentComponent } from '../support/wat.ts';
import { damage, flipBit, objectPath, thawError } from '../snapshot/support.ts';

const bench = new Bench();

describe('digests', () => {
  test('two freezes of the same bytes give the same, in any store', async () => {
    const bytes = await buildGuest('as-table');
    const one = await freeze(bytes, bench.store);
    const other = await freeze(Uint8Array.from(bytes), new Bench().store);
    assert.equal(other.digest, one.digest);
    assert.deepEqual(other.manifest, one.manifest);
    assert.deepEqual(bench.store.loadManifest(one.digest), one.manifest);
  });

  test('apps that differ in data and size of memory only have one code', async () => {
    const [one, two, three] = [
      await bench.freeze(await silentComponent('one')),
      await bench.freeze(await silentComponent('two', { pages: 4 })),
      await bench.freeze(await silentComponent('one', { code: 5 })),
    ];
    assert.equal(one.manifest.codeDigest, two.manifest.codeDigest);
    assert.notEqual(one.digest, two.digest);
    assert.notEqual(one.manifest.codeDigest, three.manifest.codeDigest);
  });

  test('a component that was made with and without Wizer has the same state to serve from', async () => {
    // Not the same digests: Wizer's module is another. But the table is there before the first request.
    const [without, withIt] = [
      await bench.freeze(await buildGuest('as-plain')),
      await bench.freeze(await buildGuest('as-table')),
    ];
    assert.ok(memoryOf(withIt).nonZeroPages > memoryOf(without).nonZeroPages + 15);
  });
});

function memoryOf({ manifest: { state } }: Pick<LoadedSnapshot, 'manifest'>): MemoryState {
  assert.equal(state.kind, 'restorable');
  const [memory] = state.memories;
  assert.ok(memory);
  return memory;
}

/** Page n of the image holds the n-th of `texts` at its beginning. */
const paged = (texts: readonly string[], pages = 1): Promise<Uint8Array> =>
  handlerComponent({
    core: `(memory (export "memory") ${pages})
      ${texts.map((text, page) => `(data (i32.const ${page * IMAGE_PAGE_BYTES}) "${text}")`).join('\n')}
      ${SILENT}`,
  });

/** The image of a component as a base, and the option that offers it. */
async function offer(component: Uint8Array): Promise<{ ref: ObjectRef; baseOf: () => Promise<(BaseImage | null)[]> }> {
  const { base } = memoryOf(await bench.freeze(component));
  assert.ok(base);
  const image = { ref: base, bytes: bench.store.readObject(base) };
  return { ref: base, baseOf: () => Promise.resolve([image]) };
}

describe('layers', () => {
  const sixteen = Array.from({ length: 16 }, (_, page) => `page ${page}`);

  test('without a base the image is its own, up to the last page that is not zero', async () => {
    const memory = memoryOf(await bench.freeze(await paged(['', 'a', '', 'b', ''], 3)));
    assert.equal(memory.base?.bytes, 4 * IMAGE_PAGE_BYTES);
    assert.deepEqual([memory.pages, memory.nonZeroPages, memory.delta, memory.deltaPages], [3, 2, null, 0]);
  });

  test('memory that is all zero has no layers at all', async () => {
    const memory = memoryOf(await bench.freeze(await paged([])));
    assert.deepEqual([memory.base, memory.delta, memory.nonZeroPages, memory.pages], [null, null, 0, 1]);
  });

  test('an image that equals its base has no delta', async () => {
    const { ref, baseOf } = await offer(await paged(sixteen));
    const memory = memoryOf(await bench.freeze(await paged(sixteen), { baseOf }));
    assert.deepEqual([memory.base, memory.delta, memory.deltaPages], [ref, null, 0]);
  });

  test('up to half of the pages may be in the delta, more make an image of its own', async () => {
    const { ref, baseOf } = await offer(await paged(sixteen));
    const changed = (count: number): Promise<Uint8Array> =>
      paged(sixteen.map((text, page) => (page < count ? `other ${page}` : text)));
    const half = memoryOf(await bench.freeze(await changed(8), { baseOf }));
    assert.deepEqual([half.base, half.deltaPages], [ref, 8]);
    assert.equal(half.nonZeroPages, 16);
    const more = memoryOf(await bench.freeze(await changed(9), { baseOf }));
    assert.deepEqual([more.delta, more.deltaPages], [null, 0]);
    assert.notDeepEqual(more.base, ref);
  });

  test('pages that only the base has are zero in the app', async () => {
    const { baseOf } = await offer(await paged(sixteen));
    const app = await paged(sixteen.slice(0, 14));
    const layered = await bench.freeze(app, { baseOf });
    assert.equal(memoryOf(layered).deltaPages, 2);
    const slot = await bench.newSlot(layered, bench.environment('copy'));
    const alone = await bench.newSlot(await bench.freeze(app), bench.environment('copy'));
    assert.deepEqual(slot.observe(), alone.observe());
  });

  test('a base that is larger than the memory is not laid under it', async () => {
    const { ref, baseOf } = await offer(await paged([...sixteen, 'page 16'], 2));
    const memory = memoryOf(await bench.freeze(await paged(sixteen), { baseOf }));
    assert.notDeepEqual(memory.base, ref);
    assert.equal(memory.base?.bytes, 16 * IMAGE_PAGE_BYTES);
  });
});

const wrong = (name: string): ((error: unknown) => boolean) => thawError('WRONG_WORLD', `exports ${name} handle`);

const withFields = (fields: string): Promise<Uint8Array> => handlerComponent({ core: `${fields} ${SILENT}` });

describe('what is refused', () => {
  test('a file that is not WebAssembly, and a core module', async () => {
    await assert.rejects(prepare(Buffer.from('#!/bin/sh\n')), thawError('NOT_A_COMPONENT'));
    await assert.rejects(prepare(await parseWat('(module)')), thawError('NOT_A_COMPONENT'));
  });

  test('a component of another world, with what it exports instead', async () => {
    const text = handlerText({ core: SILENT });
    const named = (name: string): Promise<Uint8Array> =>
      parseWat(text.replace('wasi:http/incoming-handler@0.2.10', name));
    await assert.rejects(prepare(await named('acme:app/handler@1.0.0')), wrong('acme:app/handler@1.0.0'));
    await assert.rejects(
      prepare(await named('wasi:http/incoming-handler@0.3.0')),
      wrong('wasi:http/incoming-handler@0.3.0'),
    );
    await assert.rejects(prepare(await parseWat('(component)')), thawError('WRONG_WORLD', 'exports nothing'));
  });

  test('an import that the host does not have, before any code runs', async () => {
    const component = await handlerComponent({
      imports: `(import "acme:db/sql@1.0.0" (instance $sql (export "query" (func))))
        (core func $query (canon lower (func $sql "query")))`,
      links: '(with "host" (instance (export "query" (func $query))))',
      core: `(import "host" "query" (func $query)) (start $query) ${SILENT}`,
    });
    await assert.rejects(freeze(component, bench.store), thawError('UNKNOWN_IMPORT', 'acme:db/sql@1.0.0', 'query'));
  });

  test('code that V8 does not accept, and memories that nothing can have', async () => {
    const untyped = await withFields('(func $wrong (result i32) (i64.const 1))');
    await assert.rejects(
      prepare(untyped),
      thawError('WASM_MALFORMED', 'core module 0 (App) is not valid', 'type error'),
    );
    const large = await withFields('(memory 65537)');
    await assert.rejects(prepare(large), thawError('WASM_MALFORMED', 'App', '65537 pages, where 65536 are the limit'));
    const crossed = await withFields('(memory 2 1)');
    await assert.rejects(prepare(crossed), thawError('WASM_MALFORMED', '2 pages at least and 1 at most'));
  });

  test('initialisation that calls an import or traps', async () => {
    const calls = await handlerComponent({
      imports: `(import "wasi:clocks/monotonic-clock@0.2.10" (instance $clock (export "now" (func (result u64)))))
        (core func $now (canon lower (func $clock "now")))`,
      links: '(with "host" (instance (export "now" (func $now))))',
      core: `(import "host" "now" (func $now (result i64))) (start $start) (func $start (drop (call $now))) ${SILENT}`,
    });
    const named = thawError('BUILD_INIT_CALLS_IMPORT', 'wasi:clocks/monotonic-clock@0.2.10 now', 'function App.start');
    await assert.rejects(freeze(calls, bench.store), named);
    const traps = await handlerComponent({ core: `(start $start) (func $start unreachable) ${SILENT}` });
    await assert.rejects(
      freeze(traps, bench.store),
      thawError('BUILD_INIT_FAILED', 'unreachable', 'function App.start'),
    );
  });
});

describe('what cannot be restored is made afresh for every request, and says why', () => {
  test('a table that changes', async () => {
    const { state } = await bench.freeze(await buildGuest('wat-tableset'));
    assert.equal(state.kind, 'fresh');
    assert.deepEqual(state.reasons.length, 1);
    assert.match(state.reasons[0] ?? '', /^table\.set in function \d+ \(handle|^table\.set in function \d+/);
  });

  test('a global that holds a NaN', async () => {
    const component = await handlerComponent({
      core: `(memory (export "memory") 1) (global (mut f64) (f64.const 1)) (global $bad (mut f32) (f32.const nan:0x200001))
        (func (export "handle") (param i32 i32)
          (i32.store (i32.const 0) (i32.reinterpret_f32 (global.get $bad)))
          (global.set $bad (f32.const 0)))`,
    });
    const snapshot = await bench.freeze(component);
    assert.equal(snapshot.state.kind, 'fresh');
    assert.deepEqual(snapshot.state.reasons, [
      'thaw:global1 of core instance 0 holds a NaN, whose bits cannot be set back',
    ]);
    const slot = await bench.newSlot(snapshot, bench.environment('copy'));
    for (let round = 0; round < 2; round++) {
      await serve(slot, '/');
      assert.equal(slot.observe().memories[0]?.readUInt32LE(0), 0x7fa0_0001 | 0);
      slot.turn(snapshot);
    }
  });

  test('an object that one module keeps and another changes', async () => {
    const TYPE = '(type $s (struct (field (mut i32))))';
    const component = await handlerComponent({
      imports: `
        (core module $Keeper ${TYPE} (global (export "kept") (ref $s) (struct.new $s (i32.const 40))))
        (core instance $keeper (instantiate $Keeper))`,
      links: '(with "keeper" (instance $keeper))',
      core: `${TYPE} (import "keeper" "kept" (global $kept (ref $s))) (memory (export "memory") 1)
        (func (export "handle") (param i32 i32)
          (struct.set $s 0 (global.get $kept) (i32.add (struct.get $s 0 (global.get $kept)) (i32.const 1)))
          (i32.store (i32.const 0) (struct.get $s 0 (global.get $kept))))`,
    });
    const snapshot = await bench.freeze(component);
    assert.equal(snapshot.state.kind, 'fresh');
    assert.deepEqual(snapshot.state.reasons, ['struct.set in function 0, with 1 objects made at instantiation']);
    const slot = await bench.newSlot(snapshot, bench.environment('copy'));
    for (let round = 0; round < 2; round++) {
      await serve(slot, '/');
      assert.equal(slot.observe().memories[0]?.readUInt32LE(0), 41);
      slot.turn(snapshot);
    }
  });
});

const constant = (type: string, value: string): string => `(${type}.const ${value === 'Infinity' ? 'inf' : value})`;

describe('globals come back as they were', () => {
  const VALUES = [
    ['i32', '-2147483648'],
    ['i64', '9223372036854775807'],
    ['i64', '-1'],
    ['f32', '-0'],
    ['f32', '3.4028234663852886e+38'],
    ['f64', '-0'],
    ['f64', 'Infinity'],
    ['f64', '5e-324'],
    ['f64', '0.1'],
  ] as const;

  test('at their limits, and floats to the last bit', async () => {
    const component = await handlerComponent({
      core: `${VALUES.map(([type, value], at) => `(global $g${at} (mut ${type}) ${constant(type, value)})`).join('\n')}
        (func (export "handle") (param i32 i32)
          ${VALUES.map(([type], at) => `(global.set $g${at} (${type}.const 7))`).join('\n')})`,
    });
    const snapshot = await bench.freeze(component);
    assert.equal(snapshot.state.kind, 'restorable');
    const slot = await bench.newSlot(snapshot, bench.environment('copy'));
    const values = (): string[] => slot.observe().globals.map(({ value }) => value);
    const expected = VALUES.map(([, value]) => value);
    assert.deepEqual(values(), expected);
    await serve(slot, '/');
    assert.deepEqual(
      values(),
      VALUES.map(() => '7'),
    );
    slot.turn(snapshot);
    assert.deepEqual(values(), expected);
  });
});

test('a component without memory, and one whose memory has no pages, are frozen and serve', async () => {
  for (const memory of ['', '(memory (export "memory") 0)']) {
    const snapshot = await bench.freeze(await handlerComponent({ core: `${memory} ${SILENT}` }));
    for (const tier of ['scan', 'copy'] as const) {
      const slot = await bench.newSlot(snapshot, bench.environment(tier));
      for (let round = 0; round < 2; round++) {
        assert.equal(await serve(slot, '/'), null);
        assert.equal(slot.turn(snapshot), 0);
      }
      slot.dispose();
    }
  }
});

/** A snapshot in a store of its own, with a base and a delta, and a loader that has not seen it. */
async function frozen(): Promise<{
  own: Bench;
  digest: string;
  base: ObjectRef;
  delta: ObjectRef;
  load: () => LoadedSnapshot;
}> {
  const own = new Bench();
  const texts = Array.from({ length: 16 }, (_, page) => `page ${page}`);
  const engine = await own.freeze(await paged(texts));
  const { base } = memoryOf(engine);
  assert.ok(base);
  const image = { ref: base, bytes: own.store.readObject(base) };
  const app = await freeze(await paged(['changed', ...texts.slice(1)]), own.store, {
    baseOf: () => Promise.resolve([image]),
  });
  const { delta } = memoryOf(app);
  assert.ok(delta);
  return { own, digest: app.digest, base, delta, load: () => loadAnew(own, app.digest) };
}

/** As another process would: a store keeps what it has opened. */
function loadAnew({ directory }: Bench, digest: string): LoadedSnapshot {
  const store = SnapshotStore.open(directory, { create: false });
  try {
    return new SnapshotLoader(store).load(digest);
  } finally {
    store.close();
  }
}

/** Stores the manifest with another state and loads that. */
async function loadWith(change: (memory: MemoryState, own: Bench) => Promise<MemoryState>): Promise<LoadedSnapshot> {
  const { own, digest } = await frozen();
  const manifest = own.store.loadManifest(digest);
  const { state } = manifest;
  assert.equal(state.kind, 'restorable');
  const memories = await Promise.all(state.memories.map((memory) => change(memory, own)));
  const ref = await own.store.putManifest({ ...manifest, state: { ...state, memories } });
  return new SnapshotLoader(own.store).load(ref.digest);
}

describe('loading a snapshot whose objects are not what they were', () => {
  for (const layer of ['base', 'delta'] as const) {
    test(`its ${layer} changed, cut short or gone`, async () => {
      const { own, load, ...refs } = await frozen();
      const path = objectPath(own.directory, refs[layer]);
      const about = `${layer} layer of snapshot ${refs.digest.slice(0, 12)}`;
      load();
      damage(path, flipBit);
      assert.throws(load, thawError('STORE_OBJECT_CORRUPT', about));
      damage(path, (bytes) => bytes.subarray(1));
      assert.throws(load, thawError('STORE_OBJECT_CORRUPT', about));
      rmSync(path);
      assert.throws(load, thawError('STORE_OBJECT_MISSING', about));
    });
  }

  test('its manifest changed or gone', async () => {
    const { own, digest, load } = await frozen();
    const path = objectPath(own.directory, { digest, bytes: 0 });
    damage(path, flipBit);
    assert.throws(load, thawError('STORE_OBJECT_CORRUPT', digest.slice(0, 12)));
    rmSync(path);
    assert.throws(load, thawError('STORE_OBJECT_MISSING', digest.slice(0, 12)));
  });

  test('its delta is no delta', async () => {
    const loaded = loadWith(async (memory, own) => ({
      ...memory,
      delta: await own.store.putObject(Buffer.alloc(9000, 1)),
    }));
    await assert.rejects(loaded, thawError('STORE_LAYER_INVALID'));
  });

  test('its delta reaches beyond its memory', async () => {
    // A delta for two pages of memory under a state that has one.
    const texts = Array.from({ length: 17 }, (_, page) => `page ${page}`);
    const loaded = loadWith(async (memory, own) => {
      const { base } = memoryOf(await own.freeze(await paged(texts.slice(0, 16), 2)));
      assert.ok(base);
      const image = { ref: base, bytes: own.store.readObject(base) };
      const large = await own.freeze(await paged(texts, 2), { baseOf: () => Promise.resolve([image]) });
      return { ...memory, delta: memoryOf(large).delta };
    });
    await assert.rejects(loaded, thawError('STORE_MANIFEST_INVALID', 'beyond its 1 pages'));
  });

  test('it is of another world', async () => {
    const { own, digest } = await frozen();
    const { plan, ...rest } = own.store.loadManifest(digest);
    const exports = plan.exports.map((lifted) => ({ ...lifted, version: '0.3.0' }));
    const other = { ...plan, exports };
    const ref = await own.store.putManifest({ ...rest, plan: other, codeDigest: codeDigest(other, rest.code) });
    assert.throws(() => new SnapshotLoader(own.store).load(ref.digest), thawError('WRONG_WORLD', '0.3.0'));
  });
});

test('a component whose start function grows one of two memories is refused, and not captured wrongly', async () => {
  const component = await handlerComponent({
    core: `(memory (export "memory") 1) (memory $other 1)
      (func $grow (drop (memory.grow $other (i32.const 1)))) (start $grow) ${SILENT}`,
  });
  await assert.rejects(prepare(component), thawError('COMPONENT_UNSUPPORTED', '2 memories'));
});
