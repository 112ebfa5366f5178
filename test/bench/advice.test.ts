import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { StartupWay, Way } from '../../bench/report/format.ts';
import { WAYS } from '../../bench/report/format.ts';
import { adviceFor, type AdviceInput } from '../../bench/suites/advice.ts';

type Measured = {
  readonly phases: Readonly<Record<string, number>>;
  readonly pagesWritten?: number | null;
  readonly pageFaults?: number | null;
};

/** A way that always took the same; `total` is what comes before `restore`. */
function way(name: Way, { phases, pagesWritten = 76, pageFaults = 0 }: Measured): StartupWay {
  const { restore: _, ...awaited } = phases;
  const total = Object.values(awaited).reduce((sum, micros) => sum + micros, 0);
  const phase = Object.fromEntries(Object.entries(phases).map(([key, micros]) => [key, [micros, micros, micros]]));
  return {
    way: name,
    outcome: { kind: 'ran' },
    freshness: 'process',
    warmUp: 1,
    phases: Object.keys(phases),
    rounds: [{ round: 0, total: [total, total, total], phase }],
    pagesWritten,
    pageFaults,
  };
}

/** As a small app is measured. */
const WAYS_OF_HELLO: Readonly<Partial<Record<Way, Measured>>> = {
  initialise: { phases: { memory: 60, instantiate: 4000, initialise: 40_000, 'top level': 8000, guest: 600 } },
  instantiate: { phases: { instantiate: 1800, guest: 400, restore: 200 } },
  switch: { phases: { switch: 55, guest: 80, restore: 50 } },
  hot: { phases: { guest: 80, restore: 40 } },
};

type Changes = Omit<Partial<AdviceInput>, 'ways'> & { readonly ways?: Partial<Record<Way, Measured>> };

function advice({ ways = {}, ...changes }: Changes = {}): string[] {
  const measured = Object.entries({ ...WAYS_OF_HELLO, ...ways }).map(([name, value]) => way(name as Way, value));
  return adviceFor({
    ways: measured,
    snapshot: { codeBytes: 9e6, imageBytes: 10e6, deltaPages: 96, deltaBytes: 397_312 },
    reasons: [],
    sourceBytes: 4000,
    reference: { pagesWritten: 76, hotMicros: 80 },
    ...changes,
  });
}

describe('adviceFor()', () => {
  test('has nothing to say of a small app but what its snapshot saves, and where', () => {
    const [saved, ...others] = advice();
    assert.deepEqual(others, []);
    assert.match(saved ?? '', /a start takes 52\.7 ms: 40 ms for the engine .* 8 ms for the app's source \(4 KB\)/);
  });

  test('says how much longer a handler takes than the smallest, and what could be done before', () => {
    const [first = ''] = advice({ ways: { hot: { phases: { guest: 1270, restore: 40 } } } });
    assert.match(first, /^The handler takes 1\.27 ms of the 1\.27 ms of a hot start, 15\.9 times as long/);
    assert.match(first, /top level/);
    assert.equal(advice({ ways: { hot: { phases: { guest: 239, restore: 40 } } } }).length, 1, 'a router takes less');
  });

  test('counts the pages of a request against the smallest app, in a new slot where they are its own', () => {
    const [first = ''] = advice({
      ways: { instantiate: { phases: { instantiate: 1800, guest: 400, restore: 900 }, pagesWritten: 3000 } },
    });
    assert.match(first, /^A request writes 3,000 pages of 4 KiB, where the smallest app writes 76\./);
    assert.match(first, /copied back after each response, which takes 40 µs/);
    const few = { phases: { instantiate: 1800, guest: 400, restore: 200 }, pagesWritten: 130 };
    assert.equal(advice({ ways: { instantiate: few } }).length, 1, 'under twice as many');
  });

  test('knows of a core module only what is absolute, and names its own causes', () => {
    const core = { reference: null, sourceBytes: null } as const;
    const pages = (pagesWritten: number): Changes => ({
      ...core,
      ways: { instantiate: { phases: { instantiate: 60, guest: 7, restore: 12 }, pagesWritten } },
    });
    const [first = ''] = advice(pages(512));
    assert.match(first, /^A request writes 512 pages of 4 KiB\. .*an allocator that spreads/);
    assert.doesNotMatch(first, /JSON|smallest/);
    assert.equal(advice(pages(12)).length, 1);
  });

  test('speaks of the size of a delta where a switch spends its time on it, and not else', () => {
    const snapshot = { codeBytes: 9e6, imageBytes: 10e6, deltaPages: 1309, deltaBytes: 5_365_760 };
    const [first = ''] = advice({ snapshot, ways: { switch: { phases: { switch: 702, guest: 218, restore: 500 } } } });
    assert.match(first, /^The app adds 1,309 pages \(5\.12 MiB\) .* 702 µs of the 920 µs of such a start/);
    assert.equal(advice({ snapshot }).length, 1, 'the switch took 55 µs of 135');
  });

  test('tells of page faults of warm slots', () => {
    const [first = ''] = advice({ ways: { hot: { phases: { guest: 80, restore: 40 }, pageFaults: 120.4 } } });
    assert.match(first, /^A hot start has 120 page faults/);
  });

  test('puts first that an app needs a new instance for every request, with the reason', () => {
    const [first = '', ...others] = advice({
      reasons: ['function 7 of module main has table.set'],
      ways: { hot: { phases: { guest: 1270, restore: 1500 }, pageFaults: 300 } },
    });
    assert.match(first, /^Every request needs a new instance, .*function 7 of module main has table\.set/);
    assert.match(first, /A start in a new slot takes 2\.2 ms/);
    assert.ok(!others.some((text) => text.includes('page faults')), 'new instances fault, whatever the app does');
  });

  test('puts what costs more before what costs less', () => {
    const texts = advice({
      ways: {
        hot: { phases: { guest: 5000, restore: 600 } },
        instantiate: { phases: { instantiate: 1800, guest: 400, restore: 900 }, pagesWritten: 3000 },
      },
    });
    assert.deepEqual(
      texts.map((text) => text.split(' ', 3).join(' ')),
      ['The handler takes', 'A request writes', 'Without a snapshot'],
    );
  });

  test('never speaks of what was not measured', () => {
    const time = fc.double({ min: 1, max: 1e6, noNaN: true });
    const ways = fc.uniqueArray(fc.tuple(fc.constantFrom(...WAYS), time, fc.option(time)), {
      selector: ([name]) => name,
    });
    fc.assert(
      fc.property(ways, fc.option(time), (measured, pages) => {
        const texts = adviceFor({
          ways: measured.map(([name, guest, pageFaults]) =>
            way(name, { phases: { guest, restore: guest }, pagesWritten: pages, pageFaults }),
          ),
          snapshot: { codeBytes: 1, imageBytes: 1, deltaPages: 5000, deltaBytes: 1 },
          reasons: [],
          sourceBytes: 10,
          reference: { pagesWritten: pages, hotMicros: 80 },
        });
        for (const text of texts) assert.doesNotMatch(text, /NaN|undefined|null|Infinity/, text);
      }),
    );
    const failed = WAYS.map((name) => ({
      ...way(name, { phases: { guest: 1 } }),
      outcome: { kind: 'failed', message: 'x' } as const,
    }));
    const snapshot = { codeBytes: 1, imageBytes: 1, deltaPages: 5000, deltaBytes: 1 };
    assert.deepEqual(adviceFor({ ways: failed, snapshot, reasons: [], sourceBytes: 1, reference: null }), []);
  });
});
