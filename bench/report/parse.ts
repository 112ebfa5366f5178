import { ThawError, messageOf } from '../../src/errors.ts';
import {
  amount,
  flag,
  listOf,
  objectOf,
  oneOf,
  orNull,
  recordOf,
  text,
  unionOf,
  Unexpected,
  type Check,
} from './check.ts';
import {
  REPORT_FORMAT,
  WAYS,
  type BenchReport,
  type ClosedRound,
  type DensityStep,
  type DensitySuite,
  type OpenRound,
  type Outcome,
  type ServerRun,
  type StartupApp,
  type StartupRound,
  type StartupSuite,
  type StartupWay,
  type ThroughputSuite,
} from './format.ts';

const amounts = listOf(amount);
const texts = listOf(text);

const outcome = unionOf<Outcome>({
  ran: objectOf({ kind: oneOf(['ran']) }),
  skipped: objectOf({ kind: oneOf(['skipped']), reason: text }),
  failed: objectOf({ kind: oneOf(['failed']), message: text }),
});

const startupRound = objectOf<StartupRound>({ round: amount, total: amounts, phase: recordOf(amounts) });

const startupWay = objectOf<StartupWay>({
  way: oneOf(WAYS),
  outcome,
  freshness: oneOf(['process', 'start']),
  warmUp: amount,
  phases: texts,
  rounds: listOf(startupRound),
  pagesWritten: orNull(amount),
  pageFaults: orNull(amount),
});

const startupApp = objectOf<StartupApp>({
  name: text,
  about: text,
  snapshot: objectOf({ codeBytes: amount, imageBytes: amount, deltaPages: amount, deltaBytes: amount }),
  ways: listOf(startupWay),
  advice: texts,
});

const openRound = objectOf<OpenRound>({
  round: amount,
  sent: amount,
  dropped: amount,
  failed: amount,
  latency: amounts,
});

const closedRound = objectOf<ClosedRound>({
  round: amount,
  tool: oneOf(['wrk', 'own']),
  perSecond: amount,
  p50: amount,
  p99: amount,
  failed: amount,
  cpu: amount,
});

const server = objectOf<ServerRun>({
  name: text,
  version: orNull(text),
  command: text,
  outcome,
  shares: text,
  isFresh: flag,
  firstAnswerMs: amounts,
  open: listOf(openRound),
  closed: listOf(closedRound),
  residentBytes: amounts,
});

const throughput = objectOf<ThroughputSuite>({
  app: text,
  pinning: text,
  rate: amount,
  connections: amount,
  servers: listOf(server),
});

const densityStep = objectOf<DensityStep>({
  routes: amount,
  outcome,
  readyMs: amount,
  residentBytes: objectOf({ ready: amount, allRequested: amount }),
  diskBytesPerApp: amount,
  failed: amount,
  random: listOf(amounts),
  hot: listOf(amounts),
});

/** A time as `Date.prototype.toISOString` writes it, or as ISO 8601 allows: what Date can read. */
const time: Check<string> = (value, at) => {
  const written = text(value, at);
  if (Number.isNaN(Date.parse(written))) throw new Unexpected(at, 'a time in ISO 8601', value);
  return written;
};

const benchReport = objectOf<BenchReport>({
  format: oneOf([REPORT_FORMAT]),
  begun: time,
  seconds: amount,
  command: text,
  isQuick: flag,
  thaw: text,
  machine: objectOf<BenchReport['machine']>({
    cpu: text,
    cores: amount,
    memoryBytes: amount,
    kernel: text,
    architecture: text,
    node: text,
    v8: text,
    commit: text,
    packages: recordOf(text),
    restoreTier: text,
    pageBytes: amount,
  }),
  load: objectOf({ before: amounts, after: amounts }),
  startup: orNull(objectOf<StartupSuite>({ apps: listOf(startupApp) })),
  throughput: orNull(throughput),
  density: orNull(objectOf<DensitySuite>({ slots: amount, about: text, steps: listOf(densityStep) })),
  notes: texts,
});

/**
 * Reads a report.json.
 *
 * @param name what the text is called in messages: a path
 * @throws BENCH_REPORT_INVALID with the field that is wrong, its value and what it should be
 */
export function parseReport(json: string, name = 'the report'): BenchReport {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new ThawError('BENCH_REPORT_INVALID', `reading ${name}: it is not JSON: ${messageOf(error)}`, {
      cause: error,
    });
  }
  try {
    return benchReport(value, '');
  } catch (error) {
    if (!(error instanceof Unexpected)) throw error;
    throw new ThawError('BENCH_REPORT_INVALID', `reading ${name}: ${error.message}`, { cause: error });
  }
}
