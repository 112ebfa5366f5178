/** A whole response, its body as Latin-1. `keepAlive` is false when the server will close the connection. */
export type Response = { readonly status: number; readonly body: string; readonly keepAlive: boolean };

type Framing =
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' };

const HEAD_END = '\r\n\r\n';

/**
 * Cuts HTTP/1.1 responses out of what arrives on one connection. It knows what the servers under test send, and throws
 * where a response is none: a bench must not count garbage as an answer. Source: RFC 9112, section 6.
 */
export class ResponseParser {
  #text = '';

  /**
   * @param arrived bytes in the order in which they came
   * @returns a response, once it is whole; one at a time, since a client asks only after its answer
   */
  push(arrived: Buffer): Response | null {
    this.#text += arrived.toString('latin1');
    const headEnd = this.#text.indexOf(HEAD_END);
    if (headEnd < 0) return null;
    const head = parseHead(this.#text.slice(0, headEnd));
    const rest = this.#text.slice(headEnd + HEAD_END.length);
    const whole = bodyOf(rest, head.framing);
    if (whole === null) return null;
    this.#text = rest.slice(whole.end);
    return { status: head.status, body: whole.body, keepAlive: head.keepAlive };
  }

  /** The connection has ended. @returns the response that ended with it, or null when there is none under way */
  end(): Response | null {
    const headEnd = this.#text.indexOf(HEAD_END);
    if (headEnd < 0) return null;
    const { status, framing } = parseHead(this.#text.slice(0, headEnd));
    if (framing.kind !== 'until-close') throw new Error(`the connection ended in the middle of a ${status} response`);
    return { status, body: this.#text.slice(headEnd + HEAD_END.length), keepAlive: false };
  }
}

/** Statuses that have no body, whatever their fields say. */
const isEmpty = (status: number): boolean => status === 204 || status === 304;

function parseHead(head: string): { status: number; framing: Framing; keepAlive: boolean } {
  const status = Number(/^HTTP\/1\.1 (\d{3})(?: |$)/m.exec(head)?.[1] ?? Number.NaN);
  if (Number.isNaN(status)) throw new Error(`not a response of HTTP/1.1: ${JSON.stringify(head.slice(0, 80))}`);
  const field = (name: string): string | undefined => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'im').exec(head)?.[1];
  const keepAlive = field('connection')?.toLowerCase() !== 'close';
  const length = field('content-length');
  if (isEmpty(status)) return { status, framing: { kind: 'length', bytes: 0 }, keepAlive };
  if (field('transfer-encoding')?.toLowerCase() === 'chunked')
    return { status, framing: { kind: 'chunked' }, keepAlive };
  if (length !== undefined) return { status, framing: { kind: 'length', bytes: Number(length) }, keepAlive };
  return { status, framing: { kind: 'until-close' }, keepAlive: false };
}

/** `end` is where the next response begins. */
function bodyOf(text: string, framing: Framing): { body: string; end: number } | null {
  if (framing.kind === 'until-close') return null;
  if (framing.kind === 'chunked') return chunkedBody(text);
  return text.length < framing.bytes ? null : { body: text.slice(0, framing.bytes), end: framing.bytes };
}

function chunkedBody(text: string): { body: string; end: number } | null {
  let body = '';
  for (let at = 0; ;) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    if (Number.isNaN(size)) throw new Error(`not the size of a chunk: ${JSON.stringify(text.slice(at, lineEnd))}`);
    const data = lineEnd + 2;
    if (size === 0) {
      // No trailers: none of the servers under test sends any.
      return text.length < data + 2 ? null : { body, end: data + 2 };
    }
    if (text.length < data + size + 2) return null;
    body += text.slice(data, data + size);
    at = data + size + 2;
  }
}
