import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts';
import { ThawError } from '../../src/errors.ts';

const invalid = (pattern: RegExp) => ({ name: 'ThawError', code: 'CONFIG_INVALID', message: pattern });

for (const [text, bytes] of [
  ['0B', 0],
  ['1B', 1],
  ['64KiB', 65_536],
  ['64KB', 64_000],
  ['10MiB', 10 * 1024 ** 2],
  ['1.5GiB', 1.5 * 1024 ** 3],
  // 1.1 * 1000 is not 1100 in floating point.
  ['1.1KB', 1100],
  ['2GB', 2e9],
] as const) {
  test(`parseSize() reads ${text}`, () => assert.equal(parseSize(text), bytes));
}

for (const [text, ms] of [
  ['0ms', 0],
  ['500ms', 500],
  ['2s', 2000],
  ['0.25s', 250],
  ['1.5m', 90_000],
  ['1h', 3_600_000],
  ['2147483647ms', 2 ** 31 - 1],
] as const) {
  test(`parseDuration() reads ${text}`, () => assert.equal(parseDuration(text), ms));
}

for (const [text, message] of [
  ['10', /a number and a unit \(B, .*\), such as "64MiB"/],
  ['', /is not a size/],
  ['MiB', /is not a size/],
  ['-1B', /is not a size/],
  ['1e3B', /is not a size/],
  ['64mib', /did you mean "64MiB"\?/],
  ['64 MiB', /did you mean "64MiB"\?/],
  ['64M', /did you mean "64MiB"\?/],
  ['64mb', /did you mean "64MB"\?/],
  ['1.1B', /not a whole number of bytes/],
  ['999999999GiB', /over the largest size/],
  ['1constructor', /is not a size/],
  ['1MiB\n', /is not a size|did you mean/],
] as const) {
  test(`parseSize() refuses ${JSON.stringify(text)}`, () => assert.throws(() => parseSize(text), invalid(message)));
}

for (const [text, message] of [
  ['10', /such as "500ms"/],
  ['10sec', /did you mean "10s"\?/],
  ['10S', /did you mean "10s"\?/],
  ['0.1ms', /not a whole number of milliseconds/],
  ['600h', /over the largest duration, 2147483647 milliseconds/],
] as const) {
  test(`parseDuration() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseDuration(text), invalid(message));
  });
}

test('formatSize() is read back by parseSize()', () => {
  const size = fc.oneof(
    fc.nat({ max: 2 ** 40 }),
    fc.tuple(fc.nat({ max: 1023 }), fc.constantFrom(10, 20, 30)).map(([n, bits]) => n * 2 ** bits),
  );
  fc.assert(fc.property(size, (bytes) => parseSize(formatSize(bytes)) === bytes));
  assert.equal(formatSize(10 * 1024 ** 2), '10MiB');
  assert.equal(formatSize(0), '0B');
});

test('formatDuration() is read back by parseDuration()', () => {
  fc.assert(fc.property(fc.nat({ max: 2 ** 31 - 1 }), (ms) => parseDuration(formatDuration(ms)) === ms));
  assert.equal(formatDuration(90_000), '90s');
  assert.equal(formatDuration(0), '0ms');
});

test('parseSize() and parseDuration() throw only ThawErrors', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const parse of [parseSize, parseDuration]) {
        try {
          assert.ok(Number.isSafeInteger(parse(text)));
        } catch (error) {
          assert.ok(error instanceof ThawError);
        }
      }
    }),
  );
});
