import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as fc from 'fast-check';
import { parseNetwork } from '../../src/config/networks.ts';
import { parseAllowedHosts } from '../../src/config/outbound.ts';
import { createConnector, mayConnect, type ConnectRules, type Resolve } from '../../src/http/connect-policy.ts';
import { OutboundBudget } from '../../src/http/outbound-budget.ts';
import { Outbound } from '../../src/http/outbound.ts';
import { Fields } from '../../src/wasi/http-fields.ts';
import { OutgoingRequest } from '../../src/wasi/http-messages.ts';

const rules = (allowed: readonly string[] = [], blocked: readonly string[] = []): ConnectRules => ({
  allowedNetworks: allowed.map(parseNetwork),
  blockedNetworks: blocked.map(parseNetwork),
});
const CLOSED = rules();
const LOOPBACK = rules(['127.0.0.0/8']);
const EVERYTHING = rules(['0.0.0.0/0', '::/0']);

/** First and last address of every network that is closed, and the public addresses beside it. */
const EDGES: readonly (readonly [closed: readonly string[], open: readonly string[]])[] = [
  [['0.0.0.0', '0.255.255.255'], ['1.0.0.0']],
  [
    ['10.0.0.0', '10.255.255.255'],
    ['9.255.255.255', '11.0.0.0'],
  ],
  [
    ['100.64.0.0', '100.100.100.200', '100.127.255.255'],
    ['100.63.255.255', '100.128.0.0'],
  ],
  [
    ['127.0.0.0', '127.255.255.255'],
    ['126.255.255.255', '128.0.0.0'],
  ],
  [['168.63.129.16'], ['168.63.129.15', '168.63.129.17']],
  [
    ['169.254.0.0', '169.254.169.254', '169.254.255.255'],
    ['169.253.255.255', '169.255.0.0'],
  ],
  [
    ['172.16.0.0', '172.31.255.255'],
    ['172.15.255.255', '172.32.0.0'],
  ],
  [
    ['192.0.0.0', '192.0.0.192', '192.0.0.255'],
    ['191.255.255.255', '192.0.1.0'],
  ],
  [['192.0.2.0', '192.0.2.255'], ['192.0.3.0']],
  [
    ['192.88.99.0', '192.88.99.255'],
    ['192.88.98.255', '192.88.100.0'],
  ],
  [
    ['192.168.0.0', '192.168.255.255'],
    ['192.167.255.255', '192.169.0.0'],
  ],
  [
    ['198.18.0.0', '198.19.255.255'],
    ['198.17.255.255', '198.20.0.0'],
  ],
  [
    ['198.51.100.0', '198.51.100.255'],
    ['198.51.99.255', '198.51.101.0'],
  ],
  [
    ['203.0.113.0', '203.0.113.255'],
    ['203.0.112.255', '203.0.114.0'],
  ],
  [['224.0.0.0', '239.255.255.255', '240.0.0.0', '255.255.255.254', '255.255.255.255'], ['223.255.255.255']],
  [['::', '::1', '::2', '::8.8.8.8', '::ffff:8.8.8.8', '::ffff:0:8.8.8.8', '64:ff9b::8.8.8.8', '64:ff9b:1::1'], []],
  [['100::', '100::ffff:ffff:ffff:ffff', '100:0:0:1::', '1fff:ffff::'], []],
  [['2001::', '2001:0:ffff::', '2001:1::1', '2001:2::', '2001:10::', '2001:20::', '2001:1ff:ffff::'], ['2001:200::']],
  [
    ['2001:db8::', '2001:db8:ffff::'],
    ['2001:db7:ffff::', '2001:db9::'],
  ],
  [
    ['2002::', '2002:808:808::', '2002:ffff:ffff::'],
    ['2001:ffff::', '2003::'],
  ],
  [
    ['3fff::', '3fff:fff:ffff::'],
    ['3ffe:ffff::', '3fff:1000::'],
  ],
  [['4000::', '5f00::', 'fbff::', 'fc00::', 'fd00:ec2::254', 'fd20:ce::254', 'fdff:ffff::'], []],
  [['fe00::', 'fe80::', 'fe80::1%lo', 'febf:ffff::', 'fec0::', 'feff:ffff::', 'ff00::', 'ff02::1', 'ffff::'], []],
];

for (const [closed, open] of EDGES) {
  test(`${closed[0]} and its like are closed until the operator opens them`, () => {
    for (const address of closed) {
      assert.equal(mayConnect(address, CLOSED), false, address);
      assert.equal(mayConnect(address, EVERYTHING), true, address);
    }
    for (const address of open) assert.equal(mayConnect(address, CLOSED), true, address);
  });
}

test('what is not an address is closed', () => {
  for (const text of ['', 'localhost', '0177.0.0.1', '2130706433', '127.1', '[2606:4700::1]', '8.8.8.8/32']) {
    assert.equal(mayConnect(text, EVERYTHING), false, text);
  }
});

/** Whatever IPv4 address stands in them. */
const TRANSLATED: readonly (readonly [name: string, network: string, write: (v4: Buffer) => string])[] = [
  ['mapped', '::ffff:0:0/96', (v4) => `::ffff:${v4.join('.')}`],
  ['compatible', '::/96', (v4) => `::${v4.join('.')}`],
  ['translated', '::ffff:0:0:0/96', (v4) => `::ffff:0:${v4.join('.')}`],
  ['NAT64', '64:ff9b::/96', (v4) => `64:ff9b::${v4.join('.')}`],
  ['NAT64 inside, /48', '64:ff9b:1::/48', (v4) => `64:ff9b:1:${hex(v4, 0)}:${hex(v4, 2, 8)}::`],
  ['NAT64 inside, /64', '64:ff9b:1::/48', (v4) => `64:ff9b:1::${octet(v4, 0)}:${hex(v4, 1)}:${octet(v4, 3)}00:0`],
  ['NAT64 inside, /96', '64:ff9b:1::/48', (v4) => `64:ff9b:1::${v4.join('.')}`],
  ['6to4', '2002::/16', (v4) => `2002:${hex(v4, 0)}:${hex(v4, 2)}::1`],
  ['Teredo server', '2001::/32', (v4) => `2001:0:${hex(v4, 0)}:${hex(v4, 2)}:0:0:f7f7:f7f7`],
  ['Teredo client', '2001::/32', (v4) => `2001:0:808:808::${[...v4].map((byte) => byte ^ 0xff).join('.')}`],
];

const octet = (bytes: Buffer, at: number): string => bytes.toString('hex', at, at + 1);

/** Two octets as a group; with `shift` 8 as the two groups in which octet 8 of the whole stays zero. */
function hex(bytes: Buffer, at: number, shift: 0 | 8 = 0): string {
  return shift === 0 ? bytes.toString('hex', at, at + 2) : `${octet(bytes, at)}:${octet(bytes, at + 1)}00`;
}

for (const [name, network, write] of TRANSLATED) {
  test(`${name} addresses need both their forms open`, () => {
    const address = write(Buffer.from([10, 9, 8, 7]));
    assert.equal(mayConnect(address, CLOSED), false, address);
    assert.equal(mayConnect(address, rules(['0.0.0.0/0'])), false, 'the inner alone');
    assert.equal(mayConnect(address, rules([network])), false, 'the outer alone');
    assert.equal(mayConnect(address, EVERYTHING), true);
    assert.equal(mayConnect(address, rules(['0.0.0.0/0', '::/0'], ['10.9.8.7'])), false, 'the inner blocked');
    assert.equal(mayConnect(address, rules(['0.0.0.0/0', '::/0'], [network])), false, 'the outer blocked');
    assert.equal(mayConnect(write(Buffer.from([8, 8, 8, 8])), rules([network])), true, 'a public one inside');
  });
}

test('an IPv6 address is never open when one that it can be translated to is closed', () => {
  const openOuter = rules(TRANSLATED.map(([, network]) => network));
  const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(v4, fc.constantFrom(...TRANSLATED), (bytes, [, , write]) => {
      // Where the address may stand in several places, 0.0.0.0/8 is not told from none.
      fc.pre(bytes[0] !== 0 || !write(bytes).startsWith('64:ff9b:1:'));
      if (!mayConnect(bytes.join('.'), CLOSED)) assert.equal(mayConnect(write(bytes), openOuter), false, write(bytes));
    }),
    { numRuns: 500 },
  );
});

test('what the operator blocks is closed, public or opened', () => {
  assert.equal(mayConnect('8.8.8.8', rules([], ['8.8.8.0/24'])), false);
  assert.equal(mayConnect('8.8.9.8', rules([], ['8.8.8.0/24'])), true);
  const opened = rules(['10.0.0.0/8'], ['10.1.0.0/16']);
  assert.equal(mayConnect('10.2.0.1', opened), true);
  assert.equal(mayConnect('10.1.0.1', opened), false);
});

test('localhost in IPv6 is opened by its own address', () => {
  assert.equal(mayConnect('::1', rules(['::1'])), true);
  assert.equal(mayConnect('::1', LOOPBACK), false);
});

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'));

/** Counts connections on every address of this machine. */
const sockets = new Set<Socket>();
let connections = 0;
const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  response.end(`${request.socket.localAddress} ${request.headers.host}`);
});
server.on('connection', (socket: Socket) => {
  connections++;
  sockets.add(socket);
});
await new Promise<void>((resolve) => server.listen(0, hasIPv6 ? '::' : '0.0.0.0', resolve));
const { port } = server.address() as AddressInfo;
after(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

const ANYWHERE = parseAllowedHosts(['*://*:*']);

type Sent = { readonly outbound: Outbound; readonly authority: string; readonly scheme?: string };

/** What the guest is told: the tag of an error, or the status. */
async function answerTo({ outbound, authority, scheme = 'HTTP' }: Sent): Promise<string | number> {
  const budget = new OutboundBudget({ outboundRequests: 1, outboundConcurrency: 1 });
  const request = new OutgoingRequest(Fields.empty());
  request.scheme = { tag: scheme };
  request.authority = authority;
  request.pathWithQuery = '/';
  const started = outbound.fetch({ allow: ANYWHERE, budget }, { request, options: undefined });
  if (started.tag === 'err') return started.val.tag;
  await started.val.wait();
  const outcome = started.val.get();
  assert.ok(outcome?.tag === 'ok');
  return outcome.val.tag === 'err' ? outcome.val.val.tag : outcome.val.val.status;
}

function outboundWith(rulesOfNode: ConnectRules, resolve?: Resolve): Outbound {
  const outbound = new Outbound(rulesOfNode, resolve);
  after(() => outbound.close());
  return outbound;
}

const PROHIBITED = 'destination-IP-prohibited';
const INVALID = 'HTTP-request-URI-invalid';

/** Ways to write this machine, the metadata of clouds, and private networks. With `here` they lead to the listener. */
const FORMS: readonly (readonly [host: string, answer: string, here?: 'here'])[] = [
  ['127.0.0.1', PROHIBITED, 'here'],
  ['127.0.0.1.', PROHIBITED, 'here'],
  ['127.255.255.254', PROHIBITED, 'here'],
  ['2130706433', PROHIBITED, 'here'],
  ['017700000001', PROHIBITED, 'here'],
  ['0x7f000001', PROHIBITED, 'here'],
  ['0177.0.0.1', PROHIBITED, 'here'],
  ['0X7F.0.0.1', PROHIBITED, 'here'],
  ['0x7f.1', PROHIBITED, 'here'],
  ['127.1', PROHIBITED, 'here'],
  ['127.0.1', PROHIBITED, 'here'],
  ['0', PROHIBITED, 'here'],
  ['0.0.0.0', PROHIBITED, 'here'],
  ['１２７.０.０.１', PROHIBITED, 'here'],
  ['127。0。0。1', PROHIBITED, 'here'],
  ['①②⑦.0.0.1', PROHIBITED, 'here'],
  ['%31%32%37.0.0.1', PROHIBITED, 'here'],
  ['localhost', PROHIBITED, 'here'],
  ['LOCALHOST.', PROHIBITED, 'here'],
  ['ｌｏｃａｌｈｏｓｔ', PROHIBITED, 'here'],
  ['[::1]', PROHIBITED, 'here'],
  ['[0:0:0:0:0:0:0:1]', PROHIBITED, 'here'],
  ['[::]', PROHIBITED, 'here'],
  ['[::ffff:127.0.0.1]', PROHIBITED, 'here'],
  ['[::ffff:7f00:1]', PROHIBITED, 'here'],
  ['[::ffff:0:0]', PROHIBITED, 'here'],
  ['[::127.0.0.1]', PROHIBITED],
  ['[::ffff:0:127.0.0.1]', PROHIBITED],
  ['[64:ff9b::7f00:1]', PROHIBITED],
  ['[64:ff9b:1::7f00:1]', PROHIBITED],
  ['[2002:7f00:1::]', PROHIBITED],
  ['[2001:0:7f00:1::]', PROHIBITED],
  ['[fe80::1]', PROHIBITED],
  ['[fe80::1%25lo]', INVALID],
  ['[fe80::1%lo]', INVALID],
  ['[::1', INVALID],
  ['::1', INVALID],
  ['127.0.0.1@8.8.8.8', INVALID],
  ['256.0.0.1', INVALID],
  ['169.254.169.254', PROHIBITED],
  ['2852039166', PROHIBITED],
  ['0xa9fea9fe', PROHIBITED],
  ['[::ffff:169.254.169.254]', PROHIBITED],
  ['[fd00:ec2::254]', PROHIBITED],
  ['100.100.100.200', PROHIBITED],
  ['168.63.129.16', PROHIBITED],
  ['10.0.0.1', PROHIBITED],
  ['012.1', PROHIBITED],
  ['172.16.0.1', PROHIBITED],
  ['192.168.1', PROHIBITED],
  ['[fd00::2]', PROHIBITED],
];

const closed = outboundWith(CLOSED);
const everything = outboundWith(EVERYTHING);

for (const [host, expected, here] of FORMS) {
  test(`${host} is refused, and nothing connects`, async () => {
    const before = connections;
    assert.equal(await answerTo({ outbound: closed, authority: `${host}:${port}` }), expected);
    assert.equal(await answerTo({ outbound: closed, authority: `${host}:${port}`, scheme: 'HTTPS' }), expected);
    assert.equal(connections, before);
    // That it leads here when it may shows that the refusal was needed.
    if (here === undefined || (host.startsWith('[') && !hasIPv6)) return;
    assert.equal(await answerTo({ outbound: everything, authority: `${host}:${port}` }), 200);
  });
}

/** Answers in turn; every call counts. */
function scripted(...answers: readonly (readonly string[] | Error)[]): { readonly resolve: Resolve; asked: number } {
  const script = {
    asked: 0,
    resolve: async () => {
      const answer = answers[Math.min(script.asked++, answers.length - 1)] ?? [];
      if (answer instanceof Error) throw answer;
      return answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    },
  };
  return script;
}

/** How a connection through the connector ends: the address that it reached, or what the guest is told. */
function reached(ruleSet: ConnectRules, { resolve }: { resolve: Resolve }, timeoutMs = 2000): Promise<string> {
  const connect = createConnector({ rules: ruleSet, timeoutMs, resolve, resolveTimeoutMs: 100 });
  return new Promise((done) => {
    connect({ hostname: 'name.test', host: 'name.test', protocol: 'http:', port: String(port) }, (error, socket) => {
      if (error !== null) {
        done('errorCode' in error ? (error.errorCode as { tag: string }).tag : error.message);
        return;
      }
      done(String(socket?.remoteAddress));
      socket?.destroy();
    });
  });
}

test('a name is refused when it resolves to closed addresses only', async () => {
  const before = connections;
  const answers = scripted(['127.0.0.1', '::1', '::ffff:127.0.0.1', '10.0.0.1', 'fe80::1%lo']);
  assert.equal(await reached(CLOSED, answers), PROHIBITED);
  assert.equal(connections, before);
});

test('of the addresses of a name only the open ones are tried', async () => {
  const answers = scripted(['::1', '127.0.0.2', '::ffff:127.0.0.1', '127.0.0.1']);
  assert.equal(await reached(rules(['127.0.0.2']), answers), '127.0.0.2');
});

test('the connection goes to the address that was judged: a name is resolved once', async () => {
  const answers = scripted(['127.0.0.2'], ['127.0.0.1']);
  assert.equal(await reached(rules(['127.0.0.2']), answers), '127.0.0.2');
  assert.equal(answers.asked, 1);
});

test('an answer that changes from one connection to the next is judged anew', async () => {
  const answers = scripted(['127.0.0.2'], ['127.0.0.1']);
  const outbound = outboundWith(rules(['127.0.0.2']), answers.resolve);
  assert.equal(await answerTo({ outbound, authority: `rebinding.test:${port}` }), 200);
  const before = connections;
  for (const socket of sockets) socket.destroy();
  await sleep(20);
  assert.equal(await answerTo({ outbound, authority: `rebinding.test:${port}` }), PROHIBITED);
  assert.equal(answers.asked, 2);
  assert.equal(connections, before);
});

test('a public answer is not replaced by a closed one while connecting', async () => {
  // Nobody routes 240/4: connecting fails, and no other answer is asked for.
  const answers = scripted(['240.0.0.1'], ['127.0.0.1']);
  const before = connections;
  assert.notEqual(await reached(rules(['240.0.0.0/4']), answers, 200), '127.0.0.1');
  assert.equal(answers.asked, 1);
  assert.equal(connections, before);
});

const failing = (code: string) => scripted(Object.assign(new Error(`getaddrinfo ${code}`), { code }));

test('failures to resolve are errors of DNS, whatever they are', async () => {
  assert.equal(await reached(LOOPBACK, failing('ENOTFOUND')), 'DNS-error');
  assert.equal(await reached(LOOPBACK, failing('EAI_FAIL')), 'DNS-error');
  assert.equal(await reached(LOOPBACK, failing('EAI_AGAIN')), 'DNS-timeout');
});

const resolveLate: Resolve = async () => {
  await sleep(200);
  return [{ address: '127.0.0.1', family: 4 }];
};

test('a resolver that does not answer is a timeout of DNS, and its late answer is not used', async () => {
  const before = connections;
  assert.equal(await reached(LOOPBACK, { resolve: resolveLate }), 'DNS-timeout');
  await sleep(200);
  assert.equal(connections, before);
});

test('the guest asks the server by the name', async () => {
  const outbound = outboundWith(LOOPBACK, scripted(['127.0.0.1']).resolve);
  assert.equal(await answerTo({ outbound, authority: `name.test:${port}` }), 200);
});

test('TLS asks for the name, although the socket goes to an address', async () => {
  const { promise: hello, resolve: onHello } = Promise.withResolvers<string | Buffer>();
  const listener = createTcpServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', (data) => {
        onHello(data);
        socket.destroy();
      });
  }).listen(0, '127.0.0.1');
  after(() => listener.close());
  await once(listener, 'listening');
  const outbound = outboundWith(LOOPBACK, scripted(['127.0.0.1']).resolve);
  const authority = `sni.test:${(listener.address() as AddressInfo).port}`;
  assert.equal(await answerTo({ outbound, authority, scheme: 'HTTPS' }), 'connection-terminated');
  assert.ok((await hello).includes('sni.test'));
});
