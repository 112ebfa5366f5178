import { lookup as lookUp } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { buildConnector } from 'undici';
import { addressOctets, isInNetwork, parseNetwork, type Network, type Octets } from '../config/networks.ts';
import { errorCodeOf, type ErrorCode } from '../wasi/http-error.ts';

/**
 * Where connections of guests may go, whatever their routes allow. Only the public internet, unless the operator opens
 * a network: a guest sits inside the operator's network, and what listens there trusts its neighbours.
 */

/** The operator's say. Closed networks stay closed when an open one holds them. */
export type ConnectRules = {
  readonly allowedNetworks: readonly Network[];
  readonly blockedNetworks: readonly Network[];
};

/** All of IPv6 that is given out for the internet. Source: IANA, Internet Protocol Version 6 Address Space. */
const GLOBAL_UNICAST = parseNetwork('2000::/3');

/** Azure's host agent, with the secrets of the machine's extensions. It has a public address, of Microsoft. */
const METADATA_ON_PUBLIC_ADDRESS = parseNetwork('168.63.129.16');

/** Addresses that hold an IPv4 address to which something on the way may translate them. */
type Translation = { readonly network: Network; readonly places: readonly Octets[]; readonly mask: number };

const LAST: Octets = [12, 13, 14, 15];

const translation = (network: string, places: readonly Octets[] = [LAST], mask = 0): Translation => ({
  network: parseNetwork(network),
  places,
  mask,
});

const TRANSLATIONS: readonly Translation[] = [
  // IPv4-mapped: the system itself connects to the IPv4 address (RFC 4291, section 2.5.5.2).
  translation('::ffff:0:0/96'),
  // IPv4-compatible, deprecated (RFC 4291, section 2.5.5.1); :: and ::1 lie in it and are none.
  translation('::/96'),
  // IPv4-translated (RFC 7915).
  translation('::ffff:0:0:0/96'),
  // NAT64 (RFC 6052) and its prefix for use inside a network (RFC 8215), where the length of the translator's own prefix
  // says which octets are the address; octet 8 is never one of them. All that lie within the /48 are judged.
  translation('64:ff9b::/96'),
  translation('64:ff9b:1::/48', [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], LAST]),
  // 6to4 (RFC 3056).
  translation('2002::/16', [[2, 3, 4, 5]]),
  // Teredo (RFC 4380): the server, and the client with all bits turned.
  translation('2001::/32', [[4, 5, 6, 7]]),
  translation('2001::/32', [LAST], 0xff),
];

/**
 * The IPv4 addresses in an IPv6 address. 0.0.0.0/8 is no destination (RFC 6890): of several places, those that begin
 * with a zero hold none, unless all do.
 */
const embeddedIn = (address: Octets): readonly Octets[] =>
  TRANSLATIONS.filter(({ network }) => isInNetwork(address, network)).flatMap(({ places, mask }) => {
    const found = places.map((place) => place.map((index) => (address[index] as number) ^ mask));
    const destinations = found.filter(([first]) => first !== 0);
    return destinations.length > 0 ? destinations : found;
  });

/**
 * Not on the public internet: loopback, private, link-local (most clouds' metadata, too), shared (carrier-grade NAT),
 * unspecified, multicast, broadcast, reserved, documentation, benchmarks, translated. ipaddr.js has the registries of
 * special-purpose addresses (RFC 6890); the rest are its gaps.
 */
const isSpecial = (address: Octets): boolean =>
  ipaddr.fromByteArray([...address]).range() !== 'unicast' ||
  isInNetwork(address, METADATA_ON_PUBLIC_ADDRESS) ||
  (address.length === 16 && !isInNetwork(address, GLOBAL_UNICAST));

const isOpen = (address: Octets, rules: ConnectRules): boolean => {
  const liesIn = (network: Network): boolean => isInNetwork(address, network);
  if (rules.blockedNetworks.some(liesIn)) return false;
  if (isSpecial(address) && !rules.allowedNetworks.some(liesIn)) return false;
  return isLocalToHost(address) || embeddedIn(address).every((embedded) => isOpen(embedded, rules));
};

const SELF: readonly Network[] = [parseNetwork('::'), parseNetwork('::1')];

const isLocalToHost = (address: Octets): boolean => SELF.some((network) => isInNetwork(address, network));

/**
 * True when a connection to the address may be made. An address that can be translated must be open itself, and so must
 * every IPv4 address in it.
 * @param address as `net.isIP` takes it; anything else is closed
 */
export const mayConnect = (address: string, rules: ConnectRules): boolean => {
  const octets = addressOctets(address);
  return octets !== null && isOpen(octets, rules);
};

/** A connection that was not tried, or whose name did not resolve. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  /** What the guest is told. */
  readonly errorCode: ErrorCode;

  constructor(message: string, errorCode: ErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.errorCode = errorCode;
  }
}

type ResolvedAddress = { readonly address: string; readonly family: number };

/** All addresses of a name. */
export type Resolve = (hostname: string) => Promise<readonly ResolvedAddress[]>;

const resolveBySystem: Resolve = (hostname) => lookUp(hostname, { all: true });

/** What a stub resolver waits for one server (`timeout` in resolv.conf); half of the default connect timeout. */
const RESOLVE_TIMEOUT_MS = 5000;

export type ConnectorOptions = {
  readonly rules: ConnectRules;
  /** From the beginning of the resolution until the connection is there, with TLS. */
  readonly timeoutMs: number;
  /** Undefined: the system's. */
  readonly resolve?: Resolve | undefined;
  readonly resolveTimeoutMs?: number;
};

/**
 * Makes connections to allowed addresses only. A name is resolved once for each connection, and the socket connects to
 * the addresses that were judged; TLS and HTTP go by the name. Refusals are `ConnectError`s, before any packet.
 */
export const createConnector = ({
  rules,
  timeoutMs,
  resolve = resolveBySystem,
  resolveTimeoutMs = RESOLVE_TIMEOUT_MS,
}: ConnectorOptions): buildConnector.connector => {
  const lookup: LookupFunction = (hostname, { all }, callback) => {
    allowedAddresses(hostname, rules, withTimeout(resolve, resolveTimeoutMs)).then(
      (addresses) => {
        const [first] = addresses;
        if (all === true) callback(null, [...addresses]);
        else callback(null, first.address, first.family);
      },
      (error: Error) => callback(error, ''),
    );
  };
  const connect = buildConnector({ timeout: timeoutMs, lookup });
  return (options, callback) => {
    // Node asks `lookup` for everything that isIP() does not know.
    if (isIP(options.hostname) === 0 || mayConnect(options.hostname, rules)) connect(options, callback);
    else process.nextTick(callback, prohibited(options.hostname), null);
  };
};

const prohibited = (what: string): ConnectError =>
  new ConnectError(`connecting to ${what}: the node's outbound.allowed_networks has no such address`, {
    tag: 'destination-IP-prohibited',
  });

async function allowedAddresses(
  hostname: string,
  rules: ConnectRules,
  resolve: Resolve,
): Promise<readonly [ResolvedAddress, ...ResolvedAddress[]]> {
  const addresses = await resolve(hostname).catch((cause: unknown) => {
    throw cause instanceof ConnectError ? cause : unresolved(hostname, cause);
  });
  const [first, ...others] = addresses.filter(({ address }) => mayConnect(address, rules));
  if (first === undefined) throw prohibited(`${hostname} (${addresses.map(({ address }) => address).join(', ')})`);
  return [first, ...others];
}

function unresolved(hostname: string, cause: unknown): ConnectError {
  const code = errorCodeOf(cause);
  const isAboutDns = code.tag === 'DNS-error' || code.tag === 'DNS-timeout';
  return new ConnectError(`resolving ${hostname} failed`, isAboutDns ? code : { tag: 'DNS-error', val: {} }, { cause });
}

/** The system's resolver cannot be stopped: what comes late is not used. */
const withTimeout =
  (resolve: Resolve, timeoutMs: number): Resolve =>
  async (hostname) => {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(new ConnectError(`resolving ${hostname} took over ${timeoutMs} ms`, { tag: 'DNS-timeout' }));
    }, timeoutMs);
    try {
      return await Promise.race([resolve(hostname), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  };
