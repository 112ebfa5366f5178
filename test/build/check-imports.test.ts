import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkImports } from '../../src/build/check-imports.ts';
import { createHost } from '../../src/wasi/index.ts';
import { decodeComponent } from '../../src/wasm/link.ts';
import { SILENT, handlerComponent } from '../support/wat.ts';
import { thawError } from '../snapshot/support.ts';

const host = createHost();

type Lowered = {
  /** `wasi:clocks/monotonic-clock@0.2.10`. */
  readonly from: string;
  /** The text of the imported instance's type. */
  readonly declared: string;
  readonly func: string;
  /** The type with which the core module imports it. */
  readonly core: string;
};

/** A handler that imports one function. */
const importing = ({ from, declared, func, core }: Lowered): Promise<Uint8Array> =>
  handlerComponent({
    imports: `(import "${from}" (instance $from ${declared}))
      (core func $lowered (canon lower (func $from "${func}")))`,
    links: '(with "host" (instance (export "imported" (func $lowered))))',
    core: `(import "host" "imported" (func ${core})) ${SILENT}`,
  });

const check = async (lowered: Lowered): Promise<void> => checkImports(decodeComponent(await importing(lowered)), host);

const NOW: Lowered = {
  from: 'wasi:clocks/monotonic-clock@0.2.10',
  declared: '(export "now" (func (result u64)))',
  func: 'now',
  core: '(result i64)',
};

/** A function of that name, without parameters or results. */
const plain = (func: string): Pick<Lowered, 'declared' | 'func' | 'core'> => ({
  declared: `(export "${func}" (func))`,
  func,
  core: '',
});

describe('what the host has is accepted', () => {
  for (const version of ['0.2.0', '0.2.6', '0.2.12']) {
    test(`a function of it at ${version}`, () => check({ ...NOW, from: `wasi:clocks/monotonic-clock@${version}` }));
  }

  test('parameters by any name', () =>
    check({
      from: 'wasi:random/random@0.2.3',
      declared: '(export "get-random-bytes" (func (param "how-many" u64) (result (list u8))))',
      func: 'get-random-bytes',
      core: '(param i64 i32)',
    }));

  test('a component that imports nothing', async () => {
    checkImports(decodeComponent(await handlerComponent({ core: SILENT })), host);
  });
});

describe('what the host does not have is UNKNOWN_IMPORT', () => {
  test('an interface, with the nearest that there is', async () => {
    const unknown = thawError('UNKNOWN_IMPORT', 'wasi:clock/monotonic-clock@0.2.10', 'did you mean wasi:clocks/');
    await assert.rejects(check({ ...NOW, from: 'wasi:clock/monotonic-clock@0.2.10' }), unknown);
  });

  test('an interface that is like none, without a guess', async () => {
    const rejected = check({ ...NOW, from: 'acme:database/queries@1.0.0' });
    await assert.rejects(
      rejected,
      (error) =>
        thawError('UNKNOWN_IMPORT', 'acme:database/queries@1.0.0')(error) && !/did you mean/.test(String(error)),
    );
  });

  test('a function, with the nearest that there is', async () => {
    const unknown = thawError('UNKNOWN_IMPORT', 'subscribe-durations', 'did you mean subscribe-duration?');
    await assert.rejects(check({ from: NOW.from, ...plain('subscribe-durations') }), unknown);
  });

  for (const version of ['0.1.0', '0.3.0', '1.0.0']) {
    test(`an interface at ${version}`, async () => {
      const from = `wasi:clocks/monotonic-clock@${version}`;
      await assert.rejects(check({ ...NOW, from }), thawError('UNKNOWN_IMPORT', from, 'at 0.2'));
    });
  }

  test('a resource that is dropped', async () => {
    const component = await handlerComponent({
      imports: `(import "wasi:io/poll@0.2.10" (instance $poll (export "pollables" (type (sub resource)))))
        (alias export $poll "pollables" (type $pollables))
        (core func $drop (canon resource.drop $pollables))`,
      links: '(with "host" (instance (export "drop" (func $drop))))',
      core: `(import "host" "drop" (func (param i32))) ${SILENT}`,
    });
    const unknown = thawError('UNKNOWN_IMPORT', 'pollables', 'did you mean pollable?');
    assert.throws(() => checkImports(decodeComponent(component), host), unknown);
  });
});

describe('a type that is not WASI’s is IMPORT_TYPE_MISMATCH', () => {
  test('of a result', async () => {
    const declared = '(export "now" (func (result u32)))';
    const mismatch = thawError('IMPORT_TYPE_MISMATCH', 'monotonic-clock@0.2.10 now', 'u32', 'u64');
    await assert.rejects(check({ ...NOW, declared, core: '(result i32)' }), mismatch);
  });

  test('of a parameter', async () => {
    const func = 'exit';
    const declared = '(export "exit" (func (param "status" bool)))';
    const mismatch = thawError('IMPORT_TYPE_MISMATCH', 'wasi:cli/exit@0.2.10 exit', 'bool');
    await assert.rejects(check({ from: 'wasi:cli/exit@0.2.10', declared, func, core: '(param i32)' }), mismatch);
  });

  test('of the core function, where the component tells the truth and its module does not', async () => {
    const mismatch = thawError('IMPORT_TYPE_MISMATCH', 'now', '() -> (i32)', '() -> (i64)');
    await assert.rejects(check({ ...NOW, core: '(result i32)' }), mismatch);
    await assert.rejects(check({ ...NOW, core: '(param i32) (result i64)' }), thawError('IMPORT_TYPE_MISMATCH'));
  });
});
