import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import type { Slot, SlotEnvironment } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { Watchdog } from '../../src/runtime/watchdog.ts';
import type { Call } from '../../src/wasi/guest.ts';
import type { GuestName } from '../guests/build.ts';
import { PendingSource, RecordingCall, requestTo, serve, type Sent } from '../support/call.ts';
import { Bench, TIERS } from '../support/runtime.ts';
import { assertSameState } from '../support/same-state.ts';
import { handlerComponent } from '../support/wat.ts';

/**
 * The oracle of guests that run at once: one that need not wait does what it does on a stack of its own, byte for byte in
 * memory, globals, answer and output; one that has to wait leaves nothing, and serves after a restore as if it had never
 * been tried.
 */

const BODY = 'a body of some length '.repeat(500);

/** A request by its path; whether it has to wait; and how its answer begins, or the code of what ends it. */
type Requests = readonly (readonly [path: string, waits: boolean, answer: string | null])[];

const JAVASCRIPT: Requests = [
  ['/counter', false, '1\n'],
  ['/grow?mb=3', false, '1\n'],
  ['/random', false, '{"random":0.'],
  ['/throw', false, ''],
  ['/sleep?ms=50', true, 'slept'],
  ['/after', true, 'answered'],
  ['/fetch?url=http%3A%2F%2Felsewhere.test%2F', true, ''],
  ['/time', false, '{"date":1767225600'],
  ['/log', false, 'logged'],
  ['/recurse', false, ''],
  ['/counter', false, '1\n'],
];
const ASSEMBLYSCRIPT: Requests = [
  ['/counter', false, '1 1\n'],
  ['/grow?pages=7', false, ''],
  ['/scribble?at=1024&n=100000', false, 'wrote 100000'],
  ['/trap', false, 'GUEST_TRAP'],
  ['/leak', false, 'leaked'],
  ['/wait?ms=50', true, 'waited'],
  ['/wait?ms=0', false, 'waited'],
  ['/exit', false, 'GUEST_EXITED'],
  ['/recurse', false, 'GUEST_TRAP'],
  ['/random', false, ''],
  ['/echo', false, BODY],
  ['/trailers', false, 'trailers follow'],
  ['/no-response', false, null],
  ['/lookup/20000', false, '224737\n'],
  ['/counter', false, '1 1\n'],
];
const SCRIBE: Requests = [
  ['/grow.3/fill.4096.100.7/count.5', false, 'variant 0'],
  ['/open/mark.f00d/grow.2/fill-top.4096.9/sleep.20', true, 'variant 0'],
  ['/respond/stream.3/count.1/sleep.5/fill.0.9000.3', true, '\x01'],
  ['/open/respond/stream.4/count.1', false, ''],
  ['/count.2/grow.1/trap', false, 'GUEST_TRAP'],
  ['/open/greed', false, 'GUEST_LIMIT'],
  ['/open/forge', false, 'HANDLE_INVALID'],
  ['/count.1/exit', false, 'GUEST_EXITED'],
];
const TWO: Requests = [
  ['/counter', false, '1\n'],
  ['/', false, 'two modules'],
];

const REQUESTS: Readonly<Partial<Record<GuestName, Requests>>> = {
  'js-kitchen': JAVASCRIPT,
  'js-tiny': [['/', false, 'tiny 1\n']],
  'as-table': ASSEMBLYSCRIPT,
  'as-plain': ASSEMBLYSCRIPT,
  'as-scribe': SCRIBE,
  'wat-two': TWO,
  'wat-tableset': TWO,
  'wat-preview1': [['/', false, 'answered by preview1']],
};

const bench = new Bench();
const watchdog = new Watchdog(1);
after(() => watchdog.stop());
const stopping: SlotEnvironment = { ...bench.environment('copy'), control: new ControlMemory(watchdog.links[0]) };

/** Counts what cannot be taken back. */
class CountingCall extends RecordingCall {
  fetches = 0;

  override fetch(...exchange: Parameters<Call['fetch']>): ReturnType<Call['fetch']> {
    this.fetches++;
    return super.fetch(...exchange);
  }
}

/** All that a client, the log and other servers would see of a request. */
type Outcome = {
  readonly sent: Sent | null;
  readonly output: string;
  readonly fetches: number;
  readonly error: string | null;
};

const outcomeOf = ({ sent, output, fetches }: CountingCall, error: unknown): Outcome => {
  if (error !== null && !(error instanceof ThawError)) throw error;
  return { sent, output, fetches, error: error?.code ?? null };
};

const request = (path: string): ReturnType<typeof requestTo> => requestTo(path, path === '/echo' ? BODY : undefined);

async function waiting(slot: Slot, path: string, limits: Partial<Call['limits']> = {}): Promise<Outcome> {
  bench.world.reset();
  const call = new CountingCall({ limits });
  const error = await slot.serve(call, request(path)).then(
    () => null,
    (reason: unknown) => reason,
  );
  return outcomeOf(call, error);
}

/** @returns null when it would have had to wait */
function atOnce(slot: Slot, path: string, limits: Partial<Call['limits']> = {}): Outcome | null {
  bench.world.reset();
  const call = new CountingCall({ limits });
  try {
    if (slot.serveAtOnce(call, request(path))) return outcomeOf(call, null);
  } catch (error) {
    return outcomeOf(call, error);
  }
  assert.equal(call.fetches, 0, 'no request has been sent');
  return null;
}

function assertAnswer({ sent, error }: Outcome, answer: string | null, path: string): void {
  const isRight = error === null && sent !== null && answer !== null ? sent.body.startsWith(answer) : error === answer;
  assert.ok(isRight, `${path} gave ${JSON.stringify(sent)}, ${error}`);
}

/** A slot in memory that nothing else has used. */
const brandNew = (snapshot: LoadedSnapshot): Promise<Slot> => bench.newSlot(snapshot, bench.environment('copy'));

/** Serves a request at once in `slot`, which is clean, and on a stack of its own in a brand-new one. */
async function assertServesAsWaiting(slot: Slot, [path, waits, answer]: Requests[number]): Promise<void> {
  const fresh = await brandNew(slot.snapshot);
  const expected = await waiting(fresh, path);
  assertAnswer(expected, answer, path);
  assert.equal(fresh.hasWaited, waits, `${path} waits`);
  const outcome = atOnce(slot, path);
  assert.equal(slot.state, 'dirty');
  assert.equal(slot.hasWaited, waits, `${path} would have waited`);
  assert.equal(bench.world.timers, 0, `${path} leaves no timer`);
  if (waits) {
    assert.equal(outcome, null, `${path} cannot be served at once`);
    slot.turn(slot.snapshot);
    assertSameState(slot.observe(), (await brandNew(slot.snapshot)).observe(), `${path} has been tried`);
    assert.deepEqual(await waiting(slot, path), expected, `${path} after it was tried`);
  } else {
    assert.deepEqual(outcome, expected, `${path} at once`);
  }
  assertSameState(slot.observe(), fresh.observe(), `after ${path}`);
  slot.turn(slot.snapshot);
  assertSameState(slot.observe(), (await brandNew(slot.snapshot)).observe(), `restored after ${path}`);
}

const frozen = (name: GuestName): Promise<LoadedSnapshot> => bench.freezeGuest(name);

for (const [name, requests] of Object.entries(REQUESTS)) {
  describe(`${name} at once does as on a stack of its own`, () => {
    let snapshot: LoadedSnapshot;
    before(async () => {
      snapshot = await frozen(name as GuestName);
    });

    for (const { tier, failure } of TIERS) {
      test(`tier ${tier}`, { skip: failure ?? false }, async () => {
        const slot = await bench.newSlot(snapshot, bench.environment(tier));
        for (const each of requests) await assertServesAsWaiting(slot, each);
      });
    }
  });
}

/** Waits for a timer, three times, and catches whatever is thrown: at 0 how often. Then it does `rest`. */
const stubborn = (rest: string): Promise<Uint8Array> =>
  handlerComponent({
    imports: `
      (import "wasi:io/poll@0.2.10" (instance $poll
        (export "pollable" (type $self (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $self))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.10" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $own (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
      (core func $block (canon lower (func $poll "[method]pollable.block")))
      (core func $subscribe (canon lower (func $clock "subscribe-duration")))`,
    links: '(with "host" (instance (export "block" (func $block)) (export "subscribe" (func $subscribe))))',
    core: `
      (import "host" "block" (func $block (param i32)))
      (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
      (memory (export "memory") 1)
      (func $wait (param $pollable i32)
        (block $caught
          (try_table (catch_all $caught) (call $block (local.get $pollable)))
          (return))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
      (func (export "handle") (param i32 i32)
        (local $pollable i32)
        (local.set $pollable (call $subscribe (i64.const 5000000)))
        (call $wait (local.get $pollable))
        (call $wait (local.get $pollable))
        (call $wait (local.get $pollable))
        ${rest})`,
  });

describe('a guest that runs at once', () => {
  const SHORT_MS = 20;

  test('is stopped when its time is over, as one that may wait', async () => {
    const snapshot = await frozen('as-table');
    const slot = await bench.newSlot(snapshot, stopping);
    const fresh = await brandNew(snapshot);
    for (const path of ['/spin', '/ask-forever', '/spin']) {
      const limits = { cpuMs: SHORT_MS };
      assert.equal(atOnce(slot, path, limits)?.error, 'CPU_TIME_EXCEEDED', path);
      assert.ok(slot.usage.cpuMs >= SHORT_MS - 1, `${slot.usage.cpuMs} ms`);
      assert.equal(slot.hasWaited, false);
      slot.turn(snapshot);
      assert.equal((await waiting(slot, path, limits)).error, 'CPU_TIME_EXCEEDED', path);
      slot.turn(snapshot);
      assertSameState(slot.observe(), fresh.observe(), `after ${path}`);
    }
    assert.equal(atOnce(slot, '/counter', { cpuMs: 1000 })?.sent?.body, '1 1\n');
  });

  test('that runs in a loop after it has answered is stopped, and has answered', async () => {
    const snapshot = await frozen('as-scribe');
    const slot = await bench.newSlot(snapshot, stopping);
    const outcome = atOnce(slot, '/respond/stream.1/spin', { cpuMs: SHORT_MS });
    assert.equal(outcome?.error, 'CPU_TIME_EXCEEDED');
    assert.equal(outcome.sent?.status, 200);
  });

  test('has no more memory than one that may wait', async () => {
    const snapshot = await frozen('as-table');
    const slot = await brandNew(snapshot);
    const limits = { memoryBytes: 2 ** 20 };
    const expected = await waiting(await brandNew(snapshot), '/grow?pages=100', limits);
    assert.match(expected.sent?.body ?? '', / -1 /);
    assert.deepEqual(atOnce(slot, '/grow?pages=100', limits), expected);
    assert.equal(slot.usage.refusedGrows, 1);
    slot.turn(snapshot);
    assert.equal(atOnce(slot, '/counter', { memoryBytes: 1 })?.error, 'GUEST_LIMIT');
    slot.turn(snapshot);
    assert.equal((await serve(slot, '/counter'))?.body, '1 1\n');
  });

  test('that would have to wait for the body of its request leaves the body alone', async () => {
    const snapshot = await frozen('as-table');
    const slot = await brandNew(snapshot);
    const source = new PendingSource();
    assert.equal(slot.serveAtOnce(new RecordingCall(), requestTo('/echo', source)), false);
    slot.turn(snapshot);
    const call = new RecordingCall();
    const served = slot.serve(call, requestTo('/echo', source));
    source.end();
    await served;
    assert.deepEqual([call.sent?.status, call.sent?.end], [200, 'finished']);
  });

  test('is aborted by its own call, as one that may wait', async () => {
    const snapshot = await frozen('as-table');
    const slot = await brandNew(snapshot);
    const abortOnRespond = (): RecordingCall =>
      new RecordingCall({ onRespond: () => slot.abort(new ThawError('RESPONSE_BODY_TOO_LARGE', 'the test says so')) });
    const aborted = { code: 'RESPONSE_BODY_TOO_LARGE' };
    assert.throws(() => slot.serveAtOnce(abortOnRespond(), requestTo('/counter')), aborted);
    slot.turn(snapshot);
    await assert.rejects(slot.serve(abortOnRespond(), requestTo('/counter')), aborted);
    slot.turn(snapshot);
    // What was aborted before does not end this one.
    assert.equal(atOnce(slot, '/counter')?.sent?.body, '1 1\n');
  });

  test('runs on a clean slot only', async () => {
    const snapshot = await frozen('as-table');
    const slot = await brandNew(snapshot);
    assert.equal(atOnce(slot, '/wait?ms=50'), null);
    assert.throws(() => slot.serveAtOnce(new RecordingCall(), requestTo('/counter')), { code: 'INTERNAL' });
    assert.equal(slot.state, 'dirty');
    slot.turn(snapshot);
    const busy = slot.serve(new RecordingCall(), requestTo('/wait?ms=5'));
    assert.throws(() => slot.serveAtOnce(new RecordingCall(), requestTo('/counter')), { code: 'INTERNAL' });
    await busy;
  });

  test('in any order with others gives what each gives alone', async () => {
    const snapshot = await frozen('as-table');
    const slot = await brandNew(snapshot);
    for (let round = 0; round < 60; round++) {
      const path = ['/counter', '/wait?ms=3', '/trap', '/leak', '/random'][round % 5] as string;
      const expected = await waiting(await brandNew(snapshot), path);
      const outcome = round % 3 === 0 ? await waiting(slot, path) : atOnce(slot, path);
      if (outcome !== null) assert.deepEqual(outcome, expected, path);
      else assert.equal(path, '/wait?ms=3');
      slot.turn(snapshot);
    }
  });

  test('and catches what ends it has served nobody, whatever it does then', async () => {
    for (const [rest, code] of [
      ['', null],
      ['(unreachable)', 'GUEST_TRAP'],
      ['(loop $again (br $again))', 'CPU_TIME_EXCEEDED'],
    ] as const) {
      const snapshot = await bench.freeze(await stubborn(rest));
      const slot = await bench.newSlot(snapshot, stopping);
      const limits = { cpuMs: SHORT_MS };
      assert.equal(atOnce(slot, '/', limits), null, rest);
      assert.equal(slot.observe().memories[0]?.readInt32LE(0), 3, 'it met it at each call');
      slot.turn(snapshot);
      const { error } = await waiting(slot, '/', limits);
      assert.equal(error, code);
      assert.equal(slot.observe().memories[0]?.readInt32LE(0), 0, 'there is nothing to catch');
    }
  });
});
