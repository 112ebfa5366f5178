import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { isInNetwork, NETWORK_PATTERN, parseNetwork } from '../../src/config/networks.ts';
import { ThawError } from '../../src/errors.ts';

test('parseNetwork() reads networks and single addresses of both families', () => {
  assert.deepEqual(parseNetwork('127.0.0.0/8'), { text: '127.0.0.0/8', bytes: [127, 0, 0, 0], bits: 8 });
  assert.deepEqual(parseNetwork('192.0.2.1'), { text: '192.0.2.1', bytes: [192, 0, 2, 1], bits: 32 });
  assert.equal(parseNetwork('0.0.0.0/0').bits, 0);
  assert.deepEqual(parseNetwork('fd00::/8').bytes, [0xfd, ...Array<number>(15).fill(0)]);
  assert.equal(parseNetwork('::1').bits, 128);
});

test('a network of IPv4-mapped addresses is one of IPv6, in either spelling', () => {
  const bytes = [...Array<number>(10).fill(0), 0xff, 0xff, 10, 0, 0, 0];
  for (const text of ['::ffff:10.0.0.0/104', '::ffff:a00:0/104']) {
    assert.deepEqual(parseNetwork(text), { text, bytes, bits: 104 });
  }
});

test('a network of IPv4-compatible addresses is not one of IPv4-mapped addresses', () => {
  assert.deepEqual(parseNetwork('::10.0.0.0/104').bytes, [...Array<number>(12).fill(0), 10, 0, 0, 0]);
});

const REFUSED: readonly (readonly [text: string, why: RegExp])[] = [
  ['', /write address\/bits/],
  ['private', /write address\/bits/],
  ['localhost/8', /write address\/bits/],
  ['10/8', /write address\/bits/],
  ['0x7f.0.0.0/8', /write address\/bits/],
  ['0177.0.0.0/8', /write address\/bits/],
  ['[fd00::]/8', /write address\/bits/],
  ['fe80::%eth0/10', /write address\/bits/],
  ['10.0.0.0/8/8', /write address\/bits/],
  ['http://10.0.0.0/8', /write address\/bits/],
  ['10.0.0.0/', /\/ is not a prefix length from 0 to 32/],
  ['10.0.0.0/33', /\/33 is not a prefix length from 0 to 32/],
  ['10.0.0.0/-1', /\/-1 is not a prefix length/],
  ['10.0.0.0/ 8', /\/ 8 is not a prefix length/],
  ['10.0.0.0/0x8', /\/0x8 is not a prefix length/],
  ['10.0.0.0/8.5', /\/8\.5 is not a prefix length/],
  ['fd00::/129', /\/129 is not a prefix length from 0 to 128/],
  ['10.1.2.3/8', /lies in is 10\.0\.0\.0\/8$/],
  ['fd00::1/64', /lies in is fd00::\/64$/],
];

for (const [text, why] of REFUSED) {
  test(`parseNetwork() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseNetwork(text),
      (error: unknown) => {
        assert.ok(error instanceof ThawError);
        assert.equal(error.code, 'CONFIG_INVALID');
        assert.match(error.message, why);
        return true;
      },
    );
  });
}

const value = (bytes: readonly number[]): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);

/** An address, and the network of some length around it, by arithmetic on whole numbers. */
const networks = fc
  .constantFrom(4, 16)
  .chain((length) =>
    fc.record({
      inside: fc.uint8Array({ minLength: length, maxLength: length }),
      other: fc.uint8Array({ minLength: length, maxLength: length }),
      bits: fc.integer({ min: 0, max: length * 8 }),
    }),
  )
  .map(({ inside, other, bits }) => {
    const rest = BigInt(inside.length * 8 - bits);
    const hex = ((value([...inside]) >> rest) << rest).toString(16).padStart(inside.length * 2, '0');
    const first = [...Buffer.from(hex, 'hex')];
    const shown =
      first.length === 4 ? first.join('.') : Array.from({ length: 8 }, (_, i) => hex.slice(i * 4, i * 4 + 4)).join(':');
    return { inside: [...inside], other: [...other], rest, text: `${shown}/${bits}` };
  });

test('isInNetwork() compares the first bits, and families never mix', () => {
  fc.assert(
    fc.property(networks, ({ inside, other, rest, text }) => {
      assert.match(text, new RegExp(NETWORK_PATTERN));
      const network = parseNetwork(text);
      assert.equal(isInNetwork(inside, network), true);
      assert.equal(isInNetwork(other, network), value(other) >> rest === value(inside) >> rest);
      assert.equal(isInNetwork(Array<number>(inside.length === 4 ? 16 : 4).fill(0), network), false);
    }),
  );
});

test('parseNetwork() throws only ThawErrors', () => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:./%]{0,20}$/));
  fc.assert(
    fc.property(texts, (text) => {
      try {
        parseNetwork(text);
      } catch (error) {
        assert.ok(error instanceof ThawError && error.code === 'CONFIG_INVALID', String(error));
      }
    }),
  );
});
