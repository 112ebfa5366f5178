import { endInitialisation } from './guard.ts';
import * as app from 'thaw:app';
import { getEnvironment } from 'wasi:cli/environment@0.2.10';

/** The third argument of the handler. */
type Context = { waitUntil(work: Promise<unknown>): void };
type Handler = { fetch(request: Request, env: Record<string, string>, ctx: Context): unknown };

const isHandler = (value: unknown): value is Handler =>
  value !== null &&
  (typeof value === 'object' || typeof value === 'function') &&
  'fetch' in value &&
  typeof value.fetch === 'function';

/** What the client sees is fixed; the reason goes to the log. */
function failed(error: unknown): Response {
  console.error(error instanceof Error ? `${error}\n${error.stack ?? ''}` : `thrown by the handler: ${String(error)}`);
  return new Response('Internal Server Error\n', { status: 500, headers: { 'content-type': 'text/plain' } });
}

async function answer(handler: Handler, event: EngineFetchEvent): Promise<Response> {
  try {
    const env = Object.fromEntries(getEnvironment());
    const response = await handler.fetch(event.request, env, { waitUntil: (work) => event.waitUntil(work) });
    if (response instanceof Response) return response;
    throw new TypeError(`fetch must return a Response, but it returned ${String(response)}`);
  } catch (error) {
    return failed(error);
  }
}

/** An app that registered a listener itself is left alone. */
if (endInitialisation() === 0) {
  const handler: unknown = 'default' in app ? app.default : undefined;
  if (!isHandler(handler)) throw new Error('thaw:no-handler');
  addEventListener('fetch', (event) => event.respondWith(answer(handler, event)));
}

// Read, and taken off, by the build: an app whose top level awaits for ever never gets here, and Wizer would not mind.
console.log('thaw:ready');
