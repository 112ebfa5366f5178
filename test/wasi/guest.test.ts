import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import type { CoreValue } from '../../src/wasi/abi.ts';
import type { Call, CallMode } from '../../src/wasi/guest.ts';
import { Host } from '../../src/wasi/host.ts';
import { createHost } from '../../src/wasi/index.ts';
import { Pollable } from '../../src/wasi/io.ts';
import { officialImports } from './official-wit.ts';
import { Sink, Source, Switch } from './streams.ts';
import { TestGuest, settled, testCall } from './support.ts';

/** What a function needs in order not to have to wait. */
type Readiness = { readonly pollable: boolean; readonly source: boolean; readonly room: number };
const READY: Readiness = { pollable: true, source: true, room: 100 };

/** A guest that holds one of each kind of thing that can be waited for. */
class Waiter extends TestGuest {
  readonly sink = new Sink();
  readonly source = new Source();
  readonly gate = new Switch();

  constructor(mode: CallMode, readiness: Readiness = READY, call: Partial<Call> = {}) {
    super(createHost(), call);
    this.guest.end();
    this.guest.begin(testCall(call), mode);
    this.sink.room = readiness.room;
    this.gate.on = readiness.pollable;
    if (readiness.source) this.source.feed('content');
  }

  get output(): number {
    return this.guest.handles.add(this.sink);
  }
  get input(): number {
    return this.guest.handles.add(this.source);
  }
  get pollable(): number {
    return this.guest.handles.add(new Pollable(this.gate));
  }

  /** The flat form of a list of pollables. */
  list(...handles: readonly number[]): readonly [number, number] {
    const at = this.arena.realloc(0, 0, 4, handles.length * 4);
    for (const [index, handle] of handles.entries()) this.abi.view.setUint32(at + index * 4, handle, true);
    return [at, handles.length];
  }
}

type WaitingCall = {
  readonly args: (guest: Waiter) => readonly CoreValue[];
  /** What it returns when it need not wait. */
  readonly result: unknown;
  /** Each of them is reason enough to wait. */
  readonly lacks: readonly Partial<Readiness>[];
};

const written = { tag: 'ok', val: undefined };

/** Every function that may wait. One that is added to the host must be added here. */
const WAITING: Readonly<Record<string, WaitingCall>> = {
  'wasi:io/poll#[method]pollable.block': {
    args: ({ pollable }) => [pollable],
    result: undefined,
    lacks: [{ pollable: false }],
  },
  'wasi:io/poll#poll': {
    args: (guest) => guest.list(guest.guest.handles.add(new Pollable(new Switch())), guest.pollable),
    result: [1],
    lacks: [{ pollable: false }],
  },
  'wasi:io/streams#[method]input-stream.blocking-read': {
    args: ({ input }) => [input, 4n],
    result: { tag: 'ok', val: 'cont' },
    lacks: [{ source: false }],
  },
  'wasi:io/streams#[method]input-stream.blocking-skip': {
    args: ({ input }) => [input, 4n],
    result: { tag: 'ok', val: 4n },
    lacks: [{ source: false }],
  },
  'wasi:io/streams#[method]output-stream.blocking-write-and-flush': {
    args: (guest) => [guest.output, ...guest.bytes('written')],
    result: written,
    lacks: [{ room: 0 }, { room: 6 }],
  },
  'wasi:io/streams#[method]output-stream.blocking-flush': {
    args: ({ output }) => [output],
    result: written,
    lacks: [{ room: 0 }],
  },
  'wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush': {
    args: ({ output }) => [output, 7n],
    result: written,
    lacks: [{ room: 0 }, { room: 6 }],
  },
  'wasi:io/streams#[method]output-stream.blocking-splice': {
    args: ({ output, input }) => [output, input, 4n],
    result: { tag: 'ok', val: 4n },
    lacks: [{ room: 0 }, { source: false }, { room: 0, source: false }],
  },
};

/** What the call throws. */
function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return assert.fail('the call threw nothing');
}

/** Bytes as text: it is no matter what kind of array a result is. */
const asText = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'val' in value && value.val instanceof Uint8Array
    ? { ...value, val: Buffer.from(value.val).toString() }
    : value;

suite('a guest that runs at once', () => {
  const host = createHost();

  test('the functions that may wait are those of the table', async () => {
    const funcs = (await officialImports()).filter(({ name }) => !name.endsWith('_drop'));
    const waiting = funcs
      .filter(({ from, name }) => host.func({ interface: from, version: '0.2.12' }, name).kind === 'waiting')
      .map(({ from, name }) => `${from}#${name}`);
    assert.deepEqual(Object.keys(WAITING).toSorted(), waiting.toSorted());
  });

  for (const [name, { args, result, lacks }] of Object.entries(WAITING)) {
    test(`goes on where ${name} need not wait`, () => {
      for (const mode of ['at-once', 'waiting'] as const) {
        const guest = new Waiter(mode);
        assert.deepEqual(asText(guest.call(name, ...args(guest))), result);
        assert.equal(guest.guest.hasWaited, false, mode);
      }
    });

    test(`ends where ${name} would have to wait`, () => {
      for (const lack of lacks) {
        const guest = new Waiter('at-once', { ...READY, ...lack });
        const flat = args(guest);
        const error = thrown(() => guest.call(name, ...flat));
        assert.equal(guest.guest.hasWaited, true);
        assert.ok(error instanceof Error && !(error instanceof ThawError), 'nobody is told of it');
        // A guest that catches it gets no further, whatever it calls.
        assert.equal(
          thrown(() => guest.call(name, ...flat)),
          error,
        );
        assert.equal(
          thrown(() => guest.call('wasi:random/random#get-random-u64')),
          error,
        );
        assert.deepEqual(guest.sink.written, [], 'nothing has been written');
        const left = guest.source.read(100);
        assert.equal(left.tag === 'ok' && left.val.length, lack.source === false ? 0 : 7, 'nothing has been read');
        assert.equal(guest.gate.waits + guest.sink.gate.waits + guest.source.gate.waits, 0, 'nobody waits');
      }
    });

    test(`is what a guest that may wait is not: ${name} tells that it waited`, async () => {
      for (const lack of lacks) {
        const guest = new Waiter('waiting', { ...READY, ...lack });
        const later = guest.call(name, ...args(guest));
        assert.ok(later instanceof Promise);
        assert.equal(guest.guest.hasWaited, true);
        guest.gate.turnOn();
        if (lack.source === false) guest.source.feed('content');
        guest.sink.grant(100);
        assert.deepEqual(asText(await later), result);
        assert.equal(guest.guest.hasWaited, true);
      }
    });
  }

  test('sends no request: outgoing-handler.handle ends it before', () => {
    for (const mode of ['at-once', 'waiting'] as const) {
      let fetches = 0;
      const fetch: Call['fetch'] = () => {
        fetches++;
        return { tag: 'err', val: { tag: 'HTTP-request-denied' } };
      };
      const guest = new Waiter(mode, READY, { fetch });
      const fields = guest.handle('wasi:http/types#[constructor]fields');
      const request = guest.handle('wasi:http/types#[constructor]outgoing-request', fields);
      assert.equal(guest.guest.hasWaited, false);
      const send = (): unknown => guest.call('wasi:http/outgoing-handler#handle', request, 0, 0);
      if (mode === 'waiting')
        assert.deepEqual(send(), { tag: 'err', val: { tag: 'HTTP-request-denied', val: undefined } });
      else assert.ok(!(thrown(send) instanceof ThawError));
      assert.equal(fetches, mode === 'waiting' ? 1 : 0, mode);
      assert.equal(guest.guest.hasWaited, true, mode);
    }
  });

  test('may print, for that can be taken back', () => {
    let printed = '';
    const guest = new Waiter('at-once', READY, { stdio: (_, bytes) => void (printed += Buffer.from(bytes)) });
    const stdout = guest.handle('wasi:cli/stdout#get-stdout');
    const streams = 'wasi:io/streams#[method]output-stream';
    assert.deepEqual(guest.call(`${streams}.blocking-write-and-flush`, stdout, ...guest.bytes('a line\n')), written);
    assert.deepEqual(guest.call(`${streams}.blocking-flush`, stdout), written);
    assert.equal(printed, 'a line\n');
    assert.equal(guest.guest.hasWaited, false);
  });

  test('is stopped by an abort as any other, and the reason is the first', () => {
    const guest = new Waiter('at-once', { ...READY, pollable: false });
    const reason = new ThawError('GUEST_EXITED', 'for the test');
    guest.guest.abort(reason);
    assert.equal(
      thrown(() => guest.call('wasi:io/poll#[method]pollable.block', guest.pollable)),
      reason,
    );
    assert.equal(guest.guest.hasWaited, false);
  });

  test('has no say in the next request', async () => {
    const guest = new Waiter('at-once', { ...READY, pollable: false });
    thrown(() => guest.call('wasi:io/poll#[method]pollable.block', guest.pollable));
    guest.guest.end();
    assert.equal(guest.guest.hasWaited, true, 'until the next begins');
    guest.guest.begin(testCall());
    assert.equal(guest.guest.hasWaited, false);
    const later = guest.call('wasi:io/poll#[method]pollable.block', guest.pollable);
    guest.gate.turnOn();
    assert.equal(await later, undefined);
  });

  test('a function that waits without saying so before is found out', async () => {
    const forgetful = new Host([
      {
        name: 'wasi:test/forgetful',
        wit: 'wait: func() -> string;',
        funcs: {
          wait: async (guest) => {
            await guest.suspend(settled());
            return 'waited';
          },
        },
        suspends: ['wait'],
      },
    ]);
    const guest = new TestGuest(forgetful);
    assert.throws(() => guest.call('wasi:test/forgetful#wait'), { code: 'INTERNAL', message: /commits its guest/ });
    await settled();
  });
});

suite('a guest that has waited', () => {
  const block = 'wasi:io/poll#[method]pollable.block';

  /** A guest that waits, and what its request was asked for letting it go on. */
  function waiting(): { guest: Waiter; later: Promise<unknown>; asked: (() => void)[]; outcome: () => string } {
    const asked: (() => void)[] = [];
    const guest = new Waiter('waiting', { ...READY, pollable: false }, { resume: (goOn) => asked.push(goOn) });
    const later = guest.call(block, guest.pollable) as Promise<unknown>;
    let outcome = 'waits';
    later.then(
      () => (outcome = 'went on'),
      (error: unknown) => (outcome = String(error)),
    );
    return { guest, later, asked, outcome: () => outcome };
  }

  test('goes on when its request lets it, and not before', async () => {
    const { guest, later, asked, outcome } = waiting();
    await settled();
    assert.equal(asked.length, 0);
    guest.gate.turnOn();
    await settled();
    assert.deepEqual([asked.length, outcome()], [1, 'waits']);
    asked[0]?.();
    assert.equal(await later, undefined);
    assert.equal(outcome(), 'went on');
  });

  test('is stopped by an abort while it waits to go on', async () => {
    const { guest, later, asked, outcome } = waiting();
    guest.gate.turnOn();
    await settled();
    const reason = new ThawError('GUEST_EXITED', 'for the test');
    guest.guest.abort(reason);
    await assert.rejects(later, reason);
    asked[0]?.();
    await settled();
    assert.equal(outcome(), String(reason));
  });

  test('of an aborted request neither asks to go on nor wakes the next request', async () => {
    for (const isAsked of [true, false]) {
      const { guest, later, asked } = waiting();
      if (isAsked) guest.gate.turnOn();
      await settled();
      guest.guest.abort(new ThawError('GUEST_EXITED', 'for the test'));
      await assert.rejects(later);
      guest.guest.end();
      const next: (() => void)[] = [];
      guest.guest.begin(testCall({ resume: (goOn) => next.push(goOn) }));
      const gate = new Switch();
      const second = guest.call(block, guest.guest.handles.add(new Pollable(gate))) as Promise<unknown>;
      let isOver = false;
      void second.then(() => (isOver = true));
      guest.gate.turnOn();
      for (const goOn of asked) goOn();
      await settled();
      assert.deepEqual([asked.length, next.length, isOver], [isAsked ? 1 : 0, 0, false]);
      gate.turnOn();
      await settled();
      next[0]?.();
      assert.equal(await second, undefined);
    }
  });
});
