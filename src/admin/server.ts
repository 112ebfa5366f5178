import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { isIPv6 } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ThawError, messageOf } from '../errors.ts';
import type { Answer } from './endpoints.ts';
import { ENDPOINTS, failure } from './endpoints.ts';
import { isTrustedHost } from './host.ts';
import type { AdminView } from './view.ts';

/** Probes and curl send their heads at once; a client that needs longer holds the connection, not us. */
const HEADERS_TIMEOUT_MS = 5000;

/** No body is taken, so the whole request is its head. */
const REQUEST_TIMEOUT_MS = HEADERS_TIMEOUT_MS;

/** Longer than the second between two looks of a watcher, shorter than the 10 s between two probes of a kubelet. */
const KEEP_ALIVE_TIMEOUT_MS = 5000;

/** How late a timeout may be noticed. */
const CONNECTIONS_CHECK_MS = 1000;

/** Bytes of a request head: no endpoint reads a header but Host. */
const MAX_HEADER_BYTES = 8192;

/** A few probes, scrapers and people at once; more would be a leak on their side. */
const MAX_CONNECTIONS = 128;

/** How long `close` waits for answers on their way. */
const CLOSE_GRACE_MS = 1000;

type AdminOptions = {
  readonly node: AdminView;
  /** Where to listen. Loopback unless given: whoever reaches the listener reads routes and timings. Port 0 takes any. */
  readonly listen: { readonly host?: string; readonly port: number };
  /** Told of failures that the client sees as 500 or as a broken answer. `target` is the request target. */
  readonly onError: (error: unknown, target: string) => void;
};

export type AdminServer = {
  /** `http://127.0.0.1:9090`, with the real port. */
  readonly url: string;
  /** Answers what has been asked, for a second at most, and closes. */
  close(): Promise<void>;
};

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;

/** @throws ThawError with the status for a request that is not to be answered. */
async function answerTo(request: IncomingMessage, node: AdminView, boundTo: string): Promise<Answer> {
  const { method = '', url: target = '', headers } = request;
  if (!isTrustedHost(headers.host, boundTo)) {
    throw new ThawError('ADMIN_HOST_REFUSED', `the Host header ${JSON.stringify(headers.host)} is not this listener's`);
  }
  if (hasBody(request)) throw new ThawError('ADMIN_BODY_REFUSED', `${method} ${target} came with a body`);
  const [path = '', ...query] = target.split('?');
  const endpoint = ENDPOINTS.get(path);
  if (endpoint === undefined)
    throw new ThawError('ADMIN_NOT_FOUND', `no endpoint has the path ${JSON.stringify(path)}`);
  if (method !== 'GET' && method !== 'HEAD') {
    throw new ThawError('METHOD_NOT_ALLOWED', `${path} takes GET and HEAD, not ${method}`);
  }
  return endpoint.answer(node, new URLSearchParams(query.join('?')));
}

function headersOf({ contentType, body, status }: Answer): Record<string, string | number> {
  return {
    'content-type': contentType,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(typeof body === 'string' ? { 'content-length': Buffer.byteLength(body) } : {}),
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
    // Otherwise Node would read the refused body to its end, however long, to get at the next request.
    ...(status === 413 ? { connection: 'close' } : {}),
  };
}

async function send(request: IncomingMessage, response: ServerResponse, answer: Answer): Promise<void> {
  response.writeHead(answer.status, headersOf(answer));
  if (request.method === 'HEAD') response.end();
  else if (typeof answer.body === 'string') response.end(answer.body);
  else await pipeline(Readable.from(answer.body), response);
}

async function serve(request: IncomingMessage, response: ServerResponse, options: AdminOptions): Promise<void> {
  const { node, listen, onError } = options;
  let answer: Answer;
  try {
    answer = await answerTo(request, node, listen.host ?? '');
  } catch (error) {
    if (error instanceof ThawError && error.status < 500) answer = failure(error);
    else {
      onError(error, request.url ?? '');
      answer = failure(new ThawError('INTERNAL', 'the node failed to answer; its log says why'));
    }
  }
  await send(request, response, answer);
}

function newServer(options: AdminOptions): Server {
  const limits = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: CONNECTIONS_CHECK_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  const server = createServer(limits, (request, response) => {
    serve(request, response, options).catch((error: unknown) => {
      // The client may leave in the middle of an answer; that is its right, and no failure of the node.
      if (!request.socket.destroyed) options.onError(error, request.url ?? '');
      response.destroy();
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

function listen(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const refuse = (error: Error): void => {
    const where = `the admin listener on ${host} port ${port}`;
    reject(new ThawError('LISTEN_FAILED', `opening ${where}: ${messageOf(error)}`, { cause: error }));
  };
  server.once('error', refuse);
  server.listen(port, host, () => {
    server.off('error', refuse);
    resolve();
  });
  return promise;
}

function urlOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new ThawError('INTERNAL', 'the admin listener has no port');
  return `http://${isIPv6(address.address) ? `[${address.address}]` : address.address}:${address.port}`;
}

function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const patience = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  server.close(() => {
    clearTimeout(patience);
    resolve();
  });
  return promise;
}

/**
 * Opens the node's own endpoints (see endpoints.ts), on loopback unless told otherwise.
 *
 * @throws ThawError `LISTEN_FAILED` when the address cannot be had.
 */
export async function createAdminServer(options: AdminOptions): Promise<AdminServer> {
  const server = newServer(options);
  await listen(server, options.listen.host ?? '127.0.0.1', options.listen.port);
  return { url: urlOf(server), close: () => close(server) };
}
