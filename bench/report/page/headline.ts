import { headlineOf, type Headline, type ReportFigures } from '../figures.ts';
import type { Figure } from '../figures/figure.ts';
import type { WayFigures } from '../figures/startup.ts';
import type { BenchReport } from '../format.ts';
import { summaryOf } from '../method.ts';
import { NONE, significant, toMillis } from '../numbers.ts';
import { quartilesText } from '../table.ts';
import { WAY_WORDS } from '../words.ts';
import { html, type Html } from './html.ts';

/** The first screen: the question, the four answers, and where they are from. */
export function renderHeadline(report: BenchReport, figures: ReportFigures): Html {
  const headline = headlineOf(figures);
  const question =
    headline === null ? 'What thaw was measured at' : `How long does ${headline.app.name} take to start?`;
  return html`<header class="headline">
    <p class="kicker">thaw startup report</p>
    <h1>${question}</h1>
    ${
      headline === null
        ? null
        : html`<p class="about">${headline.app.about}</p>
            ${cards(headline)}`
    }
    <p class="made">${summaryOf(report)}</p>
  </header>`;
}

function cards({ app, ways }: Headline): Html {
  const longest = Math.max(0, ...ways.map(({ time }) => time?.median ?? 0));
  const render = (way: WayFigures): Html => {
    const overWizer = way.way === 'wizer' ? null : (app.overWizer[way.way] ?? null);
    const ratios =
      way.way === 'initialise' ? null : html`${ratio(way.gain, 'no snapshot')}${ratio(overWizer, 'Wizer')}`;
    return html`<li class="card way-${way.way}">
      <h2>${WAY_WORDS[way.way].name}</h2>
      <p class="short">${WAY_WORDS[way.way].short}</p>
      <div>${answer(way)}</div>
      <div class="track" aria-hidden="true"><i style="width:${share(way.time, longest)}%"></i></div>
      <div>${ratios}</div>
    </li>`;
  };
  return html`<ul class="cards">
      ${ways.map(render)}
    </ul>
    <p class="legend">
      Until the response head. Below each time: first to third quartile over ${rounds(ways)} rounds. Bars are to one
      scale.
    </p>`;
}

const rounds = (ways: readonly WayFigures[]): string => {
  const counts = ways.filter(({ time }) => time !== null).map(({ rounds }) => rounds);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  if (counts.length === 0) return 'no';
  return least === most ? String(least) : `${least} to ${most}`;
};

const share = (time: Figure | null, longest: number): string =>
  time === null || longest === 0 ? '0' : ((time.median / longest) * 100).toFixed(2);

function answer({ time, outcome }: WayFigures): Html {
  if (outcome.kind === 'skipped')
    return html`<p class="time none">${NONE}</p>
      <p class="why">skipped: ${outcome.reason}</p>`;
  if (outcome.kind === 'failed')
    return html`<p class="time none">${NONE}</p>
      <p class="why">failed: ${outcome.message}</p>`;
  if (time === null)
    return html`<p class="time none">${NONE}</p>
      <p class="why">no start was measured</p>`;
  const millis = { median: toMillis(time.median), q1: toMillis(time.q1), q3: toMillis(time.q3) };
  return html`<p class="time">
      <data value="${millis.median}">${significant(millis.median)}</data> <span class="unit">ms</span>
    </p>
    <p class="quartiles">${quartilesText(millis)}</p>`;
}

function ratio(figure: Figure | null, of: string): Html | null {
  if (figure === null) return null;
  return html`<p class="ratio">
    <b><data value="${figure.median}">${significant(figure.median)}</data>×</b> as fast as ${of}
    <small>(${quartilesText(figure)})</small>
  </p>`;
}
