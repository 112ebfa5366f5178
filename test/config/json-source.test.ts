import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { readJson } from '../../src/config/json-source.ts';
import { isRecord, readSource, type Path } from '../../src/config/source.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** JSON with a comment after it is YAML only, and the places in it are the same. */
const asYaml = (text: string) => readSource('a.json', bytes(`${text}\n# no JSON`));

/** Every path that is in a value, and some that are not. */
function pathsOf(value: unknown, path: Path = []): Path[] {
  const inner = Array.isArray(value)
    ? value.flatMap((item: unknown, index) => pathsOf(item, [...path, index]))
    : Object.entries(isRecord(value) ? value : {}).flatMap(([key, item]) => pathsOf(item, [...path, key]));
  return [path, ...inner, [...path, 'missing'], [...path, 99]];
}

/** Keys of YAML end with the line and have 1,024 characters at most; those of routes are short. */
const key = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.constantFrom('__proto__', 'constructor', 'routes', '"\\', '\u2028é'),
);
const json = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, tie('leaf'), tie('list'), tie('record')),
  leaf: fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(true, false, null, -0, 1e21),
  ),
  list: fc.array(tie('value'), { maxLength: 4 }),
  record: fc
    .uniqueArray(fc.tuple(key, tie('value')), { maxLength: 4, selector: ([name]) => name })
    .map(Object.fromEntries),
}));

describe('readJson()', () => {
  test('reads what the reader of YAML reads, and finds it in the same places', () => {
    const top = fc.oneof(json.record, json.list);
    fc.assert(
      fc.property(top, fc.constantFrom('', 1, 4), fc.boolean(), (value, indent, isWindows) => {
        const text = JSON.stringify(value, null, indent).replaceAll('\n', isWindows ? '\r\n' : '\n');
        const own = readJson('a.json', text);
        const { source: other } = asYaml(text);
        assert.ok(own !== null && other !== null, text);
        assert.deepEqual(own.value, other.value);
        for (const path of pathsOf(other.value)) {
          assert.deepEqual(own.find(path, 'key'), other.find(path, 'key'), `key of ${JSON.stringify(path)} in ${text}`);
          assert.deepEqual(own.find(path, 'value'), other.find(path, 'value'), `${JSON.stringify(path)} in ${text}`);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('leaves to the reader of YAML what is not JSON, and what has to be told', () => {
    const texts = [
      '{"a": 1, "a": 2}',
      String.raw`{"a": 1, "\u0061": 2}`,
      '{"a": {"b": [{"c": 1, "c": 1}]}}',
      '{a: 1}',
      '{"a": 1,}',
      '{"a": 1} # comment',
      '"text"',
      'routes: []',
      '',
      '{"a":\r1}',
      '['.repeat(10_000),
      '['.repeat(66) + ']'.repeat(66),
    ];
    for (const text of texts) assert.equal(readJson('a.json', text), null, text.slice(0, 80));
  });

  test('two keys alike are refused with both places, in JSON as in YAML', () => {
    const { problems } = readSource('a.json', bytes('{\n  "a": 1,\n  "\\u0061": 2\n}'));
    assert.deepEqual(problems, [
      { code: 'CONFIG_SYNTAX', where: 'a.json:3:3', message: 'the key "a" is there twice: first at a.json:2:3' },
    ]);
  });

  test('takes a list as routes', () => {
    const { source } = readSource('a.json', bytes('\n[{"route": "/a"}]'));
    assert.deepEqual(source?.value, { routes: [{ route: '/a' }] });
    assert.deepEqual(source?.find(['routes', 0, 'route'], 'value'), { offset: 12, line: 2, column: 12 });
  });
});
