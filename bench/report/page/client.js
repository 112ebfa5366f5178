/**
 * The page's script: draws the plots and makes the downloads. Every number that it shows was computed before; without it
 * the page lacks nothing but the drawings.
 */
'use strict';

/** What a sheet of paper is wide, without margins, in CSS pixels. */
const PAPER_WIDTH = 680;

const textOf = (id) => document.getElementById(id).textContent;

const micros = (value) => {
  const [scaled, unit] = value >= 1e6 ? [value / 1e6, 's'] : value >= 1e3 ? [value / 1e3, 'ms'] : [value, 'µs'];
  return `${Number(scaled.toPrecision(3))} ${unit}`;
};

const MIB = 2 ** 20;

const bytes = (value) => `${Number((value / MIB).toPrecision(3))} MiB`;

/** 1/(1-p) as the percentile that it stands for: 1,000 is p99.9. */
const percentile = (of) => `p${Number((100 * (1 - 1 / of)).toPrecision(2 + Math.ceil(Math.log10(of))))}`;

const decades = (least, most) => {
  const all = [];
  for (let power = Math.floor(Math.log10(least)); 10 ** power <= most * 1.0001; power++) all.push(10 ** power);
  return all.filter((value) => value >= least * 0.9999);
};

/** Where a logarithmic axis has room for more than its decades: 1, 2, 5. */
const steps = (least, most) =>
  most / least > 200
    ? decades(least, most)
    : decades(least, most)
        .flatMap((decade) => [decade, 2 * decade, 5 * decade])
        .filter((value) => value <= most * 1.0001);

/** About five round numbers of MiB. */
const evenSteps = (least, most) => {
  const rough = most / MIB / 5;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = MIB * decade * [1, 2, 5, 10].find((factor) => factor * decade >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
};

const xOf = {
  percentile: {
    splits: (least, most) => [1, 2, ...decades(10, most)].filter((of) => of >= least),
    text: percentile,
    tick: (of) => (of === 1 ? '' : percentile(of)),
  },
  routes: {
    splits: decades,
    text: (routes) => `${routes.toLocaleString('en')} routes`,
    tick: (routes) => routes.toLocaleString('en'),
  },
};

const isNumber = (value) => value !== null && value !== undefined;

/** The decades around all values: a logarithmic axis that ends within one is hard to read. */
const timeRange = (plot) => {
  const values = plot.series.flatMap((series) => series.values.filter(isNumber));
  return [10 ** Math.floor(Math.log10(Math.min(...values))), 10 ** Math.ceil(Math.log10(Math.max(...values)))];
};

const bytesRange = (plot) => [0, 1.1 * Math.max(...plot.series.flatMap((series) => series.values.filter(isNumber)))];

const yOf = {
  time: { distr: 3, range: timeRange, splits: steps, text: micros },
  bytes: { distr: 1, range: bytesRange, splits: evenSteps, text: bytes },
};

const colourOf = (element) => getComputedStyle(element).color;

/** Values under the pointer go to the legend. */
function showValues(chart, figure, plot) {
  const { idx } = chart.cursor;
  const x = isNumber(idx) ? plot.xs[idx] : null;
  figure.querySelector('.readout').textContent = x === null ? '' : xOf[plot.x.kind].text(x);
  for (const [index, element] of [...figure.querySelectorAll('.legend .value')].entries()) {
    const value = x === null ? null : plot.series[index].values[idx];
    element.textContent = isNumber(value) ? yOf[plot.y.kind].text(value) : '';
  }
}

function optionsOf(figure, plot, width, height) {
  const lines = [...figure.querySelectorAll('.legend .stroke')].map(colourOf);
  const ink = colourOf(figure.querySelector('.legend'));
  const grid = getComputedStyle(figure.querySelector('figcaption')).borderBottomColor;
  const [x, y] = [xOf[plot.x.kind], yOf[plot.y.kind]];
  const axis = {
    stroke: ink,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
    font: '12px system-ui',
  };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: {
      x: { time: false, distr: 3, range: () => [plot.xs[0], plot.xs.at(-1)] },
      y: { distr: y.distr, range: () => y.range(plot) },
    },
    axes: [
      {
        ...axis,
        size: 34,
        splits: (_, __, least, most) => x.splits(least, most),
        values: (_, splits) => splits.map(x.tick),
        filter: (_, splits) => splits,
      },
      {
        ...axis,
        size: 70,
        splits: (_, __, least, most) => y.splits(least, most),
        values: (_, splits) => splits.map(y.text),
        filter: (_, splits) => splits,
      },
    ],
    series: [
      {},
      ...plot.series.map((series, index) => ({
        label: series.label,
        stroke: lines[index],
        width: 2,
        dash: series.dash,
        spanGaps: true,
        // A dot on the maximum of a curve, and on each step of a few.
        points: {
          show: true,
          size: 7,
          fill: lines[index],
          filter: (_, __, show) => {
            const shown = series.values.flatMap((value, at) => (isNumber(value) ? [at] : []));
            return show === false ? null : plot.x.kind === 'percentile' ? shown.slice(-1) : shown;
          },
        },
      })),
    ],
    hooks: { setCursor: [(chart) => showValues(chart, figure, plot)] },
  };
}

const drawn = new Map();

function draw(figure, plot, width) {
  drawn.get(figure)?.destroy();
  figure.classList.add('drawn');
  const canvas = figure.querySelector('.canvas');
  const options = optionsOf(figure, plot, width ?? canvas.clientWidth, canvas.clientHeight);
  const data = [plot.xs, ...plot.series.map(({ values }) => values)];
  drawn.set(figure, new uPlot(options, data, canvas));
}

function drawAll(width) {
  for (const plot of plots) {
    const figure = document.querySelector(`[data-plot="${plot.id}"]`);
    if (figure !== null) draw(figure, plot, width);
  }
}

/** The links work in a copy of this one file, too. */
function download(event) {
  const link = event.currentTarget;
  const { source, type } = link.dataset;
  const text = type === 'application/json' ? textOf(source).trim() : JSON.parse(textOf(source));
  const url = URL.createObjectURL(new Blob([text], { type }));
  link.href = url;
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Draws what the window, the colour scheme or paper wants drawn anew. */
function keepDrawn() {
  drawAll();
  let width = innerWidth;
  addEventListener('resize', () => {
    // Phones resize the window when their address bar goes; only its width matters here.
    if (innerWidth !== width) drawAll();
    width = innerWidth;
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => drawAll());
  matchMedia('print').addEventListener('change', ({ matches }) => {
    document.documentElement.style.colorScheme = matches ? 'light' : '';
    drawAll(matches ? PAPER_WIDTH : undefined);
  });
}

const plots = JSON.parse(textOf('plots'));
for (const link of document.querySelectorAll('a[data-source]')) link.addEventListener('click', download);
if (typeof uPlot !== 'undefined') keepDrawn();
