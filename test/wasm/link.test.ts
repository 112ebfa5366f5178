import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { componentEmbed, componentNew, parse, preview1AdapterReactorPath, transpile } from '@bytecodealliance/jco';
import { parseInterface, type WitInterface } from '../../src/wasi/wit.ts';
import { decodeComponent, importKey } from '../../src/wasm/link.ts';
import type { CanonOptions, ImportSource } from '../../src/wasm/plan.ts';
import { assertLinked, call, instantiate } from './linked.ts';

const fixture = async (name: string): Promise<Uint8Array> =>
  parse(readFileSync(new URL(`fixtures/${name}.wat`, import.meta.url), 'utf8'));

const NO_OPTIONS: CanonOptions = { memory: null, realloc: null, postReturn: null, encoding: 'utf8' };
const core = (instance: number, name: string): ImportSource => ({ kind: 'core', instance, name });

/** The name of the first module in the plan. */
const nameOf = async (wat: string): Promise<string | undefined> =>
  decodeComponent(await parse(wat)).plan.modules[0]?.name;

/** A custom section. */
const section = (name: string, content: number[]): number[] => [
  0,
  name.length + 1 + content.length,
  name.length,
  ...Buffer.from(name),
  ...content,
];

/** An interface of thaw's WIT. */
const declared = (name: string, wit: string, ...uses: WitInterface[]): WitInterface =>
  parseInterface(name, wit, new Map(uses.map((used) => [used.name, used])));

/** Modules as text that can be sorted. */
const hexes = (modules: readonly Uint8Array[]): string[] =>
  modules.map((bytes) => Buffer.from(bytes).toString('hex')).toSorted();

describe('decodeComponent() of two modules, one of which owns the memory', async () => {
  const linked = decodeComponent(await fixture('env'));
  const { plan } = linked;

  it('leaves out the module that is never instantiated', () => {
    assert.deepEqual(plan.modules, [{ name: 'env' }, { name: 'app' }]);
    assert.deepEqual(
      plan.instances.map(({ module }) => module),
      [0, 1],
    );
  });

  it('resolves memory, global and table to the instance that exports them', () => {
    const sources = plan.instances[1]?.imports.slice(0, 3).map(({ kind, from }) => ({ kind, from }));
    assert.deepEqual(sources, [
      { kind: 'memory', from: core(0, 'memory') },
      { kind: 'global', from: core(0, '__stack_pointer') },
      { kind: 'table', from: core(0, 'table') },
    ]);
  });

  it('resolves the options of lowered functions, with their encodings', () => {
    const memory = { instance: 0, name: 'memory' };
    const realloc = { instance: 0, name: 'realloc' };
    assert.deepEqual(
      plan.instances[1]?.imports.slice(3).map(({ from }) => from),
      [
        {
          kind: 'host',
          interface: 'wasi:cli/environment',
          version: '0.2.3',
          func: 'get-environment',
          options: { memory, realloc, postReturn: null, encoding: 'utf16' },
        },
        {
          kind: 'host',
          interface: '',
          version: '',
          func: 'log',
          options: { memory, realloc: null, postReturn: null, encoding: 'latin1+utf16' },
        },
      ],
    );
  });

  it('gives a function exported by the world no interface', () => {
    assert.deepEqual(plan.exports, [
      {
        interface: '',
        version: '',
        func: 'greet',
        core: { instance: 1, name: 'greet' },
        options: {
          memory: { instance: 0, name: 'memory' },
          realloc: { instance: 0, name: 'realloc' },
          postReturn: { instance: 1, name: 'post-greet' },
          encoding: 'utf16',
        },
      },
    ]);
  });

  it('lists imports as declared, used or not', () => {
    assert.deepEqual(plan.imports, [
      { interface: 'wasi:cli/environment', version: '0.2.3', funcs: ['get-environment', 'initial-cwd'] },
      { interface: '', version: '', funcs: ['log'] },
    ]);
  });

  it('links in V8', () => {
    assertLinked(linked);
    let logged = 0;
    const instances = instantiate(
      linked,
      ({ name }) =>
        () =>
          void (name === 'log' && logged++),
    );
    assert.equal(call(instances[1], 'greet', 0, 0), 8);
    assert.equal(logged, 1);
  });
});

describe('decodeComponent() of the shape that wit-component makes', async () => {
  const linked = decodeComponent(await fixture('shim'));
  const { plan } = linked;

  it('orders shim, main, adapter, fixup', () => {
    assert.deepEqual(
      plan.modules.map(({ name }) => name),
      ['shim', 'main', 'adapter', 'fixup'],
    );
    assert.deepEqual(
      plan.instances.map(({ module }) => module),
      [0, 1, 2, 3],
    );
  });

  it('resolves a dropped resource to the interface that defines it, through aliases and eq bounds', () => {
    const drops = plan.instances.flatMap(({ imports }) => imports).filter(({ from }) => from.kind === 'resource-drop');
    assert.deepEqual(
      drops.map(({ name, from }) => [name, from]),
      [
        [
          '[resource-drop]headers',
          { kind: 'resource-drop', interface: 'wasi:http/types', version: '0.2.10', resource: 'fields' },
        ],
        [
          '[resource-drop]pollable',
          { kind: 'resource-drop', interface: 'wasi:io/poll', version: '0.2.12', resource: 'pollable' },
        ],
      ],
    );
  });

  it('keeps each interface at the patch version that the component names', () => {
    assert.deepEqual(
      plan.imports.map((one) => [one.interface, one.version]),
      [
        ['wasi:io/poll', '0.2.12'],
        ['wasi:io/streams', '0.2.12'],
        ['wasi:http/types', '0.2.10'],
        ['wasi:clocks/wall-clock', '0.2.6'],
      ],
    );
  });

  it('fills the shim from the fixup module', () => {
    assert.deepEqual(
      plan.instances[3]?.imports.map(({ from }) => from),
      [
        {
          kind: 'host',
          interface: 'wasi:http/types',
          version: '0.2.10',
          func: '[method]fields.get',
          options: {
            ...NO_OPTIONS,
            memory: { instance: 1, name: 'memory' },
            realloc: { instance: 1, name: 'cabi_realloc' },
          },
        },
        core(2, 'clock_time_get'),
        core(0, '$imports'),
      ],
    );
  });

  it('sees through the nested component around an exported interface', () => {
    assert.deepEqual(plan.exports, [
      {
        interface: 'wasi:http/incoming-handler',
        version: '0.2.10',
        func: 'handle',
        core: { instance: 1, name: 'wasi:http/incoming-handler@0.2.10#handle' },
        options: NO_OPTIONS,
      },
    ]);
  });

  it("tells the declared types of imported functions as thaw's own WIT has them", () => {
    const poll = declared('wasi:io/poll', 'resource pollable;');
    const streams = declared(
      'wasi:io/streams',
      'use wasi:io/poll.{pollable}; resource input-stream { subscribe: func() -> pollable; }',
      poll,
    );
    const types = declared(
      'wasi:http/types',
      'type field-value = list<u8>; resource fields { get: func(name: string) -> list<field-value>; }',
    );
    const clock = declared(
      'wasi:clocks/wall-clock',
      'record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime;',
    );
    const expected = [
      ['wasi:io/streams@0.2.12#[method]input-stream.subscribe', streams],
      ['wasi:http/types@0.2.10#[method]fields.get', types],
      ['wasi:clocks/wall-clock@0.2.6#now', clock],
    ] as const;
    for (const [key, { name, funcs }] of expected) {
      const [, version = '', func = ''] = /@(.*)#(.*)/.exec(key) ?? [];
      assert.equal(importKey({ interface: name, version }, func), key);
      assert.deepEqual(linked.importTypes.get(key), funcs.get(func));
    }
    assert.equal(linked.importTypes.size, expected.length);
  });

  it('reads producers, sorted, each once', () => {
    assert.deepEqual(linked.producers, [
      { field: 'language', name: 'Rust', version: '' },
      { field: 'processed-by', name: 'wit-component', version: '0.259.0' },
    ]);
  });

  it('links in V8', () => {
    assertLinked(linked);
    assert.equal(instantiate(linked, () => () => 0).length, 4);
  });
});

describe('decodeComponent() of nested components that define core modules', async () => {
  const linked = decodeComponent(await fixture('nested'));
  const { plan } = linked;

  it('instantiates each anew, its modules the same', () => {
    assert.deepEqual(plan.modules, [{ name: 'shared' }, { name: 'own' }]);
    assert.deepEqual(
      plan.instances.map(({ module }) => module),
      [0, 0, 1, 0, 0, 1],
    );
    assert.deepEqual(
      plan.instances[5]?.imports.map(({ from }) => from),
      [core(3, 'u64'), core(4, 'u64')],
    );
  });

  it('exports an interface with and without version', () => {
    assert.deepEqual(
      plan.exports.map((one) => [one.interface, one.version, one.func, one.core.instance]),
      [
        ['test:guest/first', '', 'sum', 2],
        ['test:guest/second', '1.0.0', 'sum', 5],
      ],
    );
  });

  it('links in V8 and computes', () => {
    assertLinked(linked);
    let next = 1n;
    const instances = instantiate(linked, () => () => next++);
    const sums = [2, 5].map((index) => call(instances[index], 'sum'));
    assert.deepEqual(sums, [3n, 7n]);
  });
});

describe('decodeComponent() names', () => {
  it('a module by the component that defines it, by itself, or by number', async () => {
    assert.equal(await nameOf('(component (core module $given) (core instance (instantiate 0)))'), 'given');
    assert.equal(await nameOf('(component (core module (@name "own")) (core instance (instantiate 0)))'), 'own');
    assert.equal(await nameOf('(component (core module) (core instance (instantiate 0)))'), 'module0');
  });

  it('an import that is no interface by its whole name', async () => {
    const names = ['plain', 'a:b/c@0.2.0-rc.1', 'unlocked-dep=<a:b@{>=1.0.0}>'];
    const imports = names.map((name) => `(import "${name}" (instance (export "f" (func))))`);
    const { plan } = decodeComponent(await parse(`(component ${imports.join('')})`));
    assert.deepEqual(
      plan.imports.map((one) => [one.interface, one.version]),
      [
        ['plain', ''],
        ['a:b/c', '0.2.0-rc.1'],
        ['unlocked-dep=<a:b@{>=1.0.0}>', ''],
      ],
    );
  });

  it('nothing in damaged custom sections, and goes on', async () => {
    const bytes = await parse('(component (core module $given) (core instance (instantiate 0)))');
    const damaged = [...section('producers', [9]), ...section('component-name', [1, 3, 0, 0x11, 9])];
    const { plan, producers } = decodeComponent(Uint8Array.from([...bytes, ...damaged]));
    assert.deepEqual(producers, []);
    assert.deepEqual(plan.modules, [{ name: 'given' }]);
  });
});

describe('decodeComponent() agrees with jco', () => {
  it('on the modules and imports of a component that wit-component made', async () => {
    const module = await parse(`(module
      (import "test:guest/things@1.2.3" "[constructor]thing" (func (param i32 i32) (result i32)))
      (import "test:guest/things@1.2.3" "[method]thing.name" (func (param i32 i32)))
      (import "test:guest/things@1.2.3" "[resource-drop]thing" (func (param i32)))
      (import "$root" "now" (func (result i64)))
      (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "test:guest/run@1.2.3#run") (param i32 i32) (result i32) (i32.const 0))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))`);
    const witSource = `package test:guest@1.2.3;
      interface things { resource thing { constructor(name: string); name: func() -> string; } }
      interface run { run: func(input: string) -> string; }
      world guest { import things; import now: func() -> u64; export run; }`;
    const embedded = await componentEmbed({ binary: module, witSource, world: 'guest', stringEncoding: 'utf16' });
    const adapter = readFileSync(preview1AdapterReactorPath());
    const component = await componentNew(embedded, [['wasi_snapshot_preview1', adapter]]);
    const linked = decodeComponent(component);
    const jco = await transpile(component, { name: 'guest', instantiation: 'async' });

    const jcoModules = Object.entries(jco.files)
      .filter(([name]) => name.endsWith('.wasm'))
      .map(([, bytes]) => bytes);
    assert.deepEqual(hexes(linked.modules), hexes(jcoModules));

    const used = linked.plan.instances.flatMap(({ imports }) =>
      imports.flatMap(({ from }) =>
        from.kind === 'core' ? [] : [from.interface || (from.kind === 'host' ? from.func : '')],
      ),
    );
    assert.deepEqual([...new Set(used)].toSorted(), [...jco.imports].toSorted());

    assert.deepEqual(linked.plan.exports, [
      {
        interface: 'test:guest/run',
        version: '1.2.3',
        func: 'run',
        core: { instance: 1, name: 'test:guest/run@1.2.3#run' },
        options: {
          memory: { instance: 1, name: 'memory' },
          realloc: { instance: 1, name: 'cabi_realloc' },
          postReturn: null,
          encoding: 'utf16',
        },
      },
    ]);
    assertLinked(linked);
    assert.equal(instantiate(linked, () => () => 0).length, 4);
  });
});
