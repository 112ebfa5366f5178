import { isIPv6, type AddressInfo } from 'node:net';
import type { IncomingMessage } from 'node:http';
import { ThawError, type ErrorCode } from '../errors.ts';

/** What the head of a request must be like before a route is looked for. Sources: RFC 9110 and RFC 9112. */

/** Whom a request is for, as router and guest both see it. */
export type Target = {
  /** Host and, where the client wrote it, port. */
  readonly authority: string;
  readonly path: string;
  /** In origin-form, as the client wrote it: it begins with a slash. */
  readonly pathWithQuery: string;
};

/** `node`: `OPTIONS *`, which asks the server itself, and no route (RFC 9110, section 9.3.7). */
export type Admission = ({ readonly kind: 'request' } & Target) | { readonly kind: 'node' };

/** The head cannot be trusted: where the next request of the connection begins is not known. */
export class HeadRefused extends ThawError {}

const refuse = (code: ErrorCode, message: string): never => {
  throw new HeadRefused(code, message);
};

/** What `Fields` holds for a guest, too. */
const MAX_HEADERS = 1024;

/** Names and addresses with or without a port, and no user (RFC 9110, section 4.2.4). Brackets hold what isIPv6 judges. */
const AUTHORITY = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)(?::([0-9]{0,5}))?$/;
/** 253 characters of a name, its trailing dot, a colon and five digits. */
const MAX_AUTHORITY = 260;
const MAX_PORT = 65_535;

/** Visible ASCII without the number sign: a fragment stays with the client (RFC 9110, section 4.2.5). */
const TARGET = /^[\x21\x22\x24-\x7e]*$/;
const ABSOLUTE = /^http:\/\/([^/?]*)(.*)$/i;

/** Methods that no route can name: a tunnel is not what this node is for, and TRACE shows headers to scripts. */
const REFUSED_METHODS: ReadonlySet<string> = new Set(['TRACE', 'CONNECT']);

const shown = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

/**
 * Judges the head of a request, as far as Node does not.
 * @throws HeadRefused with 400 REQUEST_INVALID, 431 REQUEST_HEAD_TOO_LARGE, 501 REQUEST_UNSUPPORTED or 505
 *   HTTP_VERSION_UNSUPPORTED
 */
export function admissionOf(request: IncomingMessage): Admission {
  const { httpVersionMajor, httpVersion, rawHeaders } = request;
  const method = request.method as string;
  const target = request.url as string;
  if (httpVersionMajor !== 1) refuse('HTTP_VERSION_UNSUPPORTED', `HTTP/${httpVersion} is not spoken here: use 1.1`);
  if (rawHeaders.length > 2 * MAX_HEADERS) {
    refuse('REQUEST_HEAD_TOO_LARGE', `the request has more than ${MAX_HEADERS} header fields`);
  }
  if (REFUSED_METHODS.has(method)) refuse('REQUEST_UNSUPPORTED', `the method ${method} is not taken`);
  checkFraming(request);
  const host = hostOf(request);
  if (!TARGET.test(target)) {
    refuse(
      'REQUEST_INVALID',
      `the request target ${shown(target)} has a fragment or characters that a URL cannot have`,
    );
  }
  if (target.startsWith('/')) return requestFor(host, target);
  if (target === '*' && method === 'OPTIONS') return { kind: 'node' };
  const absolute = ABSOLUTE.exec(target);
  if (absolute === null) return refuse('REQUEST_INVALID', `the request target ${shown(target)} is no path`);
  // RFC 9112, section 3.2.2: what Host says is ignored.
  const [, authority = '', rest = ''] = absolute;
  checkAuthority(authority, 'the authority of the request target');
  return requestFor(authority, rest.startsWith('/') ? rest : `/${rest}`);
}

function requestFor(authority: string, pathWithQuery: string): Admission {
  const query = pathWithQuery.indexOf('?');
  const path = query < 0 ? pathWithQuery : pathWithQuery.slice(0, query);
  return { kind: 'request', authority, path, pathWithQuery };
}

/** Codings other than chunked would reach the guest coded, without a word of it (RFC 9112, section 6.1). */
function checkFraming({ headers, httpVersionMinor }: IncomingMessage): void {
  const coding = headers['transfer-encoding'];
  if (coding === undefined) return;
  if (httpVersionMinor === 0) refuse('REQUEST_INVALID', 'a request of HTTP/1.0 has no Transfer-Encoding');
  if (coding.toLowerCase() !== 'chunked') {
    refuse('REQUEST_UNSUPPORTED', `the Transfer-Encoding ${shown(coding)} is not decoded here: use chunked`);
  }
}

/** What the one Host header says. Requests of HTTP/1.0 may have none: they are for the address they came to. */
function hostOf({ rawHeaders, httpVersionMinor, socket }: IncomingMessage): string {
  let host: string | null = null;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string;
    if (name.length !== 4 || name.toLowerCase() !== 'host') continue;
    if (host !== null) refuse('REQUEST_INVALID', 'the request has more than one Host header');
    host = rawHeaders[index + 1] as string;
  }
  if (host !== null) return checkAuthority(host, 'the Host header');
  if (httpVersionMinor > 0) refuse('REQUEST_INVALID', 'the request has no Host header');
  const { address = '', port = 0, family } = socket.address() as Partial<AddressInfo>;
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The last authority that passed: most requests are for the one of the request before. */
let passed: string | null = null;

function checkAuthority(authority: string, what: string): string {
  if (authority === passed) return authority;
  const parts = authority.length <= MAX_AUTHORITY ? AUTHORITY.exec(authority) : null;
  if (parts === null)
    return refuse('REQUEST_INVALID', `${what} is ${shown(authority)}, which is not host or host:port`);
  const [, address, port] = parts;
  if (address !== undefined && !isIPv6(address)) {
    refuse('REQUEST_INVALID', `${what} is ${shown(authority)}, which is no IPv6 address`);
  }
  if (port !== undefined && Number(port) > MAX_PORT) {
    refuse('REQUEST_INVALID', `${what} is ${shown(authority)}, which has a port over ${MAX_PORT}`);
  }
  passed = authority;
  return authority;
}

/**
 * The header fields of a request that its guest gets. Names that begin with `thaw-` are the node's own. Names with an
 * underscore look like others with a hyphen to programs that make variables of them (RFC 3875, section 4.1.18), and
 * would go around whoever filters those in front of the node.
 * @param raw name, value, name, value; so is the result
 */
export function guestHeaders(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string;
    if (!name.includes('_') && !/^thaw-/i.test(name)) kept.push(name, raw[index + 1] as string);
  }
  return kept;
}
