import type { Outcome, StartupApp, StartupWay, Way } from '../format.ts';
import {
  byRound,
  distributionOf,
  figureOf,
  medianOf,
  ratioOf,
  type ByRound,
  type Distribution,
  type Figure,
} from './figure.ts';

export type PhaseFigure = {
  readonly name: string;
  readonly time: Figure;
  /** Whether the request waits for it. What comes after the guest comes after the response head. */
  readonly isAwaited: boolean;
};

export type WayFigures = {
  readonly way: Way;
  readonly outcome: Outcome;
  readonly freshness: StartupWay['freshness'];
  readonly warmUp: number;
  readonly rounds: number;
  readonly starts: number;
  /** Null when it did not run; the others then are null or empty, too. */
  readonly time: Figure | null;
  /** This way : thaw hot. */
  readonly overHot: Figure | null;
  /** No snapshot : this way. */
  readonly gain: Figure | null;
  readonly distribution: Distribution | null;
  readonly phases: readonly PhaseFigure[];
  readonly pagesWritten: number | null;
  readonly pageFaults: number | null;
};

export type AppFigures = {
  readonly name: string;
  readonly about: string;
  readonly snapshot: StartupApp['snapshot'];
  readonly advice: readonly string[];
  readonly ways: readonly WayFigures[];
  /** Wizer : this way, for thaw's ways: what thaw adds to what Wizer gives. */
  readonly overWizer: Readonly<Partial<Record<Way, Figure>>>;
};

/** The last phase that the request waits for: it ends with the response head. */
const LAST_AWAITED = 'guest';

export function appFigures(app: StartupApp): AppFigures {
  const medians = new Map(app.ways.map((way) => [way.way, mediansOf(way)]));
  const ratio = (above: Way, below: Way): Figure | null =>
    ratioOf('startRatio', medians.get(above) ?? new Map(), medians.get(below) ?? new Map());
  const overWizer = app.ways.flatMap(({ way }): [Way, Figure][] => {
    const figure = ratio('wizer', way);
    return figure === null ? [] : [[way, figure]];
  });
  return {
    name: app.name,
    about: app.about,
    snapshot: app.snapshot,
    advice: app.advice,
    ways: app.ways.map((way) => ({
      ...wayFigures(way),
      overHot: ratio(way.way, 'hot'),
      gain: ratio('initialise', way.way),
    })),
    overWizer: Object.fromEntries(overWizer),
  };
}

/** What a way that did not end well left behind is in the raw data, and in no figure. */
const roundsOf = ({ outcome, rounds }: StartupWay): StartupWay['rounds'] => (outcome.kind === 'ran' ? rounds : []);

const mediansOf = (way: StartupWay): ByRound => byRound(roundsOf(way), ({ total }) => medianOf(total));

function wayFigures(way: StartupWay): Omit<WayFigures, 'overHot' | 'gain'> {
  const rounds = roundsOf(way);
  const distribution = distributionOf(rounds.flatMap(({ total }) => total));
  const medians = [...mediansOf(way).values()];
  return {
    way: way.way,
    outcome: way.outcome,
    freshness: way.freshness,
    warmUp: way.warmUp,
    rounds: medians.length,
    starts: distribution?.count ?? 0,
    time: figureOf('start', medians),
    distribution,
    phases: phaseFigures(way),
    pagesWritten: way.pagesWritten,
    pageFaults: way.pageFaults,
  };
}

function phaseFigures(way: StartupWay): PhaseFigure[] {
  const last = way.phases.indexOf(LAST_AWAITED);
  return way.phases.flatMap((name, index) => {
    const medians = byRound(roundsOf(way), ({ phase }) => medianOf(phase[name] ?? []));
    const time = figureOf('phase', [...medians.values()]);
    return time === null ? [] : [{ name, time, isAwaited: last === -1 || index <= last }];
  });
}
