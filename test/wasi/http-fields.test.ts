import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { Fields, MAX_FIELDS_BYTES, isForbiddenName } from '../../src/wasi/http-fields.ts';
import { createHost } from '../../src/wasi/index.ts';
import { TestGuest } from './support.ts';

const FORBIDDEN = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'host',
  'http2-settings',
];

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const refusal = (tag: string): object => ({ tag: 'err', val: { tag } });
const done = { tag: 'ok', val: undefined };

function listed(entries: readonly (readonly [string, string])[]): Fields {
  const made = Fields.fromList(entries.map(([name, value]) => [name, bytes(value)] as const));
  assert.ok(made.tag === 'ok');
  return made.val;
}

/** A name in any casing. */
const cased = (name: string): fc.Arbitrary<string> =>
  fc
    .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
    .map((upper) =>
      Array.from(name, (letter, index) => (upper[index] === true ? letter.toUpperCase() : letter)).join(''),
    );

/** Every way in which a guest can name a field that it wants to change. */
const CHANGES: readonly (readonly [string, (fields: Fields, name: string) => object])[] = [
  ['append', (fields, name) => fields.append(name, bytes('v'))],
  ['set', (fields, name) => fields.set(name, [bytes('v')])],
  ['set to nothing', (fields, name) => fields.set(name, [])],
  ['delete', (fields, name) => fields.delete(name)],
];

suite('fields that belong to the connection', () => {
  test('cannot be set, in any casing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FORBIDDEN).chain(cased), (name) => {
        assert.ok(isForbiddenName(name));
        for (const [how, change] of CHANGES) {
          assert.deepEqual(change(Fields.empty(), name), refusal('forbidden'), `${how} ${name}`);
        }
        assert.deepEqual(Fields.fromList([[name, bytes('v')]]), refusal('forbidden'));
      }),
    );
  });

  test('are not seen in what a peer sent', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FORBIDDEN).chain(cased), (name) => {
        const fields = Fields.received(['Accept', '*/*', name, 'x', 'X-Last', 'y']);
        assert.deepEqual(fields.entries(), [
          ['Accept', '*/*'],
          ['X-Last', 'y'],
        ]);
        assert.equal(fields.has(name), false);
      }),
    );
  });

  test('are these nine and no other', () => {
    for (const name of ['te', 'trailer', 'content-length', 'hosts', 'x-host', 'upgrade-insecure-requests', 'cookie']) {
      assert.equal(isForbiddenName(name), false);
      assert.deepEqual(Fields.empty().append(name, bytes('v')), done);
    }
  });
});

suite('syntax', () => {
  const NOT_TOKENS = [
    '',
    ' ',
    'a b',
    'a:',
    ':path',
    'a\r\nb',
    'a\0',
    'é',
    'a(b)',
    'a/b',
    'a"',
    'a,b',
    'a;b',
    '[a]',
    'a\n',
  ];

  test('names are tokens', () => {
    for (const name of NOT_TOKENS) {
      for (const [how, change] of CHANGES) {
        assert.deepEqual(change(Fields.empty(), name), refusal('invalid-syntax'), `${how} ${JSON.stringify(name)}`);
      }
      assert.deepEqual(Fields.fromList([[name, bytes('v')]]), refusal('invalid-syntax'));
      assert.deepEqual(Fields.empty().get(name), []);
      assert.equal(Fields.empty().has(name), false);
    }
    assert.deepEqual(Fields.empty().append("!#$%&'*+-.^_`|~09azAZ", bytes('v')), done);
  });

  test('values have no CR, LF, NUL or other control but tab', () => {
    for (let code = 0; code <= 0xff; code++) {
      const value = `a${String.fromCharCode(code)}b`;
      const isBad = (code < 0x20 && code !== 0x09) || code === 0x7f;
      const expected = isBad ? refusal('invalid-syntax') : done;
      const fields = Fields.empty();
      assert.deepEqual(fields.append('name', bytes(value)), expected, `byte ${code}`);
      assert.deepEqual(fields.get('name'), isBad ? [] : [value]);
      assert.deepEqual(Fields.empty().set('name', [bytes('fine'), bytes(value)]), expected);
      assert.equal(Fields.fromList([['name', bytes(value)]]).tag, isBad ? 'err' : 'ok');
    }
  });

  test('a change that is refused changes nothing', () => {
    const fields = listed([['a', '1']]);
    fields.set('a', [bytes('2'), bytes('\n')]);
    fields.append('a', bytes('\0'));
    fields.delete('a b');
    assert.deepEqual(fields.entries(), [['a', '1']]);
  });
});

suite('immutable fields', () => {
  test('are those of a peer and those that a message hands out', () => {
    const own = listed([['a', '1']]);
    for (const fields of [Fields.received(['a', '1']), own.frozen(), own.frozen().frozen()]) {
      for (const name of ['a', 'b', 'host', 'a b']) {
        for (const [how, change] of CHANGES) assert.deepEqual(change(fields, name), refusal('immutable'), how);
      }
      assert.deepEqual(fields.entries(), [['a', '1']]);
    }
  });

  test('have clones that can be changed, and do not change with them', () => {
    const received = Fields.received(['a', '1']);
    const clone = received.clone();
    assert.deepEqual(clone.append('b', bytes('2')), done);
    assert.deepEqual(clone.delete('a'), done);
    assert.deepEqual(clone.entries(), [['b', '2']]);
    assert.deepEqual(received.entries(), [['a', '1']]);
  });
});

const same = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();

suite('fields', () => {
  const name = fc.constantFrom('a', 'A', 'b', 'B', 'x-long-name');
  const value = fc.string({ unit: 'grapheme-ascii', maxLength: 3 });
  type Entry = readonly [string, string];

  test('are a list of lines, in order, whose names have no case', () => {
    const change = fc.record({
      kind: fc.constantFrom('append', 'set', 'delete'),
      name,
      values: fc.array(value, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const fields = Fields.empty();
        let model: Entry[] = [];
        for (const { kind, name, values } of changes) {
          if (kind !== 'append') model = model.filter(([other]) => !same(other, name));
          if (kind === 'append') for (const one of values) assert.deepEqual(fields.append(name, bytes(one)), done);
          if (kind === 'set') assert.deepEqual(fields.set(name, values.map(bytes)), done);
          if (kind === 'delete') assert.deepEqual(fields.delete(name), done);
          if (kind !== 'delete') model.push(...values.map((one): Entry => [name, one]));
        }
        assert.deepEqual(fields.entries(), model);
        assert.deepEqual(fields.raw, model.flat());
        for (const key of ['a', 'A', 'b', 'c']) {
          const values = model.filter(([other]) => same(other, key)).map(([, one]) => one);
          assert.deepEqual(fields.get(key), values);
          assert.equal(fields.has(key), values.length > 0);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('hold 1,024 lines', () => {
    const fields = Fields.empty();
    for (let line = 0; line < 1024; line++) fields.append('a', bytes(''));
    assert.throws(() => fields.append('a', bytes('')), { code: 'GUEST_LIMIT' });
    assert.throws(() => Fields.fromList(Array.from({ length: 1025 }, () => ['a', bytes('')] as const)), {
      code: 'GUEST_LIMIT',
    });
  });

  test('hold 128 KiB, with the separators of every line', () => {
    const rest = MAX_FIELDS_BYTES - 'ab'.length - 4;
    assert.deepEqual(Fields.empty().append('ab', new Uint8Array(rest).fill(0x61)), done);
    assert.throws(() => Fields.empty().append('ab', new Uint8Array(rest + 1).fill(0x61)), { code: 'GUEST_LIMIT' });
    const fields = Fields.empty();
    fields.append('ab', new Uint8Array(rest - 5).fill(0x61));
    assert.deepEqual(fields.append('c', bytes('')), done);
    assert.throws(() => fields.append('d', bytes('')), { code: 'GUEST_LIMIT' });
  });

  test('are refused by their size before anything is copied, valid or not', () => {
    const huge = new Uint8Array(2 ** 29);
    assert.throws(() => Fields.empty().append('a', huge), { code: 'GUEST_LIMIT' });
    assert.throws(() => Fields.empty().append('no token', huge), { code: 'GUEST_LIMIT' });
    assert.throws(
      () =>
        Fields.empty().set(
          'a',
          Array.from({ length: 1000 }, () => huge),
        ),
      { code: 'GUEST_LIMIT' },
    );
    assert.throws(() => Fields.fromList([['a', huge]]), { code: 'GUEST_LIMIT' });
    const many = Array.from({ length: 1025 }, () => bytes('\n'));
    assert.throws(() => Fields.empty().set('a', many), { code: 'GUEST_LIMIT' });
    assert.deepEqual(Fields.empty().set('a', many.slice(1)), refusal('invalid-syntax'));
  });

  test('can be filled again after something was removed', () => {
    const fields = Fields.empty();
    const large = new Uint8Array(100_000).fill(0x61);
    for (let round = 0; round < 3; round++) {
      fields.append('a', large);
      fields.delete('A');
      fields.set('a', [large]);
      fields.set('a', [large]);
      fields.set('a', []);
    }
    const clone = listed([['a', 'x'.repeat(100_000)]]).clone();
    assert.throws(() => clone.append('b', large), { code: 'GUEST_LIMIT' });
  });
});

suite('wasi:http/types fields', () => {
  const host = createHost();

  test('do through the ABI what they do in the host', () => {
    const guest = new TestGuest(host);
    const fields = guest.handle('wasi:http/types#[constructor]fields');
    const call = (method: string, ...flat: number[]): unknown =>
      guest.call(`wasi:http/types#[method]fields.${method}`, fields, ...flat);
    assert.deepEqual(call('append', ...guest.string('X-One'), ...guest.bytes('\xe9')), done);
    assert.deepEqual(call('get', ...guest.string('x-one')), [Buffer.from([0xe9])]);
    assert.equal(call('has', ...guest.string('X-ONE')), 1);
    assert.deepEqual(call('append', ...guest.string('Host'), ...guest.bytes('a')), {
      tag: 'err',
      val: { tag: 'forbidden', val: undefined },
    });
    assert.deepEqual(call('entries'), [['X-One', Buffer.from([0xe9])]]);
    const clone = call('clone');
    assert.ok(typeof clone === 'number' && clone !== fields);
  });

  test('become immutable with the message that takes them', () => {
    const guest = new TestGuest(host);
    const fields = guest.handle('wasi:http/types#[constructor]fields');
    const response = guest.handle('wasi:http/types#[constructor]outgoing-response', fields);
    const has = (handle: number): unknown =>
      guest.call('wasi:http/types#[method]fields.has', handle, ...guest.string('a'));
    const headers = guest.handle('wasi:http/types#[method]outgoing-response.headers', response);
    assert.equal(has(headers), 0);
    assert.deepEqual(guest.call('wasi:http/types#[method]fields.delete', headers, ...guest.string('a')), {
      tag: 'err',
      val: { tag: 'immutable', val: undefined },
    });
    guest.guest.handles.drop(headers, 'wasi:http/types#fields');
    assert.throws(() => has(headers), { code: 'HANDLE_INVALID' });
  });
});
