import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { loadConfig } from '../../src/config/load.ts';
import { ThawError } from '../../src/errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'thaw-config-'));
after(() => rmSync(directory, { recursive: true }));
const file = join(directory, 'edge.yaml');

const WHOLE = `
listen: 0.0.0.0:80
admin: "[::1]:81"
store: ../snapshots
pool: { memory: 1GiB, slots: 8 }
drain: 0s
routes:
  - route: /hello/...
    host: WWW.Example.Test
    methods: [POST, GET]
    snapshot: hello
    env: { GREETING: hi, __proto__: x }
    allowed_outbound_hosts: ["https://api.example.test"]
    limits: { requestBody: 0B, wall: 1m, concurrency: 1 }
`;

test('loadConfig() throws only ThawErrors on damaged files', () => {
  const splice = fc.record({
    at: fc.nat({ max: WHOLE.length }),
    cut: fc.nat({ max: 12 }),
    put: fc.oneof(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        ':',
        '- ',
        '\n',
        '\t',
        '"',
        '&a ',
        '*a',
        '!x ',
        '? ',
        '| ',
        '---\n',
        '%',
        '#',
        'null',
        '1e999',
        '__proto__: ',
      ),
      fc.string({ maxLength: 4 }),
    ),
  });
  let refused = 0;
  fc.assert(
    fc.property(fc.array(splice, { minLength: 1, maxLength: 4 }), (splices) => {
      const text = splices.reduce((yaml, { at, cut, put }) => yaml.slice(0, at) + put + yaml.slice(at + cut), WHOLE);
      writeFileSync(file, text);
      try {
        assert.ok(loadConfig(file).routes.length > 0);
      } catch (error) {
        assert.ok(error instanceof ThawError && error.code.startsWith('CONFIG_'), String(error));
        refused++;
      }
    }),
    { numRuns: 600 },
  );
  assert.ok(refused > 100, `${refused} of 600 were damaged`);
});
