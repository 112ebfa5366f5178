import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { BaseImage } from '../../src/build/freeze.ts';
import { ThawError } from '../../src/errors.ts';
import type { Slot } from '../../src/runtime/slot.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { buildGuest, type GuestName } from '../guests/build.ts';
import { serve, type Sent } from '../support/call.ts';
import { Bench, TIERS } from '../support/runtime.ts';
import { assertSameState } from '../support/same-state.ts';

/**
 * The oracle: a slot that has served and was restored equals a brand-new instance, byte for byte in memory and globals,
 * before a request and after the response to the same request.
 */

const BODY = 'a body of some length '.repeat(500);

/** A request by its path, and how its body begins or what ends it: a guest that only fails would equal itself too. */
type Requests = readonly (readonly [path: string, answer: string | null])[];

/** Each leaves another kind of trace: in globals, memory, size of memory, handles, or halfway through. */
const JAVASCRIPT: Requests = [
  ['/counter', '1\n'],
  ['/grow?mb=3', '1\n'],
  ['/random', '{"random":0.'],
  ['/echo', BODY],
  ['/throw', ''],
  ['/sleep?ms=50', 'slept'],
  ['/stream?bytes=100000', '\x00\x01\x02'],
  ['/after', 'answered'],
  ['/time', '{"date":1767225600'],
  ['/log', 'logged'],
  ['/counter', '1\n'],
];
const ASSEMBLYSCRIPT: Requests = [
  ['/counter', '1 1\n'],
  ['/grow?pages=7', ''],
  ['/scribble?at=1024&n=100000', 'wrote 100000'],
  ['/trap', 'GUEST_TRAP'],
  ['/leak', 'leaked'],
  ['/wait?ms=50', 'waited'],
  ['/exit', 'GUEST_EXITED'],
  ['/random', ''],
  ['/echo', BODY],
  ['/trailers', 'trailers follow'],
  ['/no-response', null],
  ['/lookup/20000', '224737\n'],
  ['/counter', '1 1\n'],
];
const TWO: Requests = [
  ['/counter', '1\n'],
  ['/', 'two modules'],
  ['/counter', '1\n'],
];

/** One or two of each kind of guest. */
const REQUESTS: Readonly<Partial<Record<GuestName, Requests>>> = {
  'js-kitchen': JAVASCRIPT,
  'js-tiny': [
    ['/', 'tiny 1\n'],
    ['/', 'tiny 1\n'],
  ],
  'as-table': ASSEMBLYSCRIPT,
  'as-plain': ASSEMBLYSCRIPT,
  'wat-two': TWO,
  'wat-tableset': TWO,
  'wat-preview1': [
    ['/', 'answered by preview1'],
    ['/', 'answered by preview1'],
  ],
};

const bench = new Bench();

/** A guest as it is served, and with its modules whole. */
type Guest = { readonly snapshot: LoadedSnapshot; readonly whole: LoadedSnapshot };

/** What a client and the log would see of the request: the response, or the code of what ended it. */
async function outcomeOf(slot: Slot, path: string): Promise<Sent | string | null> {
  bench.world.reset();
  try {
    return await serve(slot, path, path === '/echo' ? BODY : undefined);
  } catch (error) {
    if (error instanceof ThawError) return error.code;
    throw error;
  }
}

function assertAnswer(outcome: Sent | string | null, answer: string | null, path: string): void {
  const isResponse = outcome !== null && typeof outcome === 'object';
  const isRight = isResponse && answer !== null ? outcome.body.startsWith(answer) : outcome === answer;
  assert.ok(isRight, `${path} gave ${JSON.stringify(outcome)}`);
}

/** A slot in memory that nothing else has used. */
const brandNew = (snapshot: LoadedSnapshot): Promise<Slot> => bench.newSlot(snapshot, bench.environment('copy'));

/**
 * Serves a request in `slot` and in two brand-new instances: one restored from the image, one of the component's modules
 * with their data and start sections. All three must be in the same state after it.
 */
async function assertServesAsNew(
  slot: Slot,
  { snapshot, whole }: Guest,
  [path, answer]: Requests[number],
): Promise<void> {
  const original = await brandNew(whole);
  assertSameState(slot.observe(), original.observe(), `before ${path}`);
  const expected = await outcomeOf(original, path);
  assertAnswer(expected, answer, path);
  const first = await brandNew(snapshot);
  assert.deepEqual(await outcomeOf(first, path), expected, `${path} on the first use of an image`);
  assertSameState(first.observe(), original.observe(), `after ${path}, first use of an image`);
  assert.deepEqual(await outcomeOf(slot, path), expected, `${path} on a slot that is used again`);
  assertSameState(slot.observe(), original.observe(), `after ${path}, slot used again`);
}

/** Freezing a StarlingMonkey app takes a second: once is enough. */
const guests = new Map<GuestName, Promise<Guest>>();

function frozen(name: GuestName): Promise<Guest> {
  let guest = guests.get(name);
  if (guest === undefined) {
    guest = buildGuest(name).then(async (bytes) => ({
      snapshot: await bench.freeze(bytes),
      whole: await bench.freezeWhole(bytes),
    }));
    guests.set(name, guest);
  }
  return guest;
}

for (const [name, requests] of Object.entries(REQUESTS)) {
  describe(`a slot of ${name} used again equals a brand-new one`, () => {
    let guest: Guest;

    before(async () => {
      guest = await frozen(name as GuestName);
    });

    test('it is restorable, but for the one that changes its table', () => {
      assert.equal(guest.snapshot.state.kind, name === 'wat-tableset' ? 'fresh' : 'restorable');
    });

    for (const { tier, failure } of TIERS) {
      test(`tier ${tier}`, { skip: failure ?? false }, async () => {
        const slot = await bench.newSlot(guest.snapshot, bench.environment(tier));
        for (const request of requests) {
          await assertServesAsNew(slot, guest, request);
          slot.turn(guest.snapshot);
        }
      });
    }
  });
}

describe('a slot that switches between apps of one engine equals a brand-new one of each', () => {
  const apps: (Guest & { request: Requests[number] })[] = [];

  before(async () => {
    const tiny = await frozen('js-tiny');
    const kitchen = await frozen('js-kitchen');
    const baseOf = (): Promise<BaseImage[]> => Promise.resolve(basesOf(tiny.snapshot));
    const layered = await bench.freeze(await buildGuest('js-kitchen'), { baseOf });
    apps.push(
      { ...tiny, request: ['/', 'tiny 1\n'] },
      { snapshot: layered, whole: kitchen.whole, request: ['/grow?mb=2', '1\n'] },
      { ...kitchen, request: ['/counter', '1\n'] },
    );
  });

  test('they have one code, and one of them is a delta on the base of another', () => {
    const [own, layered, alone] = apps.map(({ snapshot }) => snapshot.manifest);
    assert.equal(layered?.codeDigest, own?.codeDigest);
    assert.equal(alone?.codeDigest, own?.codeDigest);
    const [a, b] = [own, layered].map((manifest) => manifest?.state);
    assert.ok(a?.kind === 'restorable' && b?.kind === 'restorable');
    assert.deepEqual(b.memories[0]?.base, a.memories[0]?.base);
    assert.ok((b.memories[0]?.deltaPages ?? 0) > 0);
  });

  // Every app after every other, and after itself.
  const order = [0, 0, 1, 1, 2, 2, 1, 0, 2, 0];
  for (const { tier, failure } of TIERS) {
    test(`tier ${tier}`, { skip: failure ?? false }, async () => {
      const slot = await bench.newSlot(app(0).snapshot, bench.environment(tier));
      for (const index of order) {
        slot.turn(app(index).snapshot);
        await assertServesAsNew(slot, app(index), app(index).request);
      }
    });
  }

  const app = (index: number): (typeof apps)[number] => {
    const found = apps[index];
    assert.ok(found);
    return found;
  };
});

function basesOf({ state }: LoadedSnapshot): BaseImage[] {
  assert.equal(state.kind, 'restorable');
  return state.images.map(({ image: { base } }) => {
    assert.ok(base);
    return { ref: { digest: base.digest, bytes: base.bytes.length }, bytes: base.bytes };
  });
}
