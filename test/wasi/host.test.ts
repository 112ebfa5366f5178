import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import { cliInterfaces } from '../../src/wasi/cli.ts';
import { monotonicClock, wallClock } from '../../src/wasi/clocks.ts';
import { filesystemInterfaces } from '../../src/wasi/filesystem.ts';
import { Host, type HostInterface } from '../../src/wasi/host.ts';
import { httpOutgoingHandler } from '../../src/wasi/http-outgoing.ts';
import { httpTypes } from '../../src/wasi/http-types.ts';
import { createHost } from '../../src/wasi/index.ts';
import { ioError, ioPoll, ioStreams } from '../../src/wasi/io.ts';
import { randomInterfaces } from '../../src/wasi/random.ts';
import { socketsInterfaces } from '../../src/wasi/sockets.ts';
import { parseInterface, type WitInterface } from '../../src/wasi/wit.ts';
import { officialImports, type OfficialImport } from './official-wit.ts';
import { TestGuest, settled } from './support.ts';

const DECLARED: readonly HostInterface[] = [
  ioError,
  ioPoll,
  ioStreams,
  monotonicClock,
  wallClock,
  ...randomInterfaces,
  ...cliInterfaces,
  ...filesystemInterfaces,
  ...socketsInterfaces,
  httpTypes,
  httpOutgoingHandler,
];

/** Stable imports of WASI 0.2.12: what its text has, less the exported `run` and `handle`, and less what is unstable. */
const OFFICIAL_FUNCTIONS = 175;
const OFFICIAL_RESOURCES = 25;

const at = (version: string, name = 'wasi:io/poll'): { interface: string; version: string } => ({
  interface: name,
  version,
});

suite('the declared interfaces', () => {
  const host = createHost();
  let official: readonly OfficialImport[] = [];
  before(async () => {
    official = await officialImports();
  });

  test('have every function of the official WIT, with the core type that wit-component gives it', () => {
    const funcs = official.filter(({ name }) => !name.endsWith('_drop'));
    assert.equal(funcs.length, OFFICIAL_FUNCTIONS);
    for (const { from, name, core } of funcs) {
      assert.deepEqual(host.func(at('0.2.12', from), name).core, core, `${from} ${name}`);
    }
  });

  test('have every resource of the official WIT', () => {
    const drops = official.filter(({ name }) => name.endsWith('_drop'));
    assert.equal(drops.length, OFFICIAL_RESOURCES);
    for (const { from, name } of drops) {
      const resource = name.slice(0, -'_drop'.length);
      assert.equal(host.resource(at('0.2.12', from), resource), `${from}#${resource}`);
    }
  });

  test('have nothing that the official WIT does not have', () => {
    const wanted = new Set(official.map(({ from, name }) => `${from}#${name}`));
    const parsed = new Map<string, WitInterface>();
    for (const { name, wit } of DECLARED) {
      const { funcs, resources } = parseInterface(name, wit, parsed);
      parsed.set(name, parseInterface(name, wit, parsed));
      const ours = [...funcs.keys(), ...resources.map((resource) => `${resource}_drop`)];
      for (const func of ours) assert.ok(wanted.has(`${name}#${func}`), `${name} ${func}`);
    }
  });

  test('suspend where the official text says that a call blocks, and nowhere else', () => {
    const suspending = DECLARED.flatMap(({ name, suspends = [] }) => suspends.map((func) => `${name}#${func}`));
    const blocking = official
      .filter(({ from, name }) => from.startsWith('wasi:io/') && /block|^poll$/.test(name))
      .map(({ from, name }) => `${from}#${name}`);
    assert.deepEqual(suspending.toSorted(), blocking.toSorted());
    for (const key of suspending) {
      const [from = '', func = ''] = key.split('#');
      assert.equal(host.func(at('0.2.0', from), func).kind, 'waiting');
    }
  });
});

const message = (text: RegExp): object => ({ code: 'UNKNOWN_IMPORT', message: text });

const broken = (wit: string, funcs: HostInterface['funcs']): (() => Host) => {
  return () => new Host([{ name: 'test:a/b', wit, funcs }]);
};
const nothing = (): void => {};

suite('Host', () => {
  const host = createHost();

  test('serves every 0.2 release and no other', () => {
    const poll = host.func(at('0.2.0'), 'poll');
    for (const version of ['0.2.6', '0.2.10', '0.2.12', '0.2.99']) assert.equal(host.func(at(version), 'poll'), poll);
    for (const version of ['', '0.1.0', '0.3.0', '0.20.0', '1.0.2', '0.2.0-rc-2023-11-10']) {
      assert.throws(() => host.func(at(version), 'poll'), {
        code: 'UNKNOWN_IMPORT',
        message: /thaw has wasi:io\/poll at 0\.2/,
      });
    }
  });

  test('names the nearest function, interface and resource', () => {
    assert.throws(
      () => host.func(at('0.2.0'), 'pol'),
      message(/imports wasi:io\/poll@0\.2\.0 pol, .* did you mean poll\?$/),
    );
    assert.throws(() => host.func(at('0.2.0', 'wasi:io/pole'), 'poll'), message(/did you mean wasi:io\/poll\?$/));
    assert.throws(() => host.resource(at('0.2.0'), 'pollabel'), message(/did you mean pollable\?$/));
    assert.throws(() => host.func(at('0.2.0', 'acme:queue/consumer'), 'next'), message(/does not have$/));
  });

  test('holds implementations against their WIT', () => {
    assert.throws(broken('f: func();', {}), { code: 'INTERNAL', message: /declares f without implementing it/ });
    assert.throws(broken('', { f: nothing }), {
      code: 'INTERNAL',
      message: /implements f, which its WIT does not declare/,
    });
    assert.ok(broken('f: func();', { f: nothing })());
    const flat = { name: 'test:a/b', wit: 'f: func() -> u32;', funcs: { f: nothing }, suspends: ['f'] };
    assert.throws(() => new Host([flat]), { code: 'INTERNAL', message: /returns its result through memory/ });
  });
});

suite('a compiled function', () => {
  const u64s = Array.from({ length: 9 }, (_, index) => `p${index}: u64`).join(', ');
  const seen: unknown[][] = [];
  const host = new Host([
    {
      name: 'wasi:test/calls',
      wit: `
        many: func(a: string, b: list<string>, ${u64s}, z: option<f64>, y: option<u8>);
        pair: func(a: u8) -> tuple<u8, string>;
        later: func(value: u32) -> string;
        plain: func() -> string;
        fails: func() -> string;
        lies: func();`,
      funcs: {
        many: (_, ...args: unknown[]) => {
          seen.push(args);
        },
        pair: (_, a: number) => [a, 'x'.repeat(a)],
        later: async (guest, value: number) => {
          guest.commit();
          await guest.suspend(settled());
          return `value ${value}`;
        },
        plain: () => 'at once',
        fails: async (guest) => {
          guest.commit();
          await guest.suspend(settled());
          throw new ThawError('GUEST_LIMIT', 'for the test');
        },
        lies: () => Promise.resolve(),
      },
      suspends: ['later', 'plain', 'fails'],
    },
  ]);

  test('takes more than 16 flat parameters from memory', () => {
    const { core } = host.func(at('0.2.0', 'wasi:test/calls'), 'many');
    assert.deepEqual(core, { params: ['i32'], results: [] });
    const guest = new TestGuest(host);
    const pointer = guest.arena.realloc(0, 0, 8, 112);
    const [text, length] = guest.string('hello');
    guest.abi.view.setUint32(pointer, text, true);
    guest.abi.view.setUint32(pointer + 4, length, true);
    for (let index = 0; index < 9; index++) guest.abi.view.setBigUint64(pointer + 16 + index * 8, BigInt(index), true);
    guest.abi.view.setUint8(pointer + 88, 1);
    guest.abi.view.setFloat64(pointer + 96, 0.5, true);
    assert.equal(guest.call('wasi:test/calls#many', pointer), undefined);
    assert.deepEqual(seen.pop(), ['hello', [], 0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 0.5, undefined]);
    assert.throws(() => guest.call('wasi:test/calls#many', pointer + 4), { code: 'ABI_VIOLATION' });
    assert.throws(() => guest.call('wasi:test/calls#many', 65_536 - 104), { code: 'ABI_VIOLATION' });
  });

  test('returns more than one flat result through memory, where the guest says', () => {
    const guest = new TestGuest(host);
    assert.deepEqual(guest.call('wasi:test/calls#pair', 3), [3, 'xxx']);
    const compiled = host.func(at('0.2.0', 'wasi:test/calls'), 'pair');
    assert.ok(compiled.kind === 'immediate');
    const core = compiled.bind(guest.guest, guest.abi);
    for (const pointer of [2, 65_536, -4, 65_528]) assert.throws(() => core(3, pointer), { code: 'ABI_VIOLATION' });
  });

  test('answers later only when it has to wait', async () => {
    const guest = new TestGuest(host);
    const later = guest.call('wasi:test/calls#later', 5);
    assert.ok(later instanceof Promise);
    assert.equal(await later, 'value 5');
    assert.equal(guest.call('wasi:test/calls#plain'), 'at once');
    assert.throws(() => guest.call('wasi:test/calls#lies'), { code: 'INTERNAL' });
    await assert.rejects(async () => guest.call('wasi:test/calls#fails'), { code: 'GUEST_LIMIT' });
  });

  test('lifts up to the limit in every call anew', () => {
    const guest = new TestGuest(host);
    const pointer = guest.arena.realloc(0, 0, 8, 112);
    const [text, length] = guest.string('x'.repeat(600_000));
    guest.abi.view.setUint32(pointer, text, true);
    guest.abi.view.setUint32(pointer + 4, length, true);
    guest.call('wasi:test/calls#many', pointer);
    guest.call('wasi:test/calls#many', pointer);
    assert.equal(seen.splice(0).length, 2);
  });
});

suite('Guest', () => {
  const host = createHost();
  const reason = new ThawError('WALL_TIME_EXCEEDED', 'for the test');

  test('abort rejects a call that is suspended, at once', async () => {
    const guest = new TestGuest(host);
    const pollable = guest.handle('wasi:clocks/monotonic-clock#subscribe-duration', 2n ** 63n);
    const blocked = guest.call('wasi:io/poll#[method]pollable.block', pollable);
    assert.ok(blocked instanceof Promise);
    guest.guest.abort(reason);
    await assert.rejects(blocked, (error) => error === reason);
    guest.guest.end();
  });

  test('abort stops every later call, until the next request', () => {
    const guest = new TestGuest(host);
    guest.guest.abort(reason);
    guest.guest.abort(new ThawError('CLIENT_GONE', 'comes second'));
    for (let count = 0; count < 3; count++) {
      assert.throws(
        () => guest.call('wasi:random/random#get-random-u64'),
        (error) => error === reason,
      );
    }
    const { call } = guest.guest;
    guest.guest.end();
    guest.guest.begin(call);
    assert.equal(typeof guest.call('wasi:random/random#get-random-u64'), 'bigint');
  });

  test('work that outlives its request does not shield the next one from abort', async () => {
    const guest = new TestGuest(host);
    const { call } = guest.guest;
    let finishOld: (() => void) | undefined;
    const old = guest.guest.suspend(
      new Promise<void>((resolve) => {
        finishOld = resolve;
      }),
    );
    guest.guest.abort(reason);
    await assert.rejects(old, (error) => error === reason);
    guest.guest.end();
    guest.guest.begin(call);
    const next = guest.guest.suspend(new Promise(() => {}));
    finishOld?.();
    await settled();
    guest.guest.abort(reason);
    const outcome = await Promise.race([next.catch((error: unknown) => error), settled()]);
    assert.equal(outcome, reason);
  });

  test('end empties the handle table, and a guest begins with nothing of another request', () => {
    const guest = new TestGuest(host);
    guest.call('wasi:http/types#[constructor]fields');
    assert.equal(guest.guest.handles.size, 1);
    const { call } = guest.guest;
    assert.throws(() => guest.guest.begin(call), { code: 'INTERNAL' });
    guest.guest.end();
    assert.equal(guest.guest.handles.size, 0);
    assert.throws(() => guest.guest.call, { code: 'GUEST_TRAP' });
    guest.guest.begin(call);
    assert.equal(guest.call('wasi:http/types#[constructor]fields'), 1);
  });
});
