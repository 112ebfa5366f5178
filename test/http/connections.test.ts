import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { ConnectionCounts, clientNetwork, createConnectionMemory } from '../../src/http/connections.ts';

const socketFrom = (remoteAddress: string): Socket =>
  Object.assign(new EventEmitter(), { remoteAddress }) as unknown as Socket;

test('clientNetwork() is the address for IPv4, in whatever form, and the /64 for IPv6', () => {
  for (const [address, network] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['2001:db8::2:3:4:5:6', '2001:db8:0:2'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
  ] as const) {
    assert.equal(clientNetwork(address), network, address);
  }
});

test('all who count in one memory share the limits', () => {
  const memory = createConnectionMemory();
  const [one, other] = [0, 1].map(() => new ConnectionCounts(memory, { connections: 0, connectionsPerAddress: 2 })) as [
    ConnectionCounts,
    ConnectionCounts,
  ];
  const first = socketFrom('192.0.2.1');
  assert.equal(one.enter(first), null);
  assert.equal(other.enter(socketFrom('::ffff:192.0.2.1')), null);
  assert.equal(one.enter(socketFrom('192.0.2.1')), 'connectionsPerAddress');
  assert.equal(other.enter(socketFrom('192.0.2.2')), null);
  first.emit('close');
  assert.equal(other.enter(socketFrom('192.0.2.1')), null);
  assert.equal(one.enter(socketFrom('192.0.2.1')), 'connectionsPerAddress');
});

test('the limit of the node is over all addresses', () => {
  const counts = new ConnectionCounts(createConnectionMemory(), { connections: 3, connectionsPerAddress: 2 });
  const outcomes = [1, 2, 3, 4].map((last) => counts.enter(socketFrom(`192.0.2.${last}`)));
  assert.deepEqual(outcomes, [null, null, null, 'connections']);
});

test('an address at its limit does not use up the others', () => {
  const counts = new ConnectionCounts(createConnectionMemory(), { connections: 0, connectionsPerAddress: 1 });
  const outcomes = Array.from({ length: 256 }, (_, last) => counts.enter(socketFrom(`192.0.2.${last}`)));
  assert.ok(outcomes.every((outcome) => outcome === null));
  for (let round = 0; round < 100; round++)
    assert.equal(counts.enter(socketFrom('192.0.2.1')), 'connectionsPerAddress');
  assert.equal(counts.enter(socketFrom('198.51.100.1')), null);
});
