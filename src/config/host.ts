import { ThawError } from '../errors.ts';

/** Longest name of the domain name system, without the trailing dot (RFC 1035, section 2.3.4). */
export const MAX_HOST_NAME = 253;

/** Letters, digits, hyphen, and the underscore that real names have. The URL parser lets more pass, `*` and `{` too. */
const LABEL = /^[a-z0-9_-]{1,63}$/;

/** What ends or splits the host of a URL, and what the URL parser drops in silence (tab, CR, LF, leading space). */
// oxlint-disable-next-line no-control-regex -- control characters are what it must find
const NOT_IN_HOST = /[\u0000-\u0020\u007F/?#@\\]/;

const isName = (host: string): boolean =>
  host.length <= MAX_HOST_NAME && host.split('.').every((label) => LABEL.test(label));

/**
 * The one spelling of a host without port: lower case, no trailing dot, IDN as punycode, IPv4 in any of its forms
 * (decimal, octal, hexadecimal, short) as four decimals, IPv6 compressed and in brackets. Null when it is not a host.
 * The WHATWG URL Standard's host parser decides (https://url.spec.whatwg.org/#host-parsing): what it makes of a host
 * is what a connection would be made to.
 */
export const canonicalHost = (host: string): string | null => {
  const bracketed = host.startsWith('[');
  if (host === '' || NOT_IN_HOST.test(host) || (!bracketed && host.includes(':'))) return null;
  const url = URL.parse(`http://${host}/`);
  if (url === null || url.port !== '' || (bracketed && !host.endsWith(']'))) return null;
  const name = url.hostname.endsWith('.') ? url.hostname.slice(0, -1) : url.hostname;
  return name.startsWith('[') || isName(name) ? name : null;
};

const refuse = (message: string): never => {
  throw new ThawError('CONFIG_INVALID', message);
};

/** True for the canonical spelling of an address: what a wildcard cannot have below it. */
export const isAddressLiteral = (host: string): boolean => host.startsWith('[') || /^[0-9]+(\.[0-9]+){3}$/.test(host);

/** For editors; `parseHostPattern` is the judge. */
export const HOST_PATTERN = String.raw`^(\*\.)?[^\s*/?#@\\]+$`;

/**
 * The canonical spelling of a route's host: `www.example.test`, `*.example.test`, `192.0.2.1` or `[2001:db8::1]`.
 * @throws CONFIG_INVALID when it is none of these, or has a port.
 */
export const parseHostPattern = (text: string): string => {
  const shown = JSON.stringify(text);
  if (text === '*') return refuse(`${shown} is not a host: a route without a host answers for all of them`);
  const wildcard = text.startsWith('*.');
  const rest = wildcard ? text.slice(2) : text;
  if (rest.includes('*'))
    return refuse(`${shown} is not a host: a wildcard is the whole first label, as in "*.example.test"`);
  if (/^([^:]*|\[.*\]):[0-9]*$/.test(rest)) {
    return refuse(`${shown} is not a host: leave out the port, the listener has one`);
  }
  const host = canonicalHost(rest);
  if (host === null) return refuse(`${shown} is not a host such as "www.example.test" or "*.example.test"`);
  if (wildcard && isAddressLiteral(host)) return refuse(`${shown} is not a host: an address has no names below it`);
  return wildcard ? `*.${host}` : host;
};

export type ListenAddress = {
  /** As `net.Server.listen` takes it: IPv6 without brackets. */
  readonly host: string;
  /** 0 asks the system for a free one. */
  readonly port: number;
};

export const LISTEN_PATTERN = String.raw`^(\[[0-9A-Fa-f:.]+\]|[^\s:/*\[\]]+):[0-9]{1,5}$`;

const MAX_PORT = 65_535;

/**
 * Host and port of `127.0.0.1:8080`, `[::1]:8080` or `localhost:0`.
 * @throws CONFIG_INVALID when it is not an address with a port.
 */
export const parseListen = (text: string): ListenAddress => {
  const shown = JSON.stringify(text);
  const example = 'write host:port, such as "127.0.0.1:8080" (or "0.0.0.0:8080" for all interfaces)';
  if (!new RegExp(LISTEN_PATTERN).test(text)) return refuse(`${shown} is not an address to listen on: ${example}`);
  const colon = text.lastIndexOf(':');
  const host = canonicalHost(text.slice(0, colon));
  const port = Number(text.slice(colon + 1));
  if (port > MAX_PORT) return refuse(`${shown} has a port over ${MAX_PORT}`);
  if (host === null) return refuse(`${shown} is not an address to listen on: ${example}`);
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port };
};
