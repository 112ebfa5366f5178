import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { canonicalJson } from '../../src/snapshot/canonical-json.ts';
import type { Json } from '../../src/snapshot/canonical-json.ts';
import { thawError } from './support.ts';

const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
);
const { value: json } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'binary', maxLength: 3 }), tie('value'), { maxKeys: 4 }),
  ),
}));

/** The same value with the keys of every object the other way round. */
function reversed(value: Json): Json {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, member]) => [key, reversed(member)]),
  );
}

test('canonicalJson() sorts keys by code unit and writes no white space', () => {
  assert.equal(
    canonicalJson({ b: [1, 'x', null], a: { é: true, Z: -0.5, '': {} } }),
    '{"a":{"":{},"Z":-0.5,"é":true},"b":[1,"x",null]}',
  );
  // U+1F600 is a surrogate pair that begins with D83D: before U+FB33 by code unit, after it by code point.
  assert.equal(canonicalJson({ '\u{fb33}': 1, '\u{1f600}': 2 }), '{"\u{1f600}":2,"\u{fb33}":1}');
});

test('canonicalJson() does not depend on the order of keys', () => {
  fc.assert(fc.property(json, (value) => assert.equal(canonicalJson(reversed(value)), canonicalJson(value))));
});

test('canonicalJson() is injective: parsing gives the value back', () => {
  fc.assert(fc.property(json, (value) => assert.deepEqual(JSON.parse(canonicalJson(value)), plain(value))));
});

test('canonicalJson() refuses what has no text of its own, naming where', () => {
  assert.throws(() => canonicalJson({ a: [1, Number.NaN] }), thawError('INTERNAL', 'NaN', '$.a[1]'));
  assert.throws(() => canonicalJson([-0]), thawError('INTERNAL', '$[0]'));
  assert.throws(() => canonicalJson(Infinity), thawError('INTERNAL', 'Infinity'));
  const withUndefined: { readonly [key: string]: Json } = Object.create(null, {
    b: { enumerable: true, value: undefined },
  });
  assert.throws(() => canonicalJson({ a: withUndefined }), thawError('INTERNAL', 'undefined', '$.a.b'));
});

/** Dictionaries of fast-check may have no prototype, which deepEqual tells apart. */
const plain = (value: Json): unknown => structuredClone(value);
