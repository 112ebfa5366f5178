import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { ResponseParser, type Response } from '../../bench/support/response-parser.ts';

const LENGTH = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello';
const CHUNKED =
  'HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, 10 bytes\r\n0\r\n\r\n';
const EMPTY = 'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n';

const parse = (text: string): Response | null => new ResponseParser().push(Buffer.from(text, 'latin1'));

describe('ResponseParser', () => {
  test('cuts a body by its Content-Length', () => {
    assert.deepEqual(parse(LENGTH), { status: 200, body: 'hello', keepAlive: true });
  });

  test('joins chunks', () => {
    assert.deepEqual(parse(CHUNKED), { status: 404, body: 'hello, 10 bytes', keepAlive: true });
  });

  test('knows that 204 has no body, and when the connection will close', () => {
    assert.deepEqual(parse(EMPTY), { status: 204, body: '', keepAlive: false });
  });

  test('takes a body without length as all until the connection closes', () => {
    const parser = new ResponseParser();
    assert.equal(parser.push(Buffer.from('HTTP/1.1 200 OK\r\n\r\nup to')), null);
    assert.equal(parser.push(Buffer.from(' here')), null);
    assert.deepEqual(parser.end(), { status: 200, body: 'up to here', keepAlive: false });
  });

  test('finds the same response however its bytes arrive, and the next one after it', () => {
    const responses = fc.constantFrom(LENGTH, CHUNKED, EMPTY);
    fc.assert(
      fc.property(responses, responses, fc.integer({ min: 1, max: 9 }), (first, second, step) => {
        const parser = new ResponseParser();
        const found: Response[] = [];
        for (const text of [first, second]) {
          for (let at = 0; at < text.length; at += step) {
            const response = parser.push(Buffer.from(text.slice(at, at + step), 'latin1'));
            if (response !== null) found.push(response);
          }
        }
        assert.deepEqual(found, [parse(first), parse(second)]);
      }),
    );
  });

  test('refuses what is no response', () => {
    assert.throws(() => parse('SSH-2.0-x\r\n\r\n'), /not a response of HTTP\/1\.1/);
    assert.throws(() => parse('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n'), /size of a chunk/);
  });

  test('refuses a response that the connection cut short', () => {
    const parser = new ResponseParser();
    parser.push(Buffer.from(LENGTH.slice(0, -1)));
    assert.throws(() => parser.end(), /in the middle of a 200 response/);
  });

  test('has nothing to say about a connection that closes between responses', () => {
    const parser = new ResponseParser();
    parser.push(Buffer.from(LENGTH));
    assert.equal(parser.end(), null);
  });
});
