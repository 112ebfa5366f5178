import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONTROL_MAX_MEMORIES, CONTROL_PAGES, CONTROL_RECORD_BYTES } from '../../src/runtime/control.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { thawError } from '../snapshot/support.ts';

const RECORDS = (CONTROL_PAGES * WASM_PAGE_BYTES) / CONTROL_RECORD_BYTES - 1;

test('records lie in the memory, apart from each other and from record 0, until all are taken', () => {
  const control = new ControlMemory();
  const records = Array.from({ length: RECORDS }, () => control.allocate());
  assert.equal(new Set(records).size, RECORDS);
  for (const record of records) {
    assert.equal(record % CONTROL_RECORD_BYTES, 0);
    assert.ok(record > 0 && record + CONTROL_RECORD_BYTES <= control.memory.buffer.byteLength);
  }
  assert.throws(() => control.allocate(), thawError('NODE_BUSY', `${RECORDS} control records`));
  const [, freed = 0] = records;
  control.release(freed);
  assert.equal(control.allocate(), freed);
  assert.throws(() => control.allocate(), thawError('NODE_BUSY'));
});

test('the sizes of all memories of two neighbours are kept apart, up to 4 GiB', () => {
  const control = new ControlMemory();
  const addresses = [control.allocate(), control.allocate()].flatMap((record) =>
    Array.from({ length: CONTROL_MAX_MEMORIES }, (_, memory) => record + memory * 8),
  );
  for (const [index, address] of addresses.entries()) control.setSize(address, { pages: index, limit: 65_536 - index });
  for (const [index, address] of addresses.entries()) {
    assert.deepEqual(control.size(address), { pages: index, limit: 65_536 - index });
  }
  assert.deepEqual(control.size(0), { pages: 0, limit: 0 });
});

test('the memory is shared, as a watchdog on another thread needs it', () => {
  assert.ok(new ControlMemory().memory.buffer instanceof SharedArrayBuffer);
});
