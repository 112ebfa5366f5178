import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { figuresOf, headlineOf } from '../../../bench/report/figures.ts';
import type { BenchReport, Way } from '../../../bench/report/format.ts';
import { parseReport } from '../../../bench/report/parse.ts';
import { plainText, type Table } from '../../../bench/report/table.ts';
import * as tables from '../../../bench/report/tables.ts';
import { writeReport } from '../../../bench/report/write.ts';
import { quantile, spreadOf } from '../../../bench/support/statistics.ts';
import { findChromium, launch, open, type Opened } from './browser.ts';
import { fixtureReport, HOSTILE } from './fixture.ts';

const chromium = findChromium();
const skip = chromium === null ? 'there is no chromium on PATH, and CHROMIUM names none' : false;

/** A desktop, a phone, and a sheet of A4 between its margins, in CSS pixels. */
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
const PAPER = { width: 718, height: 1000 };

const directory = mkdtempSync(join(tmpdir(), 'thaw-page-'));
const fileOf = (name: string): string => join(directory, name, 'report.html');

/** The reports of this test: all there is, a quick run of one suite, one with a failure, one that says the worst. */
const NAMES = ['full', 'quick', 'failed', 'hostile'];

let browser: Browser;

const opened = new Map<string, Opened>();

/** A report in a window of a desktop, opened once. Who changes the window changes it back. */
async function show(name: string): Promise<Opened> {
  const found = opened.get(name) ?? (await open(browser, fileOf(name)));
  opened.set(name, found);
  return found;
}

before(async () => {
  if (chromium === null) return;
  const report = fixtureReport({ rounds: 5 });
  await writeReport(report, join(directory, 'full'));
  await writeReport(fixtureReport({ rounds: 2, hostile: true }), join(directory, 'hostile'));
  await writeReport({ ...report, isQuick: true, throughput: null, density: null }, join(directory, 'quick'));
  await writeReport(withoutWizer(report), join(directory, 'failed'));
  browser = await launch(chromium);
});

after(async () => {
  if (chromium !== null) await browser.close();
  rmSync(directory, { recursive: true, force: true });
});

/** The first app's Wizer way has failed. */
function withoutWizer(report: BenchReport): BenchReport {
  const [app, ...others] = report.startup?.apps ?? [];
  assert.ok(app !== undefined);
  const ways = app.ways.map((way) =>
    way.way === 'wizer' ? { ...way, outcome: { kind: 'failed', message: 'wizer <trapped>' } as const } : way,
  );
  return { ...report, startup: { apps: [{ ...app, ways }, ...others] } };
}

/** The report that a page carries. */
const embedded = async (page: Page): Promise<BenchReport> =>
  parseReport((await page.locator('#report').textContent()) ?? '');

/** Every table of a page: caption, head and rows as text, a number with its quartiles as in Markdown. */
const shownTables = (page: Page): Promise<string[][][]> =>
  page.evaluate(`[...document.querySelectorAll('table')].map((table) => {
    const text = (element) => element.textContent.replaceAll(/\\s+/g, ' ').trim();
    const cell = (element) => {
      const small = element.querySelector('small');
      return small === null ? text(element) : text(element).replace(text(small), '') + ' (' + text(small) + ')';
    };
    return [[text(table.caption)], ...[...table.rows].map((row) => [...row.cells].map(cell))];
  })`);

const textOf = ({ caption, columns, rows }: Table): string[][] => [
  [caption],
  columns.map(({ label, unit }) => (unit === undefined ? label : `${label}, ${unit}`)),
  ...rows.map(({ header, body }) => [
    plainText(header),
    ...('kind' in body ? [`${body.kind}: ${body.message}`] : body.map(plainText)),
  ]),
];

const clean = (all: readonly string[][][]): string[][][] =>
  all.map((table) => table.map((row) => row.map((cell) => cell.replaceAll(/\s+/g, ' ').trim())));

/** The tables of a report in the order of the page. */
function tablesOf(report: BenchReport): Table[] {
  const { apps, throughput, density } = figuresOf(report);
  const { waysTable, phasesTable, percentilesTable, snapshotTable } = tables;
  return [
    ...(apps.length > 1 ? [tables.appsTable(apps)] : []),
    ...apps.flatMap((app) => [waysTable(app), phasesTable(app), percentilesTable(app), snapshotTable(app)]),
    ...(throughput === null
      ? []
      : [tables.peersTable, tables.latencyTable, tables.throughputTable, tables.commandsTable].map((make) =>
          make(throughput),
        )),
    ...(density === null ? [] : [tables.densityTable(density)]),
    tables.machineTable(report),
  ];
}

/** Waits until an expression holds on a page; the page's own policy lets nothing be evaluated in it that could wait. */
async function eventually(page: Page, expression: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  while ((await page.evaluate(expression)) !== true) {
    assert.ok(Date.now() < deadline, `on the page: ${expression}`);
    await setTimeout(20);
  }
}

/** What an expression of a function, in text, makes of each element. */
const evaluateAll = <T>(page: Page, selector: string, of: string): Promise<T[]> =>
  page.evaluate(`[...document.querySelectorAll('${selector}')].map(${of})`);

const widthOf = (page: Page): Promise<number> => page.evaluate('document.documentElement.scrollWidth');

/** The contrast of two colours as WCAG 2.2 defines it, of elements on the page's background. */
const contrastOf = (page: Page, selector: string): Promise<number> =>
  page.evaluate(`(() => {
    const luminance = (colour) => {
      const [red, green, blue] = colour.match(/[\\d.]+/g).map(Number).map((value) => value / 255)
        .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const colours = [getComputedStyle(document.querySelector('${selector}')).color, getComputedStyle(document.body).backgroundColor];
    const [dark, light] = colours.map(luminance).sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  })()`);

/** How many different colours each plot has: an empty canvas has one. */
const coloursOfPlots = (page: Page): Promise<number[]> =>
  page.evaluate(`[...document.querySelectorAll('.plot')].map((figure) => {
    const canvas = figure.querySelector('canvas');
    if (canvas === null) return 0;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  })`);

describe('the page', { skip }, () => {
  test('renders without a complaint, and asks the network for nothing', async () => {
    for (const name of NAMES) {
      const { page, complaints, requests } = await show(name);
      assert.deepEqual(complaints, [], name);
      assert.deepEqual(requests, [`file://${fileOf(name)}`], name);
      assert.ok(
        (await coloursOfPlots(page)).every((count) => count > 20),
        name,
      );
    }
  });

  test('its tables have the numbers of the JSON that it carries', async () => {
    for (const name of NAMES) {
      const { page } = await show(name);
      const report = await embedded(page);
      assert.deepEqual(report, parseReport(readFileSync(join(directory, name, 'report.json'), 'utf8')));
      assert.deepEqual(await shownTables(page), clean(tablesOf(report).map(textOf)));
    }
  });

  test('the first screen answers, with numbers that can be computed from the JSON by hand', async () => {
    const { page } = await show('full');
    const report = await embedded(page);
    const medians = (way: Way): number[] => {
      const rounds = report.startup?.apps[0]?.ways.find((one) => one.way === way)?.rounds ?? [];
      return rounds.map(({ total }) =>
        quantile(
          total.toSorted((a, b) => a - b),
          0.5,
        ),
      );
    };
    const quotient = (above: Way, below: Way): number => {
      const divisors = medians(below);
      return spreadOf(medians(above).map((value, round) => value / (divisors[round] ?? Number.NaN))).median;
    };
    const expected = [
      spreadOf(medians('initialise')).median / 1000,
      spreadOf(medians('wizer')).median / 1000,
      quotient('initialise', 'wizer'),
      ...(['switch', 'hot'] as const).flatMap((way) => [
        spreadOf(medians(way)).median / 1000,
        quotient('initialise', way),
        quotient('wizer', way),
      ]),
    ];
    const shown = await evaluateAll<[number, string]>(
      page,
      '.cards data',
      '(one) => [Number(one.value), one.textContent]',
    );
    assert.equal(shown.length, expected.length);
    for (const [index, [value, text]] of shown.entries()) {
      const wanted = expected[index] ?? Number.NaN;
      assert.ok(Math.abs(value - wanted) <= 1e-9 * wanted, `${value}, not ${wanted}`);
      assert.ok(Math.abs(Number(text) - wanted) <= 0.005 * wanted, `${text} for ${wanted}`);
    }
  });

  for (const [name, viewport] of Object.entries({ phone: PHONE, desktop: DESKTOP }))
    test(`the answers are on the first screen of a ${name}`, async () => {
      const { page } = await open(browser, fileOf('full'), { viewport });
      const answers = page.locator('.cards .time');
      assert.equal(await answers.count(), 4);
      for (const answer of await answers.all()) {
        const box = await answer.boundingBox();
        assert.ok(
          box !== null && box.y >= 0 && box.y + box.height <= viewport.height && box.x + box.width <= viewport.width,
        );
      }
    });

  test('a way that failed says so in its card, with its message', async () => {
    const { page } = await show('failed');
    const card = page.locator('.card.way-wizer');
    assert.match((await card.textContent()) ?? '', /failed: wizer <trapped>/);
    assert.equal(await card.locator('data').count(), 0);
    assert.equal(headlineOf(figuresOf(await embedded(page)))?.ways[1]?.time, null);
  });

  test('what a report says is text, wherever it stands', async () => {
    const { page } = await show('hostile');
    assert.equal(await page.locator('img, a[href^="https:"], iframe').count(), 0);
    assert.ok(((await page.locator('h1').textContent()) ?? '').includes(HOSTILE.replaceAll(/\s+/g, ' ').slice(0, 40)));
    assert.ok((await page.title()).includes('</script><img'));
  });

  test('a phone needs not scroll sideways, whatever the report says, and plots follow the window', async () => {
    for (const name of NAMES) {
      const { page } = await show(name);
      await page.setViewportSize(PHONE);
      await eventually(page, `document.querySelector('.plot canvas').getBoundingClientRect().right <= ${PHONE.width}`);
      assert.ok((await widthOf(page)) <= PHONE.width, name);
      await page.setViewportSize(DESKTOP);
    }
  });

  test('is light or dark as the reader likes it, and can be read in both', async () => {
    const { page } = await open(browser, fileOf('quick'));
    const background = (): Promise<string> => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const pixels = (): Promise<string> => page.evaluate(`document.querySelector('.plot canvas').toDataURL()`);
    const light = { background: await background(), pixels: await pixels() };
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      for (const selector of ['h1', '.made', 'nav a', '.card .quartiles', 'thead th', '.legend'])
        assert.ok((await contrastOf(page, selector)) >= 4.5, `${selector}, ${colorScheme}`);
      const colours = new Set(await evaluateAll<string>(page, '.stroke, .swatch', '(one) => one.classList[1]'));
      assert.ok(colours.size > 6);
      for (const colour of colours) assert.ok((await contrastOf(page, `.${colour}`)) >= 3, `${colour}, ${colorScheme}`);
    }
    assert.notEqual(await background(), light.background);
    assert.notEqual(await pixels(), light.pixels);
  });

  test('on paper it is black on white, fits the sheet and has no controls', async () => {
    const { page } = await open(browser, fileOf('full'), { viewport: PAPER, colorScheme: 'dark' });
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    await eventually(page, `document.documentElement.style.colorScheme === 'light'`);
    assert.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'), 'rgb(255, 255, 255)');
    assert.ok((await contrastOf(page, 'h1')) > 12);
    assert.ok((await widthOf(page)) <= PAPER.width);
    for (const control of ['nav', '.downloads']) assert.equal(await page.locator(control).isVisible(), false);
    await page.emulateMedia({ media: 'screen', colorScheme: 'dark' });
    await eventually(page, `document.documentElement.style.colorScheme === ''`);
  });

  test('the raw data and the Markdown can be saved from it', async () => {
    const { page, complaints } = await open(browser, fileOf('full'), { acceptDownloads: true });
    for (const name of ['report.json', 'report.md']) {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.locator(`a[download="${name}"]`).click(),
      ]);
      assert.equal(download.suggestedFilename(), name);
      assert.equal(
        readFileSync(await download.path(), 'utf8').trim(),
        readFileSync(join(directory, 'full', name), 'utf8').trim(),
      );
    }
    assert.deepEqual(complaints, []);
  });

  test('without scripts it lacks nothing but the drawings, and says so', async () => {
    const { page } = await open(browser, fileOf('quick'), { javaScriptEnabled: false });
    assert.equal(await page.locator('.plot .fallback').first().isVisible(), true);
    assert.equal(await page.locator('.cards data').first().isVisible(), true);
  });

  test('can be heard: one h1, no level left out, tables with captions and scopes, drawings with words', async () => {
    const { page } = await show('full');
    const levels = await evaluateAll<number>(page, 'h1, h2, h3, h4', '(one) => Number(one.tagName[1])');
    assert.equal(levels.filter((level) => level === 1).length, 1);
    assert.equal(levels[0], 1);
    for (const [index, level] of levels.slice(1).entries()) assert.ok(level <= (levels[index] ?? 0) + 1);
    assert.equal(
      await page.locator('table:not(:has(caption)), th:not([scope]), [role=img]:not([aria-label])').count(),
      0,
    );
    assert.equal(await page.locator('html[lang=en]').count(), 1);
    const targets = await evaluateAll<boolean>(page, 'nav a', '(one) => document.querySelector(one.hash) !== null');
    assert.ok(targets.length > 5 && targets.every(Boolean));
  });
});
