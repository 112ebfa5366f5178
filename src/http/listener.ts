import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { ConnectionCounts } from './connections.ts';
import { LINGER_MS } from './request-body.ts';

/** Slow headers are cut off after this; Node looks at connections this often. CONVENTIONS: in under 12 s together. */
const HEADERS_TIMEOUT_MS = 10_000;
const CHECK_INTERVAL_MS = 1000;
/** An idle connection is kept for the client's next request. */
const KEEP_ALIVE_MS = 5000;
/** As nginx has it: a connection that never ends would stay with one thread whatever the others have to do. */
const MAX_REQUESTS_PER_CONNECTION = 1000;
/** Between two lines of the log about connections that were refused: there may be thousands in a second. */
const REFUSAL_LOG_MS = 10_000;

export type ListenerInput = {
  readonly connections: ConnectionCounts;
  readonly log: Logger;
  /** The longest that any request may take. */
  readonly longestWallMs: number;
  /** @param onAccepted tells a client that waits for it to send its body; undefined for those that do not wait */
  readonly handle: (request: IncomingMessage, response: ServerResponse, onAccepted?: () => void) => void;
};

export type Listener = {
  readonly server: Server;
  /**
   * The response that each connection has under way is its last: a client that goes on to send requests shall take
   * another connection. One whose head is out stays as it is.
   */
  readonly lastResponses: () => void;
};

/** The latest response, how many there were, and how many requests came behind the last one. */
type Connection = { last: ServerResponse; count: number; ignored: number };

/**
 * Node's HTTP server with the limits that hold before there is a request: on connections, and on the time in which a
 * request must arrive. Nothing here is ever lenient (`insecureHTTPParser`), and nothing upgrades: a request that asks
 * for an upgrade is served as if it had not (RFC 9110, section 7.8), so that no other protocol gets past the routes.
 */
export function createListener({ connections, log, longestWallMs, handle }: ListenerInput): Listener {
  const server = createServer({
    headersTimeout: HEADERS_TIMEOUT_MS,
    // A guest that waits for a body is ended by its route's limit; this is for bodies that nobody reads.
    requestTimeout: HEADERS_TIMEOUT_MS + longestWallMs + LINGER_MS,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // A request without a body has no stream that must be ended.
    optimizeEmptyRequests: true,
  });
  // Node would drop those above its limit in silence, a second Host among them; 16 KiB hold 4,000 at most.
  server.maxHeadersCount = 0;
  const served = new Map<Duplex, Connection>();
  /** Behind a response that is the last of its connection nothing is served: it may be what the last one smuggled. */
  const isNext = ({ socket }: IncomingMessage, response: ServerResponse): boolean => {
    const connection = served.get(socket);
    if (connection === undefined) {
      served.set(socket, { last: response, count: 1, ignored: 0 });
      socket.once('close', () => served.delete(socket));
      return true;
    }
    if (!connection.last.shouldKeepAlive) {
      // Node keeps each of them until the last response has been sent.
      if (++connection.ignored > MAX_REQUESTS_PER_CONNECTION) socket.destroy();
      return false;
    }
    connection.last = response;
    if (++connection.count === MAX_REQUESTS_PER_CONNECTION) response.shouldKeepAlive = false;
    return true;
  };
  server.on('request', (request, response) => {
    if (isNext(request, response)) handle(request, response);
  });
  // A body that will be refused is not asked for.
  server.on('checkContinue', (request, response) => {
    if (!isNext(request, response)) return;
    inTurn(response, () => handle(request, response, () => response.writeContinue()));
  });
  server.on('connect', ({ socket }: IncomingMessage) => refuseTunnel(socket, served.get(socket)?.last));
  limitConnections(server, connections, log);
  const lastResponses = (): void => {
    for (const { last } of served.values()) if (!last.headersSent) last.shouldKeepAlive = false;
  };
  return { server, lastResponses };
}

/**
 * Waits until the responses before this one have left. What is written to one that waits behind others, Node may send
 * behind its head: a `100 Continue` would be the beginning of the body.
 */
function inTurn(response: ServerResponse, work: () => void): void {
  if (response.socket === null) response.once('socket', () => process.nextTick(work));
  else work();
}

/** The answer to CONNECT. Node hands over the bare socket; an answer before those that are due would be taken for one of them. */
function refuseTunnel(socket: IncomingMessage['socket'], last: ServerResponse | undefined): void {
  socket.on('error', () => {});
  if (last !== undefined && !last.closed) socket.destroy();
  else {
    socket.write('HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    socket.destroySoon();
  }
}

function limitConnections(server: Server, connections: ConnectionCounts, log: Logger): void {
  let refused = 0;
  let loggedAt = Number.NEGATIVE_INFINITY;
  // Before Node's own listener, which then finds a socket that is gone.
  server.prependListener('connection', (socket) => {
    const client = socket.remoteAddress;
    const limit = connections.enter(socket);
    if (limit === null) return;
    // Without a word, and without the state that a closed connection would leave with the system.
    socket.resetAndDestroy();
    refused++;
    if (performance.now() - loggedAt < REFUSAL_LOG_MS) return;
    loggedAt = performance.now();
    log.warn({ client, refused }, `connections over limits.${KEYS[limit]} are closed`);
    refused = 0;
  });
}

const KEYS = { connections: 'connections', connectionsPerAddress: 'connections_per_address' } as const;
