import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import type { RouteConfig } from '../../src/config/schema.ts';
import { ThawError } from '../../src/errors.ts';
import { Exchange, clientAddress } from '../../src/http/exchange.ts';
import { Outbound } from '../../src/http/outbound.ts';
import { ResponseWriter } from '../../src/http/response-writer.ts';
import { StartTimer } from '../../src/metrics/phases.ts';
import type { Slot } from '../../src/runtime/slot.ts';
import type { Call } from '../../src/wasi/guest.ts';
import { Fields } from '../../src/wasi/http-fields.ts';
import { OutgoingResponse, type IncomingRequest } from '../../src/wasi/http-messages.ts';

const outbound = new Outbound({ allowedNetworks: [], blockedNetworks: [] });

/** What stands in for a guest. It does not hear of aborts, as a guest that calls no host does not. */
type Serve = (call: Call, request: IncomingRequest) => Promise<void> | void;

/** A slot that runs a function. It has of a slot what an exchange uses. */
function slotOf(serve: Serve): Slot {
  const slot = { serve: async (call: Call, request: IncomingRequest) => serve(call, request), abort: () => {} };
  return slot as unknown as Slot;
}

/** What the next request is served with. */
let handle: (request: IncomingMessage, response: ServerResponse) => void = () => {};
const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
after(() => server.close().closeAllConnections());
const { port } = server.address() as AddressInfo;

type Sent = { readonly method?: string; readonly body?: string; readonly limit?: number };

/** Sends a request through an exchange. @returns what `run` threw, or null, and the exchange's own view of it */
async function run(serve: Serve, { method = 'GET', body, limit = 100 }: Sent = {}): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  handle = (request, response) => {
    const route = {
      allowedOutboundHosts: [],
      limits: { requestBodyBytes: limit, responseBodyBytes: null, outboundRequests: 1, outboundConcurrency: 1 },
    } as unknown as RouteConfig;
    const exchange = new Exchange({
      request,
      writer: new ResponseWriter(response),
      target: { authority: 'a.test', path: '/', pathWithQuery: '/' },
      match: { kind: 'found', route, matchedRoute: '/...', params: { name: 'ü /\r\n' } },
      env: [],
      outbound,
      onLine: () => {},
      timer: new StartTimer(),
      onAnswer: () => {},
      onResume: (goOn) => goOn(),
      cpuMs: 50,
    });
    const end = (outcome: unknown): void => {
      resolve(outcome);
      response.destroy();
    };
    exchange.run(slotOf(serve)).then(() => end(null), end);
  };
  const outgoing = request({ port, method, agent: false, headers: { 'x-own': 'kept' } }).on('error', () => {});
  outgoing.end(body);
  return promise;
}

const codeOf = (error: unknown): string | null => (error instanceof ThawError ? error.code : null);

function responseWith(lengths: readonly string[], body: string | null): OutgoingResponse {
  const fields = Fields.fromList(lengths.map((length) => ['Content-Length', Buffer.from(length)]));
  assert.ok(fields.tag === 'ok');
  const response = new OutgoingResponse(fields.val);
  if (body !== null) {
    const out = response.body();
    assert.ok(out.tag === 'ok');
    response.pipe?.write(Buffer.from(body));
    out.val.finish(undefined);
  }
  return response;
}

test('a Content-Length that is not exactly one number is no response', async () => {
  for (const lengths of [['4', '4'], ['4', '5'], ['4, 4'], ['+4'], ['-1'], ['0x4'], ['4.0'], [''], ['9'.repeat(20)]]) {
    const error = await run((call) => call.respond({ tag: 'ok', val: responseWith(lengths, 'four') }));
    assert.equal(codeOf(error), 'GUEST_RESPONSE_INVALID', lengths.join());
  }
});

const answer =
  (length: string, status = 200): Serve =>
  (call) => {
    const response = responseWith([length], null);
    response.setStatus(status);
    call.respond({ tag: 'ok', val: response });
  };

test('a Content-Length without a body is no response, but to HEAD and where there is none', async () => {
  assert.equal(codeOf(await run(answer('5'))), 'GUEST_RESPONSE_INVALID');
  assert.equal(await run(answer('0')), null);
  assert.equal(await run(answer('5'), { method: 'HEAD' }), null);
  assert.equal(await run(answer('5', 304)), null);
});

test('a guest whose response is refused cannot write its body', async () => {
  const response = new OutgoingResponse(responseWith(['4', '5'], null).fields);
  assert.ok(response.body().tag === 'ok');
  const error = await run((call) => {
    call.respond({ tag: 'ok', val: response });
    assert.equal(response.pipe?.write(Buffer.from('four')).tag, 'err');
  });
  assert.equal(codeOf(error), 'GUEST_RESPONSE_INVALID');
});

test('an error in place of a response, and no response at all, are failures of the guest', async () => {
  const error = await run((call) => call.respond({ tag: 'err', val: { tag: 'HTTP-protocol-error' } }));
  assert.equal(codeOf(error), 'GUEST_RESPONSE_INVALID');
  assert.match((error as Error).message, /HTTP-protocol-error/);
  assert.equal(codeOf(await run(() => {})), 'GUEST_NO_RESPONSE');
});

/** Reads the body until it ends or fails. */
async function readOn(request: IncomingRequest): Promise<void> {
  const body = request.consume();
  assert.ok(body.tag === 'ok');
  const stream = body.val.stream();
  assert.ok(stream.tag === 'ok');
  for (;;) {
    await stream.val.wait();
    if (stream.val.read(10).tag === 'err') return;
  }
}

const traps: Serve = async (_, request) => {
  await readOn(request);
  throw new ThawError('GUEST_TRAP', 'the guest trapped: unreachable');
};

test('what a guest does about a body over its limit does not hide that it was', async () => {
  const sent = { method: 'POST', body: 'x'.repeat(101), limit: 100 };
  assert.equal(codeOf(await run(traps, sent)), 'REQUEST_BODY_TOO_LARGE');
  assert.equal(codeOf(await run((_, request) => readOn(request), sent)), 'REQUEST_BODY_TOO_LARGE');
  assert.equal(codeOf(await run(traps, { ...sent, limit: 101 })), 'GUEST_TRAP');
});

test('the guest sees the headers of the client and those of the node', async () => {
  let seen: Record<string, string> = {};
  await run((_, { headers }) => {
    seen = Object.fromEntries(headers.entries());
  });
  assert.equal(seen['x-own'], 'kept');
  assert.equal(seen['thaw-matched-route'], '/...');
  // Encoded: a parameter may hold what could end a header.
  assert.equal(seen['thaw-path-match-name'], '%C3%BC%20/%0D%0A');
  assert.equal(seen['host'], undefined);
});

/** What a guest that runs at once does; false when it would have had to wait. */
type Attempt = (call: Call) => boolean;

/** Serves a request at once, and if that cannot be with `later`. @returns what happened, in order */
async function runAtOnce(attempt: Attempt, later: Serve = () => assert.fail('it was served')): Promise<string[]> {
  const events: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  handle = (request, response) => {
    const route = {
      allowedOutboundHosts: [],
      limits: { requestBodyBytes: 0, responseBodyBytes: 8, outboundRequests: 1, outboundConcurrency: 1 },
    } as unknown as RouteConfig;
    const exchange = new Exchange({
      request,
      writer: new ResponseWriter(response, (send) => {
        events.push('sent');
        send();
      }),
      target: { authority: 'a.test', path: '/', pathWithQuery: '/' },
      match: { kind: 'found', route, matchedRoute: '/...', params: {} },
      env: [],
      outbound,
      onLine: ({ line }) => events.push(line),
      timer: new StartTimer(),
      onAnswer: () => events.push('answered'),
      onResume: (goOn) => goOn(),
      cpuMs: 50,
    });
    const both = Object.assign(slotOf(later), { serveAtOnce: (call: Call) => attempt(call) });
    const work = async (): Promise<void> => {
      if (exchange.runAtOnce(both)) return;
      events.push('again');
      await exchange.run(both);
    };
    work()
      .catch((error: unknown) => events.push(codeOf(error) ?? String(error)))
      .finally(() => {
        response.destroy();
        resolve();
      });
  };
  request({ port, agent: false })
    .on('error', () => {})
    .end();
  await promise;
  return events;
}

const print = (call: Call, text: string): void => call.stdio('stdout', Buffer.from(text));
const four = (call: Call): void => call.respond({ tag: 'ok', val: responseWith([], 'four') });

test('what a guest at once says counts when it has returned: its lines, then its answer', async () => {
  const events = await runAtOnce((call) => {
    print(call, 'one\ntw');
    four(call);
    print(call, 'o');
    return true;
  });
  assert.deepEqual(events, ['one', 'two', 'answered', 'sent']);
});

test('of what a guest has said that would have had to wait nothing counts, be it half a line', async () => {
  const events = await runAtOnce(
    (call) => {
      print(call, 'one\ntw');
      call.respond({ tag: 'ok', val: responseWith(['4', '5'], 'four') });
      call.respond({ tag: 'ok', val: responseWith([], 'more than eight') });
      return false;
    },
    (call) => {
      print(call, 'one\n');
      four(call);
      print(call, 'two');
    },
  );
  assert.deepEqual(events.toSorted(), ['again', 'answered', 'one', 'sent', 'two']);
  assert.equal(events.indexOf('again'), 0);
});

test('a guest at once that fails has said what it said, and one that does not answer is refused', async () => {
  const trapped = await runAtOnce((call) => {
    print(call, 'before the trap');
    throw new ThawError('GUEST_TRAP', 'for the test');
  });
  assert.deepEqual(trapped, ['before the trap', 'GUEST_TRAP']);
  const late = await runAtOnce((call) => {
    four(call);
    throw new ThawError('GUEST_TRAP', 'for the test');
  });
  assert.deepEqual(late, ['answered', 'sent', 'GUEST_TRAP']);
  assert.deepEqual(await runAtOnce(() => true), ['GUEST_NO_RESPONSE']);
  const invalid = await runAtOnce((call) => {
    call.respond({ tag: 'ok', val: responseWith(['4', '5'], 'four') });
    return true;
  });
  assert.deepEqual(invalid, ['answered', 'GUEST_RESPONSE_INVALID']);
  const large = await runAtOnce((call) => {
    call.respond({ tag: 'ok', val: responseWith([], 'more than eight') });
    return true;
  });
  assert.deepEqual(large, ['answered', 'RESPONSE_BODY_TOO_LARGE']);
});

test('the address of a client is written as an authority is', () => {
  for (const [remoteAddress, expected] of [
    ['192.0.2.1', '192.0.2.1:4000'],
    ['2001:db8::1', '[2001:db8::1]:4000'],
    ['::1', '[::1]:4000'],
    ['::ffff:192.0.2.1', '192.0.2.1:4000'],
    ['::ffff:c000:201', '[::ffff:c000:201]:4000'],
  ] as const) {
    assert.equal(clientAddress({ remoteAddress, remotePort: 4000 }), expected);
  }
  assert.equal(clientAddress({ remoteAddress: undefined, remotePort: undefined }), ':0');
});
