import { randomFillSync } from 'node:crypto';
import { isIPv4, type Socket } from 'node:net';

/**
 * Open connections of a node and of each client address, counted by all threads in one shared memory.
 *
 * Addresses are counted in a count-min sketch (Cormode and Muthukrishnan, 2005): an address has one counter in each of
 * two rows, found with a hash that is secret to the process, and its count is the smaller one. It can be too high, never
 * too low: two addresses share both counters with a probability of 1 to 2^30, and nobody outside can say which.
 */

const ROW_BITS = 15;
const ROW = 2 ** ROW_BITS;
/** Words: the seed, the sum of all, two rows. */
const SEED = 0;
const TOTAL = 1;
const ROWS = 2;

/** What `ConnectionCounts` of all threads count in: 256 KiB. */
export function createConnectionMemory(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer((ROWS + 2 * ROW) * Int32Array.BYTES_PER_ELEMENT);
  const seed = randomFillSync(new Int32Array(1));
  new Int32Array(memory)[SEED] = seed[0] ?? 0;
  return memory;
}

/** Zero stands for no limit. */
export type ConnectionLimits = { readonly connections: number; readonly connectionsPerAddress: number };

export class ConnectionCounts {
  readonly #words: Int32Array;
  readonly #limits: ConnectionLimits;

  constructor(memory: SharedArrayBuffer, limits: ConnectionLimits) {
    this.#words = new Int32Array(memory);
    this.#limits = limits;
  }

  /** Counts a connection until it is closed. @returns which limit it is over, or null; it is not counted then */
  enter(socket: Socket): keyof ConnectionLimits | null {
    const [first, second] = this.#countersOf(socket.remoteAddress ?? '');
    const places = [TOTAL, first, second];
    const [total = 0, one = 0, other = 0] = places.map((place) => Atomics.add(this.#words, place, 1));
    const leave = (): void => {
      for (const place of places) Atomics.sub(this.#words, place, 1);
    };
    const over = this.#overLimit(total, Math.min(one, other));
    if (over === null) socket.once('close', leave);
    else leave();
    return over;
  }

  #overLimit(total: number, ofAddress: number): keyof ConnectionLimits | null {
    const { connections, connectionsPerAddress } = this.#limits;
    if (connections > 0 && total >= connections) return 'connections';
    return connectionsPerAddress > 0 && ofAddress >= connectionsPerAddress ? 'connectionsPerAddress' : null;
  }

  #countersOf(address: string): [number, number] {
    const hash = hashOf(clientNetwork(address), this.#words[SEED] ?? 0);
    return [ROWS + (hash & (ROW - 1)), ROWS + ROW + ((hash >>> (32 - ROW_BITS)) & (ROW - 1))];
  }
}

/** FNV-1a with a secret start, and the finalizer of MurmurHash3, by which all bits of the result depend on all of it. */
function hashOf(text: string, seed: number): number {
  let hash = seed;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const MAPPED = '::ffff:';

/**
 * Whom an address belongs to: an IPv4 address is one client, of IPv6 one client has a /64 (RFC 6177). Addresses are
 * spelled as the system spells them.
 */
export function clientNetwork(address: string): string {
  if (isIPv4(address)) return address;
  if (address.startsWith(MAPPED) && address.includes('.')) return address.slice(MAPPED.length);
  const [before = '', behind] = (address.split('%')[0] ?? '').split('::');
  const head = before === '' ? [] : before.split(':');
  const tail = behind === undefined || behind === '' ? [] : behind.split(':');
  const zeros = behind === undefined ? [] : Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail].slice(0, 4).join(':');
}
