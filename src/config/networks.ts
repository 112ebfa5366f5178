import { isIP, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { ThawError } from '../errors.ts';
import { canonicalHost } from './host.ts';

/** Of an IPv4 address 4, of an IPv6 address 16. */
export type Octets = readonly number[];

/** A block of addresses as plain data: it can be posted to another thread. `text` is what the config says. */
export type Network = { readonly text: string; readonly bytes: Octets; readonly bits: number };

/** The octets of what `net.isIP` takes for an address, without its zone; null for everything else. */
export const addressOctets = (text: string): Octets | null => {
  if (isIP(text) === 0) return null;
  const [address = ''] = text.split('%');
  // ipaddr.js takes ::127.0.0.1 for ::ffff:127.0.0.1; the URL parser leaves no dots in IPv6.
  const spelled = isIPv6(address) ? canonicalHost(`[${address}]`)?.slice(1, -1) : address;
  return spelled === undefined ? null : ipaddr.parse(spelled).toByteArray();
};

/** For editors; `parseNetwork` is the judge. */
export const NETWORK_PATTERN = '^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$';

const refuse = (text: string, why: string): never => {
  throw new ThawError('CONFIG_INVALID', `${JSON.stringify(text)} is not a network: ${why}`);
};

/**
 * `10.0.0.0/8`, `fd00::/8`, or one address. IPv4 is four decimals and nothing else: an operator shall see what is
 * opened. A network of IPv4-mapped addresses (`::ffff:0:0/96`) is one of IPv6.
 * @throws CONFIG_INVALID when it is none, or has bits beyond its prefix.
 */
export const parseNetwork = (text: string): Network => {
  const [literal = '', digits, ...more] = text.split('/');
  const bytes = addressOctets(literal);
  // A zone (fe80::1%eth0) names a link, and not a network.
  if (bytes === null || more.length > 0 || literal.includes('%'))
    return refuse(text, 'write address/bits, such as "127.0.0.0/8" or "fd00::/8"');
  const most = bytes.length * 8;
  const bits = digits === undefined ? most : Number(digits);
  if (!/^[0-9]{1,3}$/.test(digits ?? '0') || bits > most)
    return refuse(text, `/${digits} is not a prefix length from 0 to ${most}`);
  const first = firstOf(bytes, bits);
  if (first.some((byte, index) => byte !== bytes[index]))
    return refuse(text, `the network that it lies in is ${ipaddr.fromByteArray([...first]).toString()}/${bits}`);
  return { text, bytes, bits };
};

/** The first address of the network in which `bytes` lies. */
const firstOf = (bytes: Octets, bits: number): Octets =>
  bytes.map((byte, index) => {
    const kept = Math.min(Math.max(bits - index * 8, 0), 8);
    return byte & (0xff00 >> kept) & 0xff;
  });

/** True when the address lies in the network. IPv4 lies in no network of IPv6. */
export const isInNetwork = (address: Octets, { bytes, bits }: Network): boolean =>
  address.length === bytes.length && firstOf(address, bits).every((byte, index) => byte === bytes[index]);
