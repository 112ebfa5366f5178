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

/**
 * The route's variables, read when the app first looks at them: asking the host costs some 0.2 ms and 100 pages of memory,
 * which most requests need not pay. What a request has read is forgotten with it.
 */
function environment(): Record<string, string> {
  let variables: Record<string, string> | undefined;
  const read = (): Record<string, string> => (variables ??= Object.fromEntries(getEnvironment()));
  return new Proxy<Record<string, string>>(
    {},
    {
      get: (_, name) => Reflect.get(read(), name) as unknown,
      has: (_, name) => Reflect.has(read(), name),
      ownKeys: () => Reflect.ownKeys(read()),
      getOwnPropertyDescriptor: (_, name) => Reflect.getOwnPropertyDescriptor(read(), name),
      set: (_, name, value) => Reflect.set(read(), name, value),
      deleteProperty: (_, name) => Reflect.deleteProperty(read(), name),
    },
  );
}

function responseOf(value: unknown): Response {
  if (value instanceof Response) return value;
  throw new TypeError(`fetch must return a Response, but it returned ${String(value)}`);
}

/** Not made for each request: an instance serves one. */
let current: EngineFetchEvent;
const context: Context = { waitUntil: (work) => current.waitUntil(work) };

/** An app that registered a listener itself is left alone. */
if (endInitialisation() === 0) {
  const handler: unknown = 'default' in app ? app.default : undefined;
  if (!isHandler(handler)) throw new Error('thaw:no-handler');
  const env = environment();
  // All in one function, and no `instanceof` where there is a Response: the engine interprets this, at 1 µs for each.
  addEventListener('fetch', (event) => {
    current = event;
    let answer: Response | Promise<Response>;
    try {
      const returned = handler.fetch(event.request, env, context) as Partial<object> | null | undefined;
      // A handler that returns a Response, and no promise of one, is answered without a turn of the event loop.
      if (returned?.constructor === Response) answer = returned as Response;
      else answer = Promise.resolve(returned).then(responseOf).catch(failed);
    } catch (error) {
      answer = failed(error);
    }
    event.respondWith(answer);
  });
}

// Read, and taken off, by the build: an app whose top level awaits for ever never gets here, and Wizer would not mind.
console.log('thaw:ready');
