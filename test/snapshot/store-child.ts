/**
 * The other process of the store's tests. `put <directory> <text>`: puts an object over and over until stdin ends.
 * `die <directory> <n>`: builds a snapshot and names it, and is killed before its n-th operation on the file system.
 */
import { SnapshotStore } from '../../src/snapshot/store.ts';
import { bytesOf, putSnapshot, watchedOps } from './support.ts';

const [mode, directory = '', argument = ''] = process.argv.slice(2);

async function putUntilEnd(): Promise<void> {
  process.stdin.resume();
  const store = SnapshotStore.open(directory, { create: true });
  console.log('ready');
  while (!process.stdin.readableEnded) await store.putObject(bytesOf(argument));
}

async function dieAt(operation: number): Promise<void> {
  let done = 0;
  const ops = watchedOps(() => {
    if (done++ === operation) process.kill(process.pid, 'SIGKILL');
  });
  const store = SnapshotStore.open(directory, { create: true, ops });
  const { ref } = await putSnapshot(store, 'new');
  await store.setRef('hello', ref.digest, 'new.js');
}

await (mode === 'die' ? dieAt(Number(argument)) : putUntilEnd());
