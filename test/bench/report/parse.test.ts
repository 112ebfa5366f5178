import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseReport } from '../../../bench/report/parse.ts';
import { ThawError } from '../../../src/errors.ts';
import { fixtureReport } from './fixture.ts';

const json = JSON.stringify(fixtureReport({ rounds: 1 }));

type Json = { [key: string]: Json } & Json[] & string & number;

/** The fixture with one place changed. */
function changed(change: (report: Json) => void): string {
  const report = JSON.parse(json) as Json;
  change(report);
  return JSON.stringify(report);
}

const refuses = (text: string, message: RegExp): void => {
  assert.throws(
    () => parseReport(text, 'report.json'),
    (error) => error instanceof ThawError && error.code === 'BENCH_REPORT_INVALID' && message.test(error.message),
  );
};

describe('parseReport()', () => {
  test('gives back what was written', () => {
    assert.deepEqual(parseReport(json), fixtureReport({ rounds: 1 }));
  });

  test('a report may lack suites, and have fields that are new', () => {
    const text = JSON.stringify({ ...fixtureReport(), startup: null, throughput: null, density: null, added: 1 });
    assert.equal(parseReport(text).startup, null);
  });

  test('names what is not JSON', () => {
    refuses('{"format": 1,', /reading report\.json: it is not JSON/);
    refuses('[]', /the whole is a list of 0, not an object/);
  });

  test('names another format', () => {
    refuses(
      changed((report) => Object.assign(report, { format: 2 })),
      /reading report\.json: format is 2, not 1/,
    );
  });

  /** Each takes something away from the report that its readers need, and says where. */
  const damages: readonly (readonly [string, (report: Json) => void, RegExp])[] = [
    [
      'a suite that is missing',
      (report) => delete (report as Record<string, unknown>)['density'],
      /density is missing/,
    ],
    [
      'a time that is none',
      (report) => Object.assign(report, { begun: 'yesterday' }),
      /begun is "yesterday", not a time/,
    ],
    [
      'a NaN, which JSON has as null',
      (report) =>
        Object.assign(report['startup']?.['apps']?.[0]?.['ways']?.[2]?.['rounds']?.[0]?.['total'] ?? {}, [null]),
      /startup\.apps\[0\]\.ways\[2\]\.rounds\[0\]\.total\[0\] is null, not a number from 0/,
    ],
    [
      'a negative time',
      (report) =>
        Object.assign(report['startup']?.['apps']?.[0]?.['ways']?.[0]?.['rounds']?.[0]?.['phase'] ?? {}, {
          guest: [-1],
        }),
      /phase\["guest"\]\[0\] is -1/,
    ],
    [
      'a way that is not known',
      (report) => Object.assign(report['startup']?.['apps']?.[1]?.['ways']?.[0] ?? {}, { way: 'magic' }),
      /startup\.apps\[1\]\.ways\[0\]\.way is "magic", not "initialise" or "wizer"/,
    ],
    [
      'an outcome that is not known',
      (report) => Object.assign(report['throughput']?.['servers']?.[0]?.['outcome'] ?? {}, { kind: 'melted' }),
      /throughput\.servers\[0\]\.outcome\.kind is "melted"/,
    ],
    [
      'a failure without a message',
      (report) => Object.assign(report['density']?.['steps']?.[0] ?? {}, { outcome: { kind: 'failed' } }),
      /density\.steps\[0\]\.outcome\.message is missing, not a text/,
    ],
    [
      'a flag that is a text',
      (report) => Object.assign(report['throughput']?.['servers']?.[0] ?? {}, { isFresh: 'yes' }),
      /isFresh is "yes", not true or false/,
    ],
  ];

  for (const [name, damage, message] of damages)
    test(`names ${name}`, () => {
      refuses(changed(damage), message);
    });

  test('long values are cut in messages', () => {
    refuses(
      changed((report) => Object.assign(report, { begun: 'x'.repeat(10_000) })),
      /^.{0,200}$/,
    );
  });
});
