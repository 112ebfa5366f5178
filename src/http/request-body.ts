import type { IncomingMessage, ServerResponse } from 'node:http';

/** The headers say so; it may be empty all the same when it comes in chunks. */
export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/**
 * What a client can have under way before it hears that nobody wants its body: the largest buffers that Linux gives a
 * connection by itself, 4 MiB to send and 6 MiB to receive, with room for what it writes while it reads the answer.
 */
export const LINGER_BYTES = 16 * 1_048_576;

/** How long a client may take over that: many round trips of a slow link. */
export const LINGER_MS = 2000;

/**
 * Reads what is left of a request body and throws it away, so that the connection can go on to the next request. A
 * client that sends more than `maxBytes` is cut off.
 */
export function discardRest(body: IncomingMessage, maxBytes: number): void {
  if (body.readableEnded || body.destroyed || body.readableFlowing === true) return;
  // As long as somebody listens for `readable`, a stream does not flow.
  body.removeAllListeners('readable');
  let left = maxBytes;
  body.on('data', ({ length }: Buffer) => {
    left -= length;
    if (left < 0) body.destroy();
  });
  body.resume();
}

/**
 * Ends a response whose bytes are all written, once the request's body is out of the way: ending may close the
 * connection, and closing it while bytes arrive resets it, so that the client would never read the response (RFC 9112,
 * section 9.6).
 */
export function endAfterBody(request: IncomingMessage, response: ServerResponse): void {
  const end = (): void => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(() => {
    // It sends on, slowly: it has had the time to read the answer.
    response.end(() => request.socket.destroy());
  }, LINGER_MS);
  request.once('close', end);
  discardRest(request, LINGER_BYTES);
}
