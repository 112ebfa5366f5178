import { ThawError } from '../errors.ts';
import { startupJson } from '../metrics/exposition.ts';
import { hlogText } from '../metrics/hlog.ts';
import { PHASES, START_KINDS } from '../metrics/phases.ts';
import type { AdminView, HealthCheck } from './view.ts';

/** An answer. A body in pieces is written with back-pressure, and not begun for HEAD. */
export type Answer = {
  readonly status: number;
  readonly contentType: 'text/plain; charset=utf-8' | 'application/json; charset=utf-8';
  readonly body: string | AsyncIterable<string>;
};

type Endpoint = {
  readonly about: string;
  readonly answer: (node: AdminView, query: URLSearchParams) => Answer | Promise<Answer>;
};

const text = (status: number, body: string): Answer => ({ status, contentType: 'text/plain; charset=utf-8', body });

const json = (status: number, body: string | AsyncIterable<string>): Answer => ({
  status,
  contentType: 'application/json; charset=utf-8',
  body,
});

/** The JSON answer to a request that failed. */
export function failure(error: ThawError): Answer {
  const { code, message, help, status } = error;
  return json(status, `${JSON.stringify({ error: { code, message, help } })}\n`);
}

/** 200 `ok`, or 503 with the checks; with `?verbose` the checks in either case, written as the Kubernetes API server does. */
function healthAnswer(name: string, checks: readonly HealthCheck[], query: URLSearchParams): Answer {
  const passed = checks.every((check) => check.failure === null);
  if (passed && !query.has('verbose')) return text(200, 'ok\n');
  const lines = checks.map(({ name, failure }) =>
    failure === null ? `[+]${name} ok` : `[-]${name} failed: ${failure}`,
  );
  return text(passed ? 200 : 503, `${[...lines, `${name} check ${passed ? 'passed' : 'failed'}`].join('\n')}\n`);
}

async function livez(node: AdminView, query: URLSearchParams): Promise<Answer> {
  const process: HealthCheck = { name: 'process', gate: 'live', failure: null };
  const live = (await node.health()).checks.filter((check) => check.gate === 'live');
  return healthAnswer('livez', [process, ...live], query);
}

async function readyz(node: AdminView, query: URLSearchParams): Promise<Answer> {
  const { draining, checks } = await node.health();
  const drain: HealthCheck = { name: 'drain', gate: 'ready', failure: draining ? 'the node is shutting down' : null };
  return healthAnswer('readyz', [drain, ...checks], query);
}

/**
 * `?route=<id>` shows one route; `?format=hlog` answers with that route's HDR log, or the one of all routes.
 *
 * @throws ThawError `ADMIN_NOT_FOUND` for a route that is neither served nor was.
 */
async function startup(node: AdminView, query: URLSearchParams): Promise<Answer> {
  const histograms = await node.startup();
  const routeId = query.get('route');
  const started = histograms.routeIds();
  if (routeId !== null && !started.includes(routeId) && !(await node.routes()).some(({ id }) => id === routeId)) {
    throw new ThawError('ADMIN_NOT_FOUND', `no route has the id ${JSON.stringify(routeId)}`);
  }
  if (query.get('format') === 'hlog') {
    const series = routeId === null ? histograms.ofAll() : histograms.ofRoute(routeId);
    return text(200, hlogText(series, histograms.startedAtMs, Date.now()));
  }
  return json(200, startupJson(histograms, routeId === null ? started : [routeId]));
}

const glossary = (title: string, words: readonly (readonly [string, string])[]): string =>
  `${title}\n${words.map(([word, meaning]) => `  ${word.padEnd(12)} ${meaning}\n`).join('')}`;

/** The endpoints, and the words that `/startup` uses. */
function index(): Answer {
  const endpoints = Array.from(ENDPOINTS, ([path, { about }]) => [path, about] as const);
  return text(
    200,
    glossary('endpoints', endpoints) +
      glossary('start kinds', Object.entries(START_KINDS)) +
      glossary('phases', Object.entries(PHASES)),
  );
}

/** Every path that the admin listener answers. All take GET and HEAD. */
export const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map<string, Endpoint>([
  ['/', { about: 'this list', answer: index }],
  ['/livez', { about: 'is the process alive; ?verbose lists the checks', answer: livez }],
  ['/readyz', { about: 'may traffic come, 503 from the start of a drain; ?verbose lists the checks', answer: readyz }],
  ['/healthz', { about: 'the same as /readyz', answer: readyz }],
  [
    '/routes',
    {
      about: 'what is served, by which snapshot, in how many slots, and what limits have stopped (JSON)',
      answer: async (node) => json(200, `${JSON.stringify({ routes: await node.routes() })}\n`),
    },
  ],
  ['/startup', { about: 'starts by route, kind and phase (JSON); ?route=<id>, ?format=hlog', answer: startup }],
]);
