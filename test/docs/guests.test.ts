import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GUEST_LINE_BYTES, GUEST_OUTPUT_BYTES, GUEST_OUTPUT_LINES } from '../../src/log.ts';
import { CONTROL_MAX_MEMORIES } from '../../src/runtime/control.ts';
import { MAX_LIFTED_BYTES } from '../../src/wasi/abi.ts';
import { MAX_KEPT_BYTES } from '../../src/wasi/allowance.ts';
import { MAX_FIELDS_BYTES } from '../../src/wasi/http-fields.ts';
import { createHost } from '../../src/wasi/index.ts';
import { STREAM_CHUNK_BYTES } from '../../src/wasi/io.ts';
import { MAX_RANDOM_BYTES } from '../../src/wasi/random.ts';
import { readPage } from './support.ts';

const page = readPage('docs/guests.md');
const KIB = 1024;
const MIB = KIB * KIB;

test('docs/guests.md has the limits of the code', () => {
  const rows = [
    `| header fields of one message | 1,024 lines, ${MAX_FIELDS_BYTES / KIB} KiB |`,
    `| random bytes in one call | ${MAX_RANDOM_BYTES / MIB} MiB |`,
    `| strings and lists passed in one call | ${MAX_LIFTED_BYTES / MIB} MiB |`,
    `| one read or write of a stream | ${STREAM_CHUNK_BYTES / KIB} KiB |`,
    `| header fields, requests and bodies that the guest has made and not sent | ${MAX_KEPT_BYTES / MIB} MiB in all |`,
    `| log output of one request | ${GUEST_OUTPUT_BYTES / KIB} KiB and ${GUEST_OUTPUT_LINES.toLocaleString('en')} lines, in lines of up to ${GUEST_LINE_BYTES / KIB} KiB |`,
    `| more than ${CONTROL_MAX_MEMORIES} memories |`,
  ];
  assert.deepEqual(
    rows.filter((row) => !page.includes(row)),
    [],
  );
});

test('docs/guests.md names interfaces that the host has', () => {
  const host = createHost();
  const rows = [...page.matchAll(/^\| `(wasi:[a-z]+)` \| (.*) \|$/gm)];
  assert.equal(rows.length, 7);
  const named = rows.flatMap(([, owner = '', text = '']) =>
    [...text.matchAll(/`([a-z-]+)`/g)].map(([, name = '']) => `${owner}/${name}`),
  );
  assert.ok(named.length > 10);
  for (const name of named) {
    // Only a known interface is asked for its functions.
    assert.throws(() => host.func({ interface: name, version: '0.2.0' }, 'no-such-function'), {
      code: 'UNKNOWN_IMPORT',
      message: `the guest imports ${name}@0.2.0 no-such-function, which thaw does not have`,
    });
  }
});
