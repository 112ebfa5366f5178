import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createHost } from '../../src/wasi/index.ts';
import { TestGuest } from './support.ts';

const host = createHost();

suite('wasi:cli/environment', () => {
  test('is what the route grants', () => {
    const env = [
      ['GREETING', 'grüß dich'],
      ['EMPTY', ''],
    ] as const;
    assert.deepEqual(new TestGuest(host, { env }).call('wasi:cli/environment#get-environment'), env);
  });

  test('has no variables, arguments or directory of the node', () => {
    const guest = new TestGuest(host);
    assert.deepEqual(guest.call('wasi:cli/environment#get-environment'), []);
    assert.deepEqual(guest.call('wasi:cli/environment#get-arguments'), []);
    assert.equal(guest.call('wasi:cli/environment#initial-cwd'), undefined);
  });
});

suite('wasi:cli/exit', () => {
  const EXITS = [
    ['exit', 0, 0],
    ['exit', 1, 1],
    ['exit-with-code', 0, 0],
    ['exit-with-code', 42, 42],
  ] as const;
  for (const [func, argument, code] of EXITS) {
    test(`${func}(${argument}) ends the guest with code ${code}, whatever it catches`, () => {
      const guest = new TestGuest(host);
      const exited = { code: 'GUEST_EXITED', message: new RegExp(`exit with code ${code}$`) };
      assert.throws(() => guest.call(`wasi:cli/exit#${func}`, argument), exited);
      assert.throws(() => guest.call('wasi:random/random#get-random-u64'), exited);
    });
  }
});

suite('standard streams', () => {
  test('stdin is at its end', () => {
    const guest = new TestGuest(host);
    const stdin = guest.handle('wasi:cli/stdin#get-stdin');
    const closed = { tag: 'err', val: { tag: 'closed', val: undefined } };
    for (const method of ['read', 'blocking-read', 'skip', 'blocking-skip']) {
      assert.deepEqual(guest.call(`wasi:io/streams#[method]input-stream.${method}`, stdin, 10n), closed);
    }
    const pollable = guest.handle('wasi:io/streams#[method]input-stream.subscribe', stdin);
    assert.equal(guest.call('wasi:io/poll#[method]pollable.ready', pollable), 1);
  });

  for (const name of ['stdout', 'stderr'] as const) {
    test(`${name} goes to the request that is being served`, () => {
      const lines: string[] = [];
      const stdio = (prefix: string) => (stream: string, bytes: Uint8Array) => {
        lines.push(`${prefix} ${stream} ${Buffer.from(bytes).toString()}`);
      };
      const guest = new TestGuest(host, { stdio: stdio('first') });
      const { call } = guest.guest;
      const write = (text: string): unknown => {
        const stream = guest.handle(`wasi:cli/${name}#get-${name}`);
        return guest.call(
          'wasi:io/streams#[method]output-stream.blocking-write-and-flush',
          stream,
          ...guest.bytes(text),
        );
      };
      assert.deepEqual(write('one\n'), { tag: 'ok', val: undefined });
      guest.guest.end();
      guest.guest.begin({ ...call, stdio: stdio('second') });
      write('two\n');
      assert.deepEqual(lines, [`first ${name} one\n`, `second ${name} two\n`]);
    });

    test(`${name} takes bytes in pieces of what it permits, and is always ready`, () => {
      let total = 0;
      const guest = new TestGuest(host, {
        stdio: (_, bytes) => {
          total += bytes.length;
        },
      });
      const stream = guest.handle(`wasi:cli/${name}#get-${name}`);
      const permit = guest.call('wasi:io/streams#[method]output-stream.check-write', stream);
      assert.deepEqual(permit, { tag: 'ok', val: 65_536n });
      assert.deepEqual(guest.call('wasi:io/streams#[method]output-stream.write', stream, ...guest.bytes('abc')), {
        tag: 'ok',
        val: undefined,
      });
      const pollable = guest.handle('wasi:io/streams#[method]output-stream.subscribe', stream);
      assert.equal(guest.call('wasi:io/poll#[method]pollable.ready', pollable), 1);
      assert.equal(total, 3);
    });
  }

  test('a write larger than the permit arrives whole', async () => {
    const chunks: Buffer[] = [];
    const guest = new TestGuest(host, { stdio: (_, bytes) => chunks.push(Buffer.from(bytes)) });
    const stream = guest.handle('wasi:cli/stdout#get-stdout');
    const content = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
    await guest.call('wasi:io/streams#[method]output-stream.blocking-write-and-flush', stream, ...guest.bytes(content));
    assert.ok(Buffer.concat(chunks).equals(content));
  });

  test('none is a terminal', () => {
    const guest = new TestGuest(host);
    for (const name of ['stdin', 'stdout', 'stderr']) {
      assert.equal(guest.call(`wasi:cli/terminal-${name}#get-terminal-${name}`), undefined);
    }
  });
});
