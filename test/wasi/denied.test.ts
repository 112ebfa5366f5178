import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createHost } from '../../src/wasi/index.ts';
import { neverGiven } from '../../src/wasi/never-given.ts';
import { TestGuest } from './support.ts';

/** What the host declares and does not have: files and sockets. */

const host = createHost();
const denied = { tag: 'err', val: 'access-denied' };

suite('wasi:filesystem', () => {
  test('has no preopened directory', () => {
    assert.deepEqual(new TestGuest(host).call('wasi:filesystem/preopens#get-directories'), []);
  });

  test('a descriptor is an invalid handle, even where another resource has it', () => {
    const guest = new TestGuest(host);
    const stdout = guest.handle('wasi:cli/stdout#get-stdout');
    for (const handle of [0, 1, 3, stdout]) {
      assert.throws(() => guest.call('wasi:filesystem/types#[method]descriptor.get-flags', handle), {
        code: 'HANDLE_INVALID',
      });
    }
  });

  test('no error of a stream is an error of a file', () => {
    const guest = new TestGuest(host);
    assert.throws(() => guest.call('wasi:filesystem/types#filesystem-error-code', 1), { code: 'HANDLE_INVALID' });
  });
});

suite('wasi:sockets', () => {
  test('gives a network on which nothing is allowed', () => {
    const guest = new TestGuest(host);
    const network = guest.handle('wasi:sockets/instance-network#instance-network');
    for (const family of [0, 1]) {
      assert.deepEqual(guest.call('wasi:sockets/tcp-create-socket#create-tcp-socket', family), denied);
      assert.deepEqual(guest.call('wasi:sockets/udp-create-socket#create-udp-socket', family), denied);
    }
    const name = guest.string('localhost');
    assert.deepEqual(guest.call('wasi:sockets/ip-name-lookup#resolve-addresses', network, ...name), denied);
    assert.throws(() => guest.call('wasi:sockets/tcp#[method]tcp-socket.start-listen', network), {
      code: 'HANDLE_INVALID',
    });
  });
});

suite('neverGiven', () => {
  test('implements the methods of the one resource, without being of use', () => {
    const wit = `
      resource a { constructor(); get: func() -> u8; %stream: func(); make: static func() -> a; }
      resource b { get: func(); }`;
    const funcs = neverGiven(wit, 'a');
    assert.deepEqual(Object.keys(funcs), ['[method]a.get', '[method]a.stream']);
    const { guest } = new TestGuest(host);
    assert.throws(() => funcs['[method]a.get']?.(guest), { code: 'INTERNAL' });
    assert.throws(() => neverGiven(wit, 'c'), { code: 'INTERNAL' });
  });
});
