import ipaddr from 'ipaddr.js';
import { ThawError } from '../errors.ts';
import { canonicalHost, isAddressLiteral } from './host.ts';
import { didYouMean } from './suggest.ts';

/** The octets of an IPv4 (4) or IPv6 (16) address. IPv4 mapped into IPv6 is IPv4: it connects to the same place. */
type AddressBytes = readonly number[];

/** `suffix` begins with the dot: `*.example.test` is any name that ends in `.example.test`. */
type AllowedName =
  | { readonly kind: 'any' }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'suffix'; readonly suffix: string }
  | { readonly kind: 'network'; readonly bytes: AddressBytes; readonly bits: number };

/** Ports from `from` up to and without `to`. */
type PortRange = { readonly from: number; readonly to: number };

/** One entry, as plain data: it can be posted to another thread. `text` is what the config says. */
export type AllowedHost = {
  readonly text: string;
  readonly schemes: readonly OutboundScheme[];
  readonly host: AllowedName;
  readonly ports: PortRange;
};

/** What a route may connect to. Empty denies everything. */
export type AllowList = readonly AllowedHost[];

const SCHEMES = ['http', 'https'] as const;
type OutboundScheme = (typeof SCHEMES)[number];
const DEFAULT_PORT: Readonly<Record<OutboundScheme, number>> = { http: 80, https: 443 };

const PORT_COUNT = 65_536;
const ANY_PORT: PortRange = { from: 1, to: PORT_COUNT };

/**
 * Where a guest wants to connect. `host` is canonical (see `canonicalHost`), in brackets for IPv6; `address` is null for
 * a name. A policy of the node on networks looks at `address`, and at what a name resolves to.
 */
export type OutboundTarget = {
  readonly scheme: OutboundScheme;
  readonly host: string;
  readonly port: number;
  readonly address: AddressBytes | null;
};

/** For editors; `parseAllowedHost` is the judge. */
export const OUTBOUND_PATTERN = '^([Hh][Tt][Tt][Pp][Ss]?|\\*)://[^\\s?#@\\\\]+$';

const SYNTAX = 'write scheme://host[:port], such as "https://api.example.test" or "http://10.0.0.0/8"';

const refuse = (text: string, why: string): never => {
  throw new ThawError('CONFIG_INVALID', `${JSON.stringify(text)} is not an outbound host: ${why}`);
};

/** The octets of a canonical address literal; null for a name. */
const addressBytes = (host: string): AddressBytes | null => {
  if (!isAddressLiteral(host)) return null;
  return ipaddr.process(host.replaceAll(/[[\]]/g, '')).toByteArray();
};

const parseScheme = (text: string, scheme: string): readonly OutboundScheme[] => {
  if (scheme === '*') return SCHEMES;
  const known = SCHEMES.find((name) => name === scheme.toLowerCase());
  if (known !== undefined) return [known];
  return refuse(text, `the scheme must be http, https or *${didYouMean(scheme, SCHEMES)}`);
};

const parsePort = (text: string, digits: string): number => {
  const port = /^[0-9]{1,5}$/.test(digits) ? Number(digits) : 0;
  return port > 0 && port < PORT_COUNT ? port : refuse(text, `${JSON.stringify(digits)} is not a port from 1 to 65535`);
};

/** `8443`, `*`, or `8000..9000`, whose end is left out as Spin does. Without a port: that of the scheme. */
const parsePorts = (text: string, port: string | undefined, schemes: readonly OutboundScheme[]): PortRange => {
  if (port === '*') return ANY_PORT;
  if (port === undefined) {
    const [only, ...others] = schemes;
    if (only === undefined || others.length > 0)
      return refuse(text, 'the scheme * needs a port, as in "*://api.example.test:*"');
    return { from: DEFAULT_PORT[only], to: DEFAULT_PORT[only] + 1 };
  }
  const [first = '', last] = port.split('..');
  const from = parsePort(text, first);
  if (last === undefined) return { from, to: from + 1 };
  const to = Number(last) === PORT_COUNT ? PORT_COUNT : parsePort(text, last);
  return from < to ? { from, to } : refuse(text, `the range ${port} is empty: its end is left out`);
};

const parseNetwork = (text: string, literal: string, digits: string): AllowedName => {
  const host = canonicalHost(literal);
  if (host === null || !isAddressLiteral(host)) return refuse(text, 'a path is not allowed: the list is of hosts');
  const written = ipaddr.parse(host.replaceAll(/[[\]]/g, ''));
  const mapped = written.kind() === 'ipv6' && written.range() === 'ipv4Mapped';
  const most = written.toByteArray().length * 8;
  const bits = Number(digits);
  if (bits > most || (mapped && bits < 96))
    return refuse(text, `/${digits} is not a prefix length from ${mapped ? 96 : 0} to ${most}`);
  const network =
    written instanceof ipaddr.IPv4
      ? ipaddr.IPv4.networkAddressFromCIDR(`${written.toString()}/${bits}`)
      : ipaddr.IPv6.networkAddressFromCIDR(`${written.toString()}/${bits}`);
  if (network.toString() !== written.toString()) {
    const shown = literal.startsWith('[') ? `[${network.toString()}]` : network.toString();
    return refuse(text, `the network that it lies in is ${shown}/${bits}`);
  }
  return { kind: 'network', bytes: ipaddr.process(written.toString()).toByteArray(), bits: mapped ? bits - 96 : bits };
};

const parseName = (text: string, name: string): AllowedName => {
  if (name === '*') return { kind: 'any' };
  if (name === 'self') return refuse(text, 'thaw has no "self": name the host');
  const suffix = name.startsWith('*.');
  const rest = suffix ? name.slice(2) : name;
  if (rest.includes('*'))
    return refuse(text, 'a wildcard is the whole host or its whole first label, as in "https://*.example.test"');
  const host = canonicalHost(rest);
  if (host === null) return refuse(text, SYNTAX);
  const bytes = addressBytes(host);
  if (bytes === null) return suffix ? { kind: 'suffix', suffix: `.${host}` } : { kind: 'name', name: host };
  if (suffix) return refuse(text, 'an address has no names below it');
  return { kind: 'network', bytes, bits: bytes.length * 8 };
};

/** `host`, `[v6]` or `address/bits`, then perhaps `:port`, then at most one slash. */
const AUTHORITY = /^(?<host>\[[^\]]*\]|[^:/[\]]*)(?:\/(?<bits>[0-9]{1,3}))?(?::(?<port>[^/]*))?\/?$/;

/**
 * One entry of Spin's syntax: `https://api.example.test`, `https://*.example.test:8443` (one or more labels in place of
 * the star, not none), `http://10.0.0.0/8`, `http://[fd00::]/8`, `http://localhost:8000..8010` (without 8010),
 * `*://*:*`. Without a port, that of the scheme.
 * @throws CONFIG_INVALID when it is not one: no scheme, a path, user information, or a host that is none.
 */
export const parseAllowedHost = (text: string): AllowedHost => {
  const [scheme = '', rest, ...more] = text.split('://');
  if (rest === undefined) return refuse(text, `it has no scheme: ${SYNTAX}`);
  const schemes = parseScheme(text, scheme);
  if (rest.includes('@')) return refuse(text, 'user information is not allowed');
  const parts = AUTHORITY.exec(rest)?.groups;
  if (parts === undefined || more.length > 0) {
    if (/^[^/[\]]*:[^/[\]]*:/.test(rest))
      return refuse(text, 'write an IPv6 address in brackets, as in "http://[fd00::]/8"');
    return refuse(text, rest.includes('/') ? 'a path is not allowed: the list is of hosts' : SYNTAX);
  }
  const { host = '', bits, port } = parts;
  return {
    text,
    schemes,
    host: bits === undefined ? parseName(text, host) : parseNetwork(text, host, bits),
    ports: parsePorts(text, port, schemes),
  };
};

/** @throws CONFIG_INVALID at the first entry that is not one. */
export const parseAllowedHosts = (list: readonly string[]): AllowList => list.map(parseAllowedHost);

/**
 * What a guest's `scheme` and `authority` (`host[:port]`) name, or null when they name nothing to connect to: another
 * scheme, user information, a malformed host or port. Connect to the host and port of the result, not to the text: the
 * two may differ in spelling, and only the result was checked.
 */
export const outboundTarget = (scheme: string, authority: string): OutboundTarget | null => {
  const known = SCHEMES.find((name) => name === scheme.toLowerCase());
  const parts = /^(?<name>\[[^\]]*\]|[^:[\]]*)(?::(?<digits>[0-9]{0,5}))?$/.exec(authority)?.groups;
  if (known === undefined || parts === undefined) return null;
  const { name = '', digits = '' } = parts;
  const host = canonicalHost(name);
  const port = digits === '' ? DEFAULT_PORT[known] : Number(digits);
  if (host === null || port === 0 || port >= PORT_COUNT) return null;
  return { scheme: known, host, port, address: addressBytes(host) };
};

const inNetwork = (address: AddressBytes, bytes: AddressBytes, bits: number): boolean => {
  const candidate = ipaddr.fromByteArray([...address]);
  const network = ipaddr.fromByteArray([...bytes]);
  return candidate.kind() === network.kind() && candidate.match([network, bits]);
};

const allowsHost = (allowed: AllowedName, { host, address }: OutboundTarget): boolean => {
  switch (allowed.kind) {
    case 'any':
      return true;
    case 'name':
      return host === allowed.name;
    case 'suffix':
      return address === null && host.endsWith(allowed.suffix);
    case 'network':
  }
  return address !== null && inNetwork(address, allowed.bytes, allowed.bits);
};

/**
 * True when an entry of the list allows the target. Names are compared as names and networks match address literals
 * only: a name that resolves into an allowed network is not allowed by it.
 */
export const isAllowed = (allow: AllowList, target: OutboundTarget): boolean =>
  allow.some(
    (entry) =>
      entry.schemes.includes(target.scheme) &&
      target.port >= entry.ports.from &&
      target.port < entry.ports.to &&
      allowsHost(entry.host, target),
  );
