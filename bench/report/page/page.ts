/** The report as one HTML file that needs nothing else: no network, no files beside it. */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PACKAGE_ROOT } from '../../../src/package.ts';
import { figuresOf, type ReportFigures } from '../figures.ts';
import type { DensityFigures } from '../figures/density.ts';
import type { ThroughputFigures } from '../figures/servers.ts';
import type { AppFigures } from '../figures/startup.ts';
import type { BenchReport } from '../format.ts';
import { methodOf } from '../method.ts';
import { bytes, counted } from '../numbers.ts';
import * as tables from '../tables.ts';
import { CAVEATS } from '../words.ts';
import { renderBars } from './bars.ts';
import { renderHeadline } from './headline.ts';
import { dataElement, html, scriptElement, styleElement, withCode, type Html } from './html.ts';
import { densityPlots, renderPlot, serversPlot, startsPlot, type Plot } from './plots.ts';
import { renderTable } from './tables.ts';

/** What the page is made of beside the report. */
type Assets = { readonly style: string; readonly scripts: readonly string[] };

/** A part of the page with its place in the contents. */
type Part = { readonly id: string; readonly title: string; readonly body: Html };

/** In the package as in a checkout: compiled code is elsewhere, these are not compiled. */
const ASSETS = join(PACKAGE_ROOT, 'bench/report/page');

const readAsset = (name: string): Promise<string> => readFile(join(ASSETS, name), 'utf8');

/** uPlot is an optional package: without it the page has no plots, and says so. */
async function readPlotter(name: string): Promise<string> {
  try {
    return await readFile(fileURLToPath(import.meta.resolve(`uplot/dist/${name}`)), 'utf8');
  } catch {
    return '';
  }
}

async function readAssets(): Promise<Assets> {
  const [style, client] = await Promise.all([readAsset('style.css'), readAsset('client.js')]);
  const [plotStyle, plotter] = await Promise.all([readPlotter('uPlot.min.css'), readPlotter('uPlot.iife.min.js')]);
  return { style: `${plotStyle}\n${style}`, scripts: [plotter, client].filter((script) => script !== '') };
}

/**
 * @param json the text of report.json, embedded as it is
 * @param markdown the text of report.md, for its download
 */
export async function reportPage(report: BenchReport, json: string, markdown: string): Promise<string> {
  return renderPage(report, json, markdown, await readAssets());
}

function renderPage(report: BenchReport, json: string, markdown: string, { style, scripts }: Assets): string {
  const figures = figuresOf(report);
  const plots = plotsOf(figures);
  const parts = partsOf(report, figures, plots, {
    json: Buffer.byteLength(json),
    markdown: Buffer.byteLength(markdown),
  });
  const app = figures.apps[0]?.name;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policyOf(scripts)}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <link rel="icon" href="data:," />
        <title>thaw startup report${app === undefined ? null : `: ${app}`}</title>
        ${styleElement(style)}
      </head>
      <body>
        ${renderHeadline(report, figures)}
        <nav aria-label="Contents">
          <ul>
            ${parts.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}
          </ul>
        </nav>
        <main>
          ${parts.map(
            ({ id, title, body }) =>
              html`<section id="${id}">
                <h2>${title}</h2>
                ${body}
              </section>`,
          )}
        </main>
        ${dataElement('plots', JSON.stringify(plots.all))} ${dataElement('report', json)}
        ${dataElement('markdown', JSON.stringify(markdown))} ${scripts.map(scriptElement)}
      </body>
    </html> `;
  return page.text;
}

/** The browser itself keeps the page from the network, and from running anything but its own scripts. */
function policyOf(scripts: readonly string[]): string {
  const hashes = scripts.map((script) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`);
  return `default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src ${hashes.join(' ')}`;
}

type Plots = {
  readonly starts: readonly Plot[];
  readonly servers: Plot | null;
  readonly density: readonly Plot[];
  readonly all: readonly Plot[];
};

function plotsOf({ apps, throughput, density }: ReportFigures): Plots {
  const starts = apps.map((app, index) => startsPlot(app, `starts-${index}`));
  const servers = throughput === null ? null : serversPlot(throughput, 'servers');
  const steps = density === null ? [] : densityPlots(density);
  return { starts, servers, density: steps, all: [...starts, ...(servers === null ? [] : [servers]), ...steps] };
}

type Sizes = { readonly json: number; readonly markdown: number };

function partsOf(report: BenchReport, figures: ReportFigures, plots: Plots, sizes: Sizes): Part[] {
  const { apps, throughput, density } = figures;
  return [
    ...(apps.length > 1 ? [{ id: 'apps', title: 'All apps', body: renderTable(tables.appsTable(apps)) }] : []),
    ...apps.map((app, index) => appPart(app, index, plots.starts[index])),
    ...(throughput === null ? [] : [serversPart(throughput, plots.servers)]),
    ...(density === null ? [] : [densityPart(density, plots.density)]),
    { id: 'machine', title: 'Machine', body: renderTable(tables.machineTable(report)) },
    methodPart(figures, report.notes),
    dataPart(sizes),
  ];
}

function appPart(app: AppFigures, index: number, plot: Plot | undefined): Part {
  const percentiles = tables.percentilesTable(app);
  const advice =
    app.advice.length === 0
      ? null
      : html`<aside class="advice">
          <b>For its author</b>
          <ul>
            ${app.advice.map((item) => html`<li>${item}</li>`)}
          </ul>
        </aside>`;
  const body = html`<p class="about">${app.about}</p>
    ${advice} ${renderTable(tables.waysTable(app))} ${renderBars(app)} ${renderTable(tables.phasesTable(app))}
    ${plot === undefined ? null : renderPlot(plot, percentiles.caption)} ${renderTable(percentiles)}
    ${renderTable(tables.snapshotTable(app))}`;
  return { id: `app-${index}`, title: app.name, body };
}

function serversPart(throughput: ThroughputFigures, plot: Plot | null): Part {
  const latency = tables.latencyTable(throughput);
  const body = html`<p>
      What clients see, of ${throughput.app}. Servers that give every request fresh state come first. Pinning:
      ${throughput.pinning}.
    </p>
    ${renderTable(tables.peersTable(throughput))} ${plot === null ? null : renderPlot(plot, latency.caption)}
    ${renderTable(latency)} ${renderTable(tables.throughputTable(throughput))}
    ${renderTable(tables.commandsTable(throughput))}`;
  return { id: 'servers', title: 'Servers', body };
}

function densityPart(density: DensityFigures, plots: readonly Plot[]): Part {
  const { about, slots, bytesPerRoute } = density;
  const table = tables.densityTable(density);
  const slope =
    bytesPerRoute === null
      ? null
      : html` One more route takes <data value="${bytesPerRoute}">${bytes(bytesPerRoute)}</data> of memory.`;
  const body = html`<p>${about} ${counted(slots)} slots.${slope}</p>
    <div class="pair">${plots.map((plot) => renderPlot(plot, table.caption))}</div>
    ${renderTable(table)}`;
  return { id: 'density', title: 'Density', body };
}

function methodPart(figures: ReportFigures, notes: readonly string[]): Part {
  const ofThisRun =
    notes.length === 0
      ? null
      : html`<h3>Notes of this run</h3>
          <ul>
            ${notes.map((note) => html`<li>${note}</li>`)}
          </ul>`;
  const body = html`${ofThisRun}
    <h3>Caveats</h3>
    <ul>
      ${CAVEATS.map((caveat) => html`<li>${caveat}</li>`)}
    </ul>
    ${methodOf(figures).map(
      ({ title, words }) =>
        html`<h3>${title}</h3>
          <dl>
            ${words.map(
              ({ name, about }) =>
                html`<dt>${name}</dt>
                  <dd>${withCode(about)}</dd>`,
            )}
          </dl>`,
    )}`;
  return { id: 'method', title: 'Method and caveats', body };
}

const dataPart = (sizes: Sizes): Part => ({
  id: 'data',
  title: 'Data',
  body: html`<p>
      Every raw round is in this file, and report.json and report.md were written beside it. All numbers above can be
      computed from them by the formulas of the method.
    </p>
    <p class="downloads">
      <a href="report.json" download="report.json" data-source="report" data-type="application/json">
        report.json, ${bytes(sizes.json)}
      </a>
      <a href="report.md" download="report.md" data-source="markdown" data-type="text/markdown">
        report.md, ${bytes(sizes.markdown)}
      </a>
    </p>`,
});
