import ipaddr from 'ipaddr.js';
import type { LocatedConfig } from '../config/load.ts';
import { isInNetwork, type Network } from '../config/networks.ts';
import { mayConnect, type ConnectRules } from '../http/connect-policy.ts';

/** Something in a sound config that is hardly meant. `where` is `file:line:column`. */
export type Warning = { readonly where: string; readonly message: string };

/**
 * A warning for each outbound host of a route that is an address, or a network, to which the node lets no guest connect:
 * the route allows it in vain. Names are not judged, since what they resolve to is known only when a guest asks.
 */
export const closedHosts = ({ config: { outbound }, literalHosts }: LocatedConfig): readonly Warning[] =>
  literalHosts.flatMap(({ route, entry, where }) => {
    const reason = entry.host.kind === 'network' ? whyClosed(entry.host, outbound) : null;
    if (reason === null) return [];
    const message = `the route ${JSON.stringify(route)} allows ${JSON.stringify(entry.text)} in vain, its requests there fail with destination-IP-prohibited: ${reason}`;
    return [{ where, message }];
  });

type Block = Pick<Network, 'bytes' | 'bits'>;

function whyClosed(block: Block, rules: ConnectRules): string | null {
  if (!isClosed(block, rules)) return null;
  return isClosed(block, { ...rules, blockedNetworks: [] })
    ? 'it is not public, and outbound.allowed_networks does not open it'
    : 'outbound.blocked_networks closes it';
}

/** True only when the policy lets nobody connect to any address of the block; of a single address, exactly then. */
function isClosed(block: Block, rules: ConnectRules): boolean {
  const first = ipaddr.fromByteArray([...block.bytes]);
  if (block.bits === block.bytes.length * 8) return !mayConnect(first.toString(), rules);
  if (rules.blockedNetworks.some((closed) => contains(closed, block))) return true;
  // Both ends in one range of special purpose: no such range has a gap that a block could span, see the test.
  const last = ipaddr.fromByteArray(block.bytes.map((byte, index) => byte | (0xff >> keptBits(block, index))));
  const isSpecial = first.range() !== 'unicast' && first.range() === last.range();
  return isSpecial && !rules.allowedNetworks.some((open) => contains(block, open) || contains(open, block));
}

/** How many bits of the byte at `index` belong to the prefix. */
const keptBits = ({ bits }: Block, index: number): number => Math.min(Math.max(bits - index * 8, 0), 8);

const contains = (outer: Block, inner: Block): boolean =>
  outer.bits <= inner.bits && isInNetwork(inner.bytes, { ...outer, text: '' });
