import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { Way } from '../../bench/report/format.ts';
import { initialiseWay, mappedWay, wizerWay } from '../../bench/suites/bare-ways.ts';
import { ENGINE_INIT, engineFiles } from '../../bench/suites/engine-start.ts';
import { hotWay, instantiateWay, switchWay } from '../../bench/suites/slot-ways.ts';
import type { ChildSpec } from '../../bench/suites/startup-spec.ts';
import { watComponent } from '../../bench/support/components.ts';
import { BenchStore } from '../../bench/support/snapshots.ts';
import { bundleApp } from '../../src/build/bundle.ts';
import { buildTools } from '../../src/build/tools.ts';
import { chooseTier } from '../../src/runtime/restore-tier.ts';

const snapshots = new BenchStore(() => {});
after(() => snapshots[Symbol.dispose]());

const initFunc = 'initialise';
const { digest } = await snapshots.freezeWat('sieve', { initFunc });
await snapshots.store.setRef('sieve-other', digest, 'a test');

const SIEVE: Omit<ChildSpec, 'way'> = {
  store: snapshots.directory,
  snapshot: 'sieve',
  other: 'sieve-other',
  component: await watComponent('sieve', { initFunc }),
  init: { component: await watComponent('sieve'), func: initFunc, engine: null },
  path: '/',
  tier: chooseTier(undefined),
  warmUp: 0,
  starts: 1,
};

/** The phases of each way, in their order. */
const WAYS: Readonly<Record<Way, readonly [typeof hotWay, readonly string[]]>> = {
  initialise: [initialiseWay, ['memory', 'instantiate', 'initialise', 'guest']],
  wizer: [wizerWay, ['memory', 'instantiate', 'guest']],
  mapped: [mappedWay, ['memory', 'instantiate', 'guest']],
  instantiate: [instantiateWay, ['instantiate', 'guest', 'restore']],
  switch: [switchWay, ['switch', 'guest', 'restore']],
  hot: [hotWay, ['guest', 'restore']],
};

/** The sum of what comes before the response head. */
const awaited = (phase: Readonly<Record<string, number>>): number =>
  Object.entries(phase).reduce((sum, [name, micros]) => (name === 'restore' ? sum : sum + micros), 0);

describe('ways of starting', () => {
  for (const [name, [way, phases]] of Object.entries(WAYS)) {
    test(`${name} answers again and again, and its phases add up to its total`, async () => {
      const start = await way({ ...SIEVE, way: name as Way });
      for (let turn = 0; turn < 3; turn++) {
        const { laps } = await start();
        assert.deepEqual(Object.keys(laps.phase), phases);
        // Rounding to a tenth, for each phase.
        assert.ok(Math.abs(awaited(laps.phase) - laps.total) < phases.length * 0.1 + 0.05, JSON.stringify(laps));
      }
    });
  }

  test('a start without a snapshot writes what its initialisation does, one with a mapped image hardly anything', async (t) => {
    const { tier } = SIEVE;
    if (tier !== 'scan' && tier !== 'pagemap') {
      t.skip(`tier ${tier} cannot tell which pages were written`);
      return;
    }
    const pages = async (way: Way): Promise<number> => {
      const { pagesWritten } = await (await WAYS[way][0]({ ...SIEVE, way }))();
      assert.ok(pagesWritten !== null);
      return pagesWritten;
    };
    // A byte for each of 224,738 candidates, and 80,000 bytes of primes.
    const [initialised, mapped] = [await pages('initialise'), await pages('mapped')];
    assert.ok(initialised >= 73 && initialised <= 84, `${initialised} pages`);
    assert.ok(mapped <= 4, `${mapped} pages`);
  });

  test('an engine without a snapshot runs the app, and answers with it', async () => {
    const source = join(snapshots.directory, 'clock.js');
    // What its top level made can only be in the answer if it ran, in this instance.
    await writeFile(
      source,
      'let made = 41; made++; export default { fetch: () => new Response(null, { status: 200 + made }) };',
    );
    const { code } = await bundleApp(source, buildTools());
    const app = join(snapshots.directory, 'clock.bundle.js');
    await writeFile(app, code);
    const { component, inputs } = await engineFiles(() => {});
    const init = { component, func: ENGINE_INIT, engine: { inputs, app } };
    const start = await initialiseWay({ ...SIEVE, way: 'initialise', init });
    const { laps, status } = await start();
    assert.equal(status, 242);
    assert.deepEqual(Object.keys(laps.phase), ['memory', 'instantiate', 'initialise', 'top level', 'guest']);
  });

  test('an app that fails is an error, not a fast start', async () => {
    await snapshots.freezeWat('troubles');
    await assert.rejects((await hotWay({ ...SIEVE, way: 'hot', snapshot: 'troubles', path: '/trap' }))(), {
      code: 'GUEST_TRAP',
    });
  });
});
