import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { canonicalJson } from '../../src/snapshot/canonical-json.ts';
import type { Json } from '../../src/snapshot/canonical-json.ts';
import { codeDigest } from '../../src/snapshot/code-digest.ts';
import { SNAPSHOT_FORMAT, objectsOf } from '../../src/snapshot/manifest.ts';
import type { Manifest, NewManifest } from '../../src/snapshot/manifest.ts';
import { joinManifest, parseManifest, parseProgram } from '../../src/snapshot/parse-manifest.ts';
import { bytesOf, programOf, sampleManifest, samplePlan, thawError } from './support.ts';

const ref = (digit: string, bytes = 10): { digest: string; bytes: number } => ({ digest: digit.repeat(64), bytes });
const sample = sampleManifest({
  code: [ref('a'), ref('b')],
  base: ref('c', 8192),
  delta: ref('d'),
  component: ref('e'),
});
const origin = () => ({ what: 'snapshot "hello"', rebuild: 'thaw build hello.js --name hello' });

/** The two texts that a snapshot is stored as. */
type Texts = { readonly program: string; readonly manifest: string };

const textsOf = ({ plan, code, ...rest }: NewManifest): Texts => ({
  program: canonicalJson({ format: rest.format, plan, code }),
  manifest: canonicalJson({ ...rest, program: programOf({ format: rest.format, plan, code }) }),
});

const texts = textsOf(sample);

const parse = ({ program, manifest }: Texts): Manifest =>
  joinManifest(parseManifest(bytesOf(manifest), origin), parseProgram(bytesOf(program), origin), origin);

/** A JSON text with one member changed, `state.memories[0].pages`, or removed. */
function changed(text: string, path: string, to: Json | undefined): string {
  const keys = path.split(/[.[\]]+/).filter((key) => key !== '');
  return JSON.stringify(withMember(JSON.parse(text), keys, to));
}

function withMember(value: Json | undefined, [key, ...rest]: readonly string[], to: Json | undefined): unknown {
  if (key === undefined) return to;
  assert.ok(typeof value === 'object' && value !== null, `the sample has ${key}`);
  const members: ReadonlyMap<string, Json> = new Map(Object.entries<Json>(value));
  const member = withMember(members.get(key), rest, to);
  return Array.isArray(value)
    ? value.with(Number(key), member)
    : Object.fromEntries<unknown>([...members, [key, member]]);
}

test('a snapshot is read as it was written', () => {
  assert.deepEqual(parse(texts), { ...sample, program: programOf(sample) });
});

test('a snapshot that is not restorable is read as it was written', () => {
  const fresh = { ...sample, state: { kind: 'fresh', reasons: ['main has table.set'] } } as const;
  assert.deepEqual(parse(textsOf(fresh)), { ...fresh, program: programOf(sample) });
});

test('parseProgram() gives what nobody can change', () => {
  const { program } = parseProgram(bytesOf(texts.program), origin);
  const isFrozen = (value: unknown): boolean =>
    typeof value !== 'object' ||
    value === null ||
    (Object.isFrozen(value) && Object.values<unknown>({ ...value }).every(isFrozen));
  assert.ok(isFrozen(program));
});

test('reading a snapshot names the field at fault', () => {
  const memory = 'state.memories[0]';
  const cases: readonly (readonly [path: string, value: Json | undefined, ...tells: string[]])[] = [
    ['plan', undefined, 'field plan: expected a value, found undefined'],
    ['program', undefined, 'field program: expected a value, found undefined'],
    ['program.digest', 'x', 'field program.digest: expected a digest'],
    ['program.bytes', 2 ** 24 + 1, 'field program.bytes: expected an integer from 0 to 16777216'],
    ['extra', 1, 'field extra: expected no such member'],
    ['__proto__x', {}, 'field __proto__x: expected no such member'],
    ['plan.modules[0].name', 7, 'field plan.modules[0].name: expected a string, found 7'],
    ['plan.instances', {}, 'field plan.instances: expected a list'],
    ['plan.instances[1].module', 2, 'field plan.instances[1].module: expected one of 2 modules'],
    ['plan.instances[1].imports[0].kind', 'thing', 'imports[0].kind: expected "func" or "table"'],
    ['plan.instances[1].imports[0].from.kind', 'constructor', 'from.kind: expected host or resource-drop or core'],
    [
      'plan.instances[1].imports[0].from.instance',
      1,
      'from.instance: expected one of the 1 instances before it, found 1',
    ],
    ['plan.instances[1].imports[1].from.options.realloc.instance', 1, 'imports[1].from.options.realloc.instance'],
    ['plan.instances[1].imports[1].from.options.encoding', 'utf-8', 'options.encoding: expected "utf8" or "utf16"'],
    ['plan.exports[0].core.instance', 2, 'field plan.exports[0].core.instance'],
    ['code', [], 'field code: expected 2 entries, one per module, found 0'],
    ['code[0].digest', 'A'.repeat(64), 'field code[0].digest: expected a digest'],
    ['code[0].digest', 'f'.repeat(64), 'field codeDigest'],
    ['code[1].bytes', -1, 'field code[1].bytes: expected an integer from 0'],
    ['code[1].bytes', 1.5, 'field code[1].bytes: expected an integer from 0'],
    ['codeDigest', '0'.repeat(64), 'field codeDigest'],
    ['state.kind', 'frozen', 'field state.kind: expected restorable or fresh, found "frozen"'],
    ['state.memories', [], 'field state.memories: expected a state for memory 0 of instance 0'],
    [`${memory}.instance`, 1, 'expected one state for each memory that is defined, found "memory 0 of instance 1"'],
    [`${memory}.pages`, 65_537, `field ${memory}.pages: expected an integer from 0 to 65536, found 65537`],
    [`${memory}.max`, 1, `field ${memory}.max: expected null or at least its 2 pages`],
    [
      `${memory}.base.bytes`,
      2 * 65_536 + 4096,
      `field ${memory}.base.bytes: expected whole image pages, at most 131072`,
    ],
    [`${memory}.base.bytes`, 4097, `field ${memory}.base.bytes: expected whole image pages`],
    [`${memory}.nonZeroPages`, 33, `field ${memory}.nonZeroPages: expected at most 32`],
    [`${memory}.deltaPages`, 0, `field ${memory}.deltaPages: expected 1 to 32`],
    [`${memory}.delta`, null, `field ${memory}.deltaPages: expected 0 without a delta`],
    ['state.globals', [], 'field state.globals: expected a value for i32 thaw:global0 of instance 0'],
    ['state.globals[0].name', 'thaw:global1', 'expected one value for each global that is defined'],
    ['state.globals[0].type', 'i64', 'expected one value for each global that is defined'],
    ['component.producers', 'jco', 'field component.producers: expected a list, found "jco"'],
  ];
  for (const [path, value, ...tells] of cases) {
    const part = /^(plan|code)\b/.test(path) ? 'program' : 'manifest';
    assert.throws(
      () => parse({ ...texts, [part]: changed(texts[part], path, value) }),
      thawError('STORE_MANIFEST_INVALID', '"hello"', ...tells),
      `${path} = ${JSON.stringify(value)}`,
    );
  }
});

/** Every path in a JSON value: `plan`, `plan.modules`, `plan.modules[0]` and so on, as keys. */
function pathsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries<unknown>({ ...value }).flatMap(([key, member]) => [
    key,
    ...pathsIn(member).map((path) => `${key}.${path}`),
  ]);
}

for (const part of ['program', 'manifest'] as const) {
  test(`a ${part} with any member changed is refused as such, or leaves the code digest as it is`, () => {
    const anyPath = fc.constantFrom(...pathsIn(JSON.parse(texts[part])));
    const anyValue = fc.oneof(
      fc.constantFrom<Json>(null, -1, 0, 1, 2, 2 ** 53, '', 'core', 'x', [], {}, { kind: 'core' }, { __proto__: null }),
      fc.constant(undefined),
    );
    let refused = 0;
    fc.assert(
      fc.property(anyPath, anyValue, (path, value) => {
        try {
          const { plan, code } = parse({ ...texts, [part]: changed(texts[part], path, value) });
          assert.equal(codeDigest(plan, code), sample.codeDigest);
        } catch (error) {
          assert.ok(thawError('STORE_MANIFEST_INVALID', '"hello"')(error), String(error));
          refused++;
        }
      }),
      { numRuns: 1000 },
    );
    assert.ok(refused > 500, `${refused} of 1000 refused`);
  });

  test(`a ${part} with any byte changed is refused as such, or leaves the code digest as it is`, () => {
    const whole = bytesOf(texts[part]);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
        const bytes = whole.with(at, byte);
        const read = (name: keyof Texts): Uint8Array => (name === part ? bytes : bytesOf(texts[name]));
        try {
          const stored = parseManifest(read('manifest'), origin);
          const { plan, code } = joinManifest(stored, parseProgram(read('program'), origin), origin);
          assert.equal(codeDigest(plan, code), sample.codeDigest);
        } catch (error) {
          assert.ok(thawError('STORE_MANIFEST_INVALID', '"hello"')(error), String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
}

/** A manifest whose one global has this type and value. */
const withGlobal = (type: 'i32' | 'i64' | 'f32' | 'f64', value: string): Texts => {
  const [main, adapter] = sample.code;
  assert.ok(main !== undefined && adapter !== undefined && sample.state.kind === 'restorable');
  const code = [{ ...main, shape: { ...main.shape, globals: [{ index: 0, type }] } }, adapter];
  const state = { ...sample.state, globals: [{ instance: 0, name: 'thaw:global0', type, value }] };
  return textsOf({ ...sample, code, codeDigest: codeDigest(samplePlan, code), state });
};

test('parseManifest() takes one text for each value of a global', () => {
  const good = {
    i32: ['0', '-1', '-2147483648', '2147483647'],
    i64: ['0', '-9223372036854775808', '9223372036854775807'],
    f32: ['0', '-0', '0.5', 'Infinity', '-Infinity', String(Math.fround(0.1))],
    f64: ['0.1', '-0', '5e-324', '1e+21', 'Infinity'],
  };
  const bad = {
    i32: ['', '+1', '01', '-0', '1.0', '0x1', '2147483648', '-2147483649', ' 1'],
    i64: ['9223372036854775808', '-9223372036854775809', '1e3'],
    f32: ['0.1', 'NaN', '1e300', '1.0', ''],
    f64: ['NaN', '.5', '1e21', 'infinity', '0x10'],
  };
  for (const type of ['i32', 'i64', 'f32', 'f64'] as const) {
    for (const value of good[type]) assert.doesNotThrow(() => parse(withGlobal(type, value)), `${type} ${value}`);
    for (const value of bad[type]) {
      const check = thawError('STORE_MANIFEST_INVALID', 'field state.globals[0].value', type);
      assert.throws(() => parse(withGlobal(type, value)), check, `${type} ${JSON.stringify(value)}`);
    }
  }
});

test('reading another format says how to make the snapshot anew', () => {
  const check = thawError(
    'STORE_MANIFEST_INVALID',
    'has format 1',
    `reads format ${SNAPSHOT_FORMAT}`,
    'thaw build hello.js --name hello',
  );
  const other = '{"format":1,"anything":[]}';
  assert.throws(() => parse({ ...texts, manifest: other }), check);
  assert.throws(() => parse({ ...texts, program: other }), check);
});

test('a count that is -0 is refused: canonical JSON has no such number', () => {
  const minus = { program: texts.program.replace('"module":0', '"module":-0'), manifest: texts.manifest };
  assert.notEqual(minus.program, texts.program);
  assert.throws(
    () => parse(minus),
    thawError('STORE_MANIFEST_INVALID', 'plan.instances[0].module: expected an integer'),
  );
});

test('what is no manifest or program at all is refused', () => {
  for (const text of ['', '[]', 'null', '{"a":', '\0asm']) {
    assert.throws(
      () => parse({ ...texts, manifest: text }),
      thawError('STORE_MANIFEST_INVALID', 'cannot read the manifest of snapshot "hello"'),
    );
    assert.throws(
      () => parse({ ...texts, program: text }),
      thawError('STORE_MANIFEST_INVALID', 'cannot read the link plan and code list of snapshot "hello"'),
    );
  }
  assert.throws(() => parseManifest(Uint8Array.of(0xff), origin), thawError('STORE_MANIFEST_INVALID', 'not UTF-8'));
});

test('codeDigest() is equal for two apps of one engine', () => {
  const [main, adapter] = sample.code;
  assert.ok(main !== undefined && adapter !== undefined);
  const larger = { ...main, shape: { ...main.shape, memories: [{ index: 0, min: 177, max: null }] } };
  const renamed = { ...samplePlan, modules: [{ name: 'engine' }, { name: 'adapter' }], imports: [] };
  assert.equal(codeDigest(renamed, [larger, adapter]), sample.codeDigest);
});

test('codeDigest() differs with the code, its shape and its links', () => {
  const [main, adapter] = sample.code;
  assert.ok(main !== undefined && adapter !== undefined);
  const bounded = { ...main, shape: { ...main.shape, memories: [{ index: 0, min: 1, max: 2 }] } };
  const digests = [
    codeDigest(samplePlan, [{ ...main, ...ref('f') }, adapter]),
    codeDigest(samplePlan, [bounded, adapter]),
    codeDigest(samplePlan, [{ ...main, shape: { ...main.shape, globals: [] } }, adapter]),
    codeDigest(samplePlan, [{ ...main, shape: { ...main.shape, sized: [] } }, adapter]),
    codeDigest(samplePlan, [adapter, main]),
    codeDigest({ ...samplePlan, instances: samplePlan.instances.slice(0, 1) }, sample.code),
    codeDigest({ ...samplePlan, exports: [] }, sample.code),
  ];
  assert.equal(new Set([...digests, sample.codeDigest]).size, digests.length + 1);
});

test('objectsOf() lists every object with the part it plays', () => {
  assert.deepEqual(
    objectsOf({ ...sample, program: ref('9') }).map(({ ref, role }) => [ref.digest.slice(0, 1), role]),
    [
      ['9', 'link plan and code list'],
      ['a', 'code of module 0'],
      ['b', 'code of module 1'],
      ['c', 'base image of memory 0 of instance 0'],
      ['d', 'delta layer of memory 0 of instance 0'],
    ],
  );
});
