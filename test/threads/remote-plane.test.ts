import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlaneInput } from '../../src/threads/protocol.ts';
import { RemotePlane } from '../../src/threads/remote-plane.ts';

/** A thread that ends as soon as it begins: nothing can be served from nothing. */
async function dead(): Promise<RemotePlane> {
  const plane = new RemotePlane({} as PlaneInput, () => assert.fail('nothing is compiled'));
  await assert.rejects(plane.report(), { code: 'INTERNAL', message: /^a serving thread ended: / });
  assert.notEqual(plane.failure, null);
  return plane;
}

test('a thread that has ended does not serve', async () => {
  const plane = await dead();
  await assert.rejects(plane.listen(0), { code: 'INTERNAL' });
  await assert.rejects(plane.report(), { code: 'INTERNAL' });
});

test('a thread that has ended, or ends meanwhile, has nothing to drain: the others have their time', async () => {
  const plane = await dead();
  assert.equal(await plane.drain(), 0);
  const ending = new RemotePlane({} as PlaneInput, () => assert.fail('nothing is compiled'));
  assert.equal(await ending.drain(), 0);
});
