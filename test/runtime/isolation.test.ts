import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { BaseImage } from '../../src/build/freeze.ts';
import { ThawError, type ErrorCode } from '../../src/errors.ts';
import { ControlMemory } from '../../src/runtime/control-memory.ts';
import { MemoryPool } from '../../src/runtime/memory-pool.ts';
import { createRestorer } from '../../src/runtime/restore-tier.ts';
import type { Slot, SlotEnvironment } from '../../src/runtime/slot.ts';
import type { SlotMemory } from '../../src/runtime/slot-memory.ts';
import type { LoadedSnapshot } from '../../src/runtime/snapshot.ts';
import { WASM_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { Watchdog } from '../../src/runtime/watchdog.ts';
import { PendingSource, RecordingCall, begin, serve, type Sent } from '../support/call.ts';
import { Bench, TIERS } from '../support/runtime.ts';
import { assertSameState } from '../support/same-state.ts';
import { VARIANTS, scribe, type Variant } from '../support/scribe.ts';

/**
 * Whatever a request does to its instance, and however it ends, the next one finds a brand-new instance of its own app:
 * in memory, globals, size of memory and handles, and nothing of the last one is anywhere in the memory that it gets.
 */

/** What the request leaves wherever it can. As a number, and as the hexadecimal text that the guest was sent. */
const CANARY = 0x5ec2_e75e_c2e7_7a91n;
const CANARY_TEXT = CANARY.toString(16);

const CANARIES: readonly Buffer[] = [
  (() => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(CANARY);
    return bytes;
  })(),
  Buffer.from(CANARY_TEXT, 'latin1'),
  Buffer.from(CANARY_TEXT, 'utf16le'),
];

/** Opens one of each resource and keeps the handles; grows; ends with an answer that depends on every byte. */
const PROBE = '/open/grow.5/open/count.1';

/** How the program ends, and what the request ends with; null: with an answer. */
const ENDS = {
  '': null,
  '/trap': 'GUEST_TRAP',
  '/recurse': 'GUEST_TRAP',
  '/exit': 'GUEST_EXITED',
  '/greed': 'GUEST_LIMIT',
  '/forge': 'HANDLE_INVALID',
  '/spin': 'CPU_TIME_EXCEEDED',
} as const satisfies Record<string, ErrorCode | null>;

/** `waits`: the client hangs up while the guest waits for its body. `answers`: while it runs, as it sets the response. */
type Leaving = 'never' | 'waits' | 'answers';

/** What the program does on top, so that there is something to leave in the middle of. */
const LEAVING: Readonly<Record<Leaving, string>> = { never: '', waits: '/open/read', answers: '/respond/open' };

type Request = {
  readonly program: string;
  readonly end: keyof typeof ENDS;
  readonly leaving: Leaving;
  /** Wasm pages that the guest may have; not fewer than it begins with. */
  readonly maxPages: number;
};

type Step = {
  readonly request: Request;
  /** Restored so often before the next request that the app's own pages are mapped and no longer copied. */
  readonly isSettled: boolean;
  /** Null: the same app again. */
  readonly next: Variant | null;
};

/** Of each tier: some 150 requests. */
const RUNS = 30;

/** More than the restores after which a slot maps what it copied before. */
const RESTORES_TO_SETTLE = 20;

/** For what never ends; all else has time enough. */
const SHORT_CPU_MS = 3;

/** A guest that grows as far as it may writes to the last page that the slot has. */
const MAX_PAGES = 64;
const ZEROES = Buffer.alloc(MAX_PAGES * WASM_PAGE_BYTES);

const FIELD_BYTES = 2 ** 20;
const inField = fc
  .tuple(fc.nat(FIELD_BYTES - 1), fc.nat(300_000), fc.nat(15))
  .map(([at, length, byte]) => `/fill.${at}.${Math.min(length, FIELD_BYTES - at)}.${byte}`);

const change = fc.oneof(
  { weight: 4, arbitrary: inField },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 12 }).map((pages) => `/grow.${pages}`) },
  { weight: 2, arbitrary: fc.constantFrom('/grow-all', '/grow-all/fill-top.70000.9') },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 400_000 }).map((bytes) => `/fill-top.${bytes}.10`) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 9 }).map((count) => `/count.${count}`) },
  { weight: 1, arbitrary: fc.constantFrom('/respond', '/stream.3', '/sleep.5', '/open') },
  { weight: 2, arbitrary: fc.constant(`/mark.${CANARY_TEXT}`) },
);

const request: fc.Arbitrary<Request> = fc.record({
  program: fc.array(change, { maxLength: 6 }).map((steps) => steps.join('')),
  end: fc.constantFrom(...(Object.keys(ENDS) as (keyof typeof ENDS)[])),
  leaving: fc.constantFrom('never', 'never', 'waits', 'answers'),
  maxPages: fc.constantFrom(0, 40, MAX_PAGES, MAX_PAGES),
});

const step: fc.Arbitrary<Step> = fc.record({
  request,
  isSettled: fc.integer({ min: 0, max: 3 }).map((roll) => roll === 0),
  next: fc.option(fc.constantFrom(...VARIANTS)),
});

/** What a brand-new instance of an app looks like, and what it answers to the probe. */
type BrandNew = {
  readonly snapshot: LoadedSnapshot;
  readonly pages: number;
  readonly before: ReturnType<Slot['observe']>;
  readonly sent: Sent | null;
  readonly after: ReturnType<Slot['observe']>;
};

const bench = new Bench();
const watchdog = new Watchdog(TIERS.length);
after(() => watchdog.stop());
const apps: BrandNew[] = [];

const app = (variant: Variant): BrandNew => apps[variant] as BrandNew;

/** A copy, as the slot may be used again. */
function observed(slot: Slot): BrandNew['before'] {
  const { memories, globals } = slot.observe();
  return { memories: memories.map((memory) => Buffer.from(memory)), globals };
}

/** Once for each app: by the component's own modules, with data and start sections, in memory that nobody has used. */
async function brandNew(component: Uint8Array, snapshot: LoadedSnapshot): Promise<BrandNew> {
  const slot = await bench.newSlot(await bench.freezeWhole(component), bench.environment('copy'));
  const before = observed(slot);
  bench.world.reset();
  const sent = await serve(slot, PROBE);
  return {
    snapshot,
    pages: (before.memories[0] as Buffer).length / WASM_PAGE_BYTES,
    before,
    sent,
    after: observed(slot),
  };
}

before(async () => {
  let base: BaseImage[] = [];
  for (const variant of VARIANTS) {
    const component = await scribe(variant);
    const snapshot = await bench.freeze(component, { baseOf: () => Promise.resolve(base) });
    apps.push(await brandNew(component, snapshot));
    if (variant === 0) base = basesOf(snapshot);
  }
});

function basesOf({ state }: LoadedSnapshot): BaseImage[] {
  assert.equal(state.kind, 'restorable');
  return state.images.map(({ image: { base } }) => {
    assert.ok(base);
    return { ref: { digest: base.digest, bytes: base.bytes.length }, bytes: base.bytes };
  });
}

/** Knows the memories that it gave out: also what lies beyond their logical sizes. */
class SeenMemories extends MemoryPool {
  readonly seen: SlotMemory[] = [];

  override take(minimums: readonly number[]): SlotMemory[] {
    const taken = super.take(minimums);
    this.seen.push(...taken);
    return taken;
  }
}

/** A body that does not come, and says when it is waited for. */
class AwaitedBody extends PendingSource {
  readonly #awaited = Promise.withResolvers<void>();

  get awaited(): Promise<void> {
    return this.#awaited.promise;
  }

  override wait(): Promise<void> {
    this.#awaited.resolve();
    return super.wait();
  }
}

/**
 * `Buffer.includes`, which takes 10 ms a MiB, by way of looking for a single byte: what the guest and the tests fill memory
 * with has no byte over 15, and so none of a canary.
 */
function includes(bytes: Buffer, wanted: Buffer): boolean {
  const [first] = wanted as unknown as [number];
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (bytes[at + 1] === wanted[1] && wanted.equals(bytes.subarray(at, at + wanted.length))) return true;
  }
  return false;
}

/** The code that a request ended with, or null. */
async function codeOf(ended: Promise<void>): Promise<ErrorCode | null> {
  try {
    await ended;
    return null;
  } catch (error) {
    assert.ok(error instanceof ThawError, String(error));
    return error.code;
  }
}

/** One slot through the requests of a run. */
class Run {
  readonly #slot: Slot;
  readonly #memories: readonly SlotMemory[];
  /** How often each canary was there before a restore. */
  readonly #sightings: number[];
  #variant: Variant;
  #lastBody: PendingSource | null = null;

  constructor(slot: Slot, variant: Variant, memories: readonly SlotMemory[], sightings: number[]) {
    this.#slot = slot;
    this.#variant = variant;
    this.#memories = memories;
    this.#sightings = sightings;
  }

  async take({ request, isSettled, next }: Step): Promise<void> {
    await this.#serve(request);
    for (const index of CANARIES.keys()) if (this.#holds(index)) (this.#sightings[index] as number)++;
    this.#variant = next ?? this.#variant;
    const { snapshot } = app(this.#variant);
    this.#slot.turn(snapshot);
    if (isSettled) for (let round = 0; round < RESTORES_TO_SETTLE; round++) this.#slot.turn(snapshot);
    this.#assertBrandNew(`after ${JSON.stringify(request)}`);
    await this.#probe();
    this.#slot.turn(snapshot);
  }

  async #serve({ program, end, leaving, maxPages }: Request): Promise<void> {
    const slot = this.#slot;
    const gone = new ThawError('CLIENT_GONE', 'the test hangs up');
    const limits = {
      cpuMs: end === '/spin' && leaving === 'never' ? SHORT_CPU_MS : 60_000,
      memoryBytes: Math.max(bytesOf(slot), maxPages * WASM_PAGE_BYTES),
    };
    const call = new RecordingCall({ limits, onRespond: () => leaving === 'answers' && slot.abort(gone) });
    const body = new AwaitedBody();
    bench.world.reset();
    const path = `${program}${LEAVING[leaving]}${end}`;
    const { ended } = begin(slot, path, { call, body });
    // What the last request waited for comes while this one is served.
    this.#lastBody?.end();
    this.#lastBody = body;
    if (leaving === 'waits') {
      await Promise.race([body.awaited, ended]);
      slot.abort(gone);
    }
    assert.equal(await codeOf(ended), leaving === 'never' ? ENDS[end] : 'CLIENT_GONE', path);
    assert.notEqual(call.sent?.end, null, 'a response that was begun has ended in some way');
  }

  #holds(index: number): boolean {
    return this.#memories.some((memory) => includes(memory.bytes, CANARIES[index] as Buffer));
  }

  #assertBrandNew(what: string): void {
    assertSameState(this.#slot.observe(), app(this.#variant).before, what);
    for (const index of CANARIES.keys()) assert.ok(!this.#holds(index), `canary ${index} is still there ${what}`);
    for (const { bytes } of this.#memories) {
      const beyond = bytes.subarray(bytesOf(this.#slot));
      assert.ok(beyond.equals(ZEROES.subarray(0, beyond.length)), `not zero beyond the logical size ${what}`);
    }
  }

  /** Handles and the size of memory are seen by what a guest does with them. */
  async #probe(): Promise<void> {
    const { sent, after } = app(this.#variant);
    bench.world.reset();
    assert.deepEqual(await serve(this.#slot, PROBE), sent);
    assertSameState(this.#slot.observe(), after, 'after the probe');
  }
}

const bytesOf = (slot: Slot): number => slot.observe().memories.reduce((sum, { length }) => sum + length, 0);

test('the apps have one code, and differ in memory, globals and size of memory', () => {
  const [first, second, third] = apps;
  assert.ok(first && second && third);
  assert.equal(new Set(apps.map(({ snapshot }) => snapshot.manifest.codeDigest)).size, 1);
  assert.equal(new Set(apps.map(({ before }) => JSON.stringify(before.globals))).size, 3);
  assert.equal(new Set(apps.map(({ pages }) => pages)).size, 3);
  for (const { snapshot } of [second, third]) {
    assert.ok(snapshot.state.kind === 'restorable');
    const [image] = snapshot.state.images;
    assert.ok((image?.image.deltaPages.length ?? 0) > 10, 'a delta over the base of the first');
    assert.ok(image?.image.base);
  }
});

for (const [index, { tier, failure }] of TIERS.entries()) {
  describe(`tier ${tier}`, { skip: failure ?? false }, () => {
    test('whatever a request did, the next one finds its app as new', async () => {
      const memories = new SeenMemories(createRestorer(tier));
      const control = new ControlMemory(watchdog.links[index]);
      const environment: SlotEnvironment = { ...bench.environment(tier), memories, control };
      const sightings = CANARIES.map(() => 0);
      const steps = fc.array(step, { minLength: 2, maxLength: 8 });
      const property = fc.asyncProperty(fc.constantFrom(...VARIANTS), steps, async (first, steps) => {
        const slot = await bench.newSlot(app(first).snapshot, environment);
        const run = new Run(slot, first, memories.seen, sightings);
        for (const each of steps) await run.take(each);
        slot.dispose();
      });
      await fc.assert(property, { numRuns: RUNS });
      assert.ok(
        sightings.every((count) => count > RUNS / 10),
        `canaries were left ${sightings.join()} times`,
      );
      assert.equal(memories.created, 1);
    });
  });
}
