import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Preview1 } from '../../bench/suites/preview1.ts';

const BADF = 8;
const NOENT = 44;
const NOTSUP = 58;
/** Preopened directories come after stdin, stdout and stderr. */
const [ROOT, OTHER] = [3, 4];

function world(): {
  readonly call: (name: string, ...args: (number | bigint)[]) => number;
  readonly opened: string[];
  readonly view: DataView;
  readonly text: (at: number, length: number) => string;
  readonly put: (at: number, text: string) => number;
} {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const opened: string[] = [];
  const preview1 = new Preview1({
    memory,
    environment: ['A=1', 'B=zwei'],
    stdin: Buffer.from('command line'),
    directories: { '/': { 'app.js': Buffer.from('the app') }, '/thaw': { 'initializer.js': Buffer.from('bindings') } },
    onOpen: (path) => opened.push(path),
  });
  return {
    call: (name, ...args) => preview1.func(name)(...args),
    opened,
    view: new DataView(memory.buffer),
    text: (at, length) => Buffer.from(memory.buffer, at, length).toString(),
    put: (at, text) => Buffer.from(memory.buffer).write(text, at),
  };
}

/** `path_open` of a path at 0, its descriptor at 100. */
function open({ call, put, view }: ReturnType<typeof world>, directory: number, path: string): number {
  assert.equal(call('path_open', directory, 1, 0, put(0, path), 0, 0n, 0n, 0, 100), 0);
  return view.getUint32(100, true);
}

/** `fd_read` into two buffers of `length` bytes, at 200 and 300. */
function read({ call, view, text }: ReturnType<typeof world>, fd: number, length: number): string {
  for (const [index, at] of [200, 300].entries()) {
    view.setUint32(400 + index * 8, at, true);
    view.setUint32(404 + index * 8, length, true);
  }
  assert.equal(call('fd_read', fd, 400, 2, 500), 0);
  const count = view.getUint32(500, true);
  return text(200, Math.min(count, length)) + text(300, Math.max(0, count - length));
}

describe('Preview1', () => {
  test('lays the environment down as the guest asked for it', () => {
    const { call, view, text } = world();
    assert.equal(call('environ_sizes_get', 0, 4), 0);
    assert.deepEqual([view.getUint32(0, true), view.getUint32(4, true)], [2, 'A=1\0B=zwei\0'.length]);
    assert.equal(call('environ_get', 16, 64), 0);
    assert.deepEqual([view.getUint32(16, true), view.getUint32(20, true)], [64, 68]);
    assert.equal(text(64, 11), 'A=1\0B=zwei\0');
  });

  test('names the directories that are open, and no others', () => {
    const { call, view, text } = world();
    for (const [fd, path] of [
      [ROOT, '/'],
      [OTHER, '/thaw'],
    ] as const) {
      assert.equal(call('fd_prestat_get', fd, 0), 0);
      assert.equal(view.getUint32(4, true), path.length);
      assert.equal(call('fd_prestat_dir_name', fd, 16, path.length), 0);
      assert.equal(text(16, path.length), path);
    }
    assert.equal(call('fd_prestat_get', 5, 0), BADF);
  });

  test('reads files to their end, from where they were left, and tells when one is opened', () => {
    const guest = world();
    const file = open(guest, ROOT, 'app.js');
    assert.deepEqual(guest.opened, ['/app.js']);
    assert.equal(read(guest, file, 2), 'the ');
    assert.equal(read(guest, file, 5), 'app');
    assert.equal(read(guest, file, 5), '');
    assert.equal(read(guest, open(guest, OTHER, 'initializer.js'), 8), 'bindings');
    assert.deepEqual(guest.opened, ['/app.js', '/thaw/initializer.js']);
  });

  test('seeks from the begin, from here and from the end', () => {
    const guest = world();
    const file = open(guest, ROOT, 'app.js');
    const seek = (offset: bigint, whence: number): bigint => {
      assert.equal(guest.call('fd_seek', file, offset, whence, 600), 0);
      return guest.view.getBigUint64(600, true);
    };
    assert.equal(seek(0n, 2), 7n);
    assert.equal(seek(4n, 0), 4n);
    assert.equal(seek(-1n, 1), 3n);
    assert.equal(read(guest, file, 8), ' app');
  });

  test('knows no file that is not there, and no descriptor that was closed', () => {
    const guest = world();
    assert.equal(guest.call('path_open', ROOT, 1, 0, guest.put(0, 'other.js'), 0, 0n, 0n, 0, 100), NOENT);
    const file = open(guest, ROOT, 'app.js');
    assert.equal(guest.call('fd_close', file), 0);
    assert.equal(guest.call('fd_close', file), BADF);
    assert.equal(guest.call('fd_read', file, 400, 0, 500), BADF);
    assert.deepEqual(guest.opened, ['/app.js']);
  });

  test('reads the command line from stdin, takes output, and refuses what nobody needs', () => {
    const guest = world();
    assert.equal(read(guest, 0, 16), 'command line');
    guest.view.setUint32(404, 12, true);
    assert.equal(guest.call('fd_write', 1, 400, 1, 500), 0);
    assert.equal(guest.view.getUint32(500, true), 12);
    assert.equal(guest.call('fd_write', ROOT, 400, 1, 500), BADF);
    assert.equal(guest.call('path_unlink_file', ROOT, 0, 1), NOTSUP);
  });
});
