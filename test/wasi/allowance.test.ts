import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { Allowance, MAX_KEPT_BYTES } from '../../src/wasi/allowance.ts';
import { OutgoingBodyPipe } from '../../src/wasi/http-body.ts';
import { Fields } from '../../src/wasi/http-fields.ts';
import { OutgoingRequest } from '../../src/wasi/http-messages.ts';
import { createHost } from '../../src/wasi/index.ts';
import { CLOSED, STREAM_CHUNK_BYTES } from '../../src/wasi/io.ts';
import { requestTo } from '../support/call.ts';
import { TestGuest, testCall } from './support.ts';

const limit = { code: 'GUEST_LIMIT' };
const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(0x61);

/** How much there is left. Takes nothing. */
function leftOf(allowance: Allowance): number {
  let left = 0;
  for (let part = MAX_KEPT_BYTES; part >= 1; part /= 2) {
    try {
      allowance.take(part, 'a test');
      left += part;
    } catch {
      // Not so much.
    }
  }
  allowance.give(left);
  return left;
}

suite('an allowance', () => {
  test('is spent to the last byte, and says what was wanted', () => {
    const allowance = new Allowance(10);
    allowance.take(4, 'four');
    allowance.take(6, 'six');
    allowance.take(0, 'nothing');
    assert.throws(() => allowance.take(1, 'one more'), {
      ...limit,
      message: /^one more of 1 bytes more, .* room for 0$/,
    });
    allowance.give(3);
    assert.equal(leftOf(allowance), 3);
  });

  test('fields count what they hold, and nothing when they are gone', () => {
    const change = fc.record({
      how: fc.constantFrom('append', 'set', 'delete', 'clone', 'from-list', 'from-bad-list'),
      name: fc.constantFrom('a', 'A', 'bc'),
      length: fc.nat(300),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const allowance = new Allowance(1_048_576);
        const all = [Fields.empty(allowance)];
        for (const { how, name, length } of changes) {
          const fields = all.at(-1) as Fields;
          if (how === 'append') fields.append(name, bytes(length));
          else if (how === 'set') fields.set(name, [bytes(length), bytes(1)]);
          else if (how === 'delete') fields.delete(name);
          else if (how === 'clone') all.push(fields.clone(allowance));
          else {
            const list = [[name, bytes(length)] as const, [how === 'from-list' ? name : 'no token', bytes(1)] as const];
            const made = Fields.fromList(list, allowance);
            assert.equal(made.tag, how === 'from-list' ? 'ok' : 'err');
            if (made.tag === 'ok') all.push(made.val);
          }
        }
        const held = all.flatMap(({ raw }) => raw).reduce((sum, { length }) => sum + length + 32, 0);
        assert.equal(leftOf(allowance), 1_048_576 - held);
        for (const fields of all) fields.dispose();
        assert.equal(leftOf(allowance), 1_048_576);
      }),
    );
  });

  test('the lines of a message stay counted: they are seen through each of its headers()', () => {
    const allowance = new Allowance(1000);
    const fields = Fields.empty(allowance);
    fields.append('a', bytes(99));
    const left = leftOf(allowance);
    const request = new OutgoingRequest(fields);
    request.fields.frozen().dispose();
    request.dispose();
    assert.equal(leftOf(allowance), left);
  });

  test('the parts of a request count', () => {
    const allowance = new Allowance(100);
    const request = new OutgoingRequest(Fields.empty(allowance));
    request.setPathWithQuery('/'.repeat(40));
    request.setAuthority('a.test');
    request.setMethod({ tag: 'other', val: 'BREW' });
    request.setScheme({ tag: 'other', val: 'coffee' });
    request.setScheme(undefined);
    assert.equal(leftOf(allowance), 100 - 40 - 6 - 4 - 6);
    assert.throws(() => request.setPathWithQuery('/'.repeat(45)), limit);
    assert.equal(request.pathWithQuery?.length, 40);
  });

  test('a body counts until somebody takes it, or nobody will', () => {
    const ends: Readonly<Record<string, (pipe: OutgoingBodyPipe) => void>> = {
      attached: (pipe) => pipe.attach({ write: () => true, end: () => {}, abort: () => {} }),
      whole: (pipe) => {
        pipe.finish(null);
        pipe.takeWhole();
      },
      aborted: (pipe) => pipe.abort(),
      failed: (pipe) => pipe.fail(CLOSED),
    };
    for (const [how, end] of Object.entries(ends)) {
      const allowance = new Allowance(100);
      const pipe = new OutgoingBodyPipe(null, { tag: 'HTTP-request-body-size' }, allowance);
      pipe.write(bytes(60));
      pipe.write(bytes(40));
      assert.equal(leftOf(allowance), 0);
      assert.throws(() => pipe.write(bytes(1)), limit, how);
      end(pipe);
      assert.equal(leftOf(allowance), 100, how);
    }
  });
});

suite('a guest', () => {
  const host = createHost();
  const http = 'wasi:http/types#';

  const newBody = (guest: TestGuest): number => {
    const request = guest.handle(`${http}[constructor]outgoing-request`, guest.handle(`${http}[constructor]fields`));
    const body = guest.call(`${http}[method]outgoing-request.body`, request) as { val: number };
    return (guest.call(`${http}[method]outgoing-body.write`, body.val) as { val: number }).val;
  };

  test('makes the host keep so much and no more, and anew with each request', () => {
    const guest = new TestGuest(host);
    const content = guest.bytes(bytes(STREAM_CHUNK_BYTES));
    const write = (): unknown =>
      guest.call('wasi:io/streams#[method]output-stream.blocking-write-and-flush', newBody(guest), ...content);
    for (let round = 0; round < 2; round++) {
      for (let body = 0; body < MAX_KEPT_BYTES / STREAM_CHUNK_BYTES; body++) write();
      assert.throws(write, limit);
      guest.guest.end();
      guest.guest.begin(testCall());
    }
  });

  test('is charged for messages with fields that came in, too', () => {
    for (const resource of ['outgoing-request', 'outgoing-response']) {
      const guest = new TestGuest(host);
      const incoming = guest.guest.handles.add(requestTo('/'));
      const content = guest.bytes(bytes(STREAM_CHUNK_BYTES));
      const write = (): unknown => {
        const fields = guest.handle(`${http}[method]incoming-request.headers`, incoming);
        const message = guest.handle(`${http}[constructor]${resource}`, fields);
        const body = guest.call(`${http}[method]${resource}.body`, message) as { val: number };
        const stream = guest.call(`${http}[method]outgoing-body.write`, body.val) as { val: number };
        return guest.call('wasi:io/streams#[method]output-stream.blocking-write-and-flush', stream.val, ...content);
      };
      for (let body = 0; body < MAX_KEPT_BYTES / STREAM_CHUNK_BYTES; body++) write();
      assert.throws(write, limit, resource);
    }
  });

  test('is charged for the parts of a request with fields that came in, too', () => {
    const guest = new TestGuest(host);
    const incoming = guest.guest.handles.add(requestTo('/'));
    const path = guest.string('/'.repeat(1_000_000));
    const set = (): unknown => {
      const fields = guest.handle(`${http}[method]incoming-request.headers`, incoming);
      const request = guest.handle(`${http}[constructor]outgoing-request`, fields);
      return guest.call(`${http}[method]outgoing-request.set-path-with-query`, request, 1, ...path);
    };
    for (let kept = 0; kept + 1_000_000 <= MAX_KEPT_BYTES; kept += 1_000_000) set();
    assert.throws(set, limit);
  });

  test('is charged for all of its fields together', () => {
    const guest = new TestGuest(host);
    const fields = guest.handle(`${http}[constructor]fields`);
    const [name, value] = [guest.string('name'), guest.bytes(bytes(100_000))];
    guest.call(`${http}[method]fields.append`, fields, ...name, ...value);
    let clones = 0;
    assert.throws(() => {
      for (;;) {
        guest.handle(`${http}[method]fields.clone`, fields);
        clones++;
      }
    }, limit);
    assert.equal(clones, Math.floor(MAX_KEPT_BYTES / 100_068) - 1);
  });
});
