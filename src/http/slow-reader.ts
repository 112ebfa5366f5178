import type { ServerResponse } from 'node:http';

/** Slower than any link that people still use: a modem of 128 kbit/s. */
const MIN_BYTES_PER_SECOND = 16_384;

/**
 * Cuts the connection of a client that does not take the rest of a response: the guest has written all of it, so that
 * no limit of the guest's ends this. The client has `wallMs` more, and as long as the bytes that wait need on a slow
 * link.
 */
export function cutSlowReader(
  response: ServerResponse,
  wallMs: number,
  minBytesPerSecond = MIN_BYTES_PER_SECOND,
): void {
  if (response.closed) return;
  const { socket } = response;
  if (socket === null) {
    // Its turn comes after other responses of the connection, which have their own time. Or it has been sent.
    if (!response.writableFinished) response.once('socket', () => cutSlowReader(response, wallMs, minBytesPerSecond));
    return;
  }
  const waiting = response.writableLength;
  // What the system has taken, it keeps: that is bounded.
  if (waiting === 0) return;
  const timer = setTimeout(() => socket.destroy(), wallMs + (waiting / minBytesPerSecond) * 1000);
  response.once('close', () => clearTimeout(timer));
}
