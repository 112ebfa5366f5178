import assert from 'node:assert/strict';
import { IncomingMessage, validateHeaderName, validateHeaderValue } from 'node:http';
import { Socket } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { admissionOf, guestHeaders, HeadRefused } from '../../src/http/admission.ts';
import { Fields, isForbiddenName } from '../../src/wasi/http-fields.ts';

const accepts = (check: () => void): boolean => {
  try {
    check();
    return true;
  } catch {
    return false;
  }
};

const latin1 = fc.integer({ min: 0, max: 0xff }).map((code) => String.fromCharCode(code));
const separator = fc.constantFrom(' ', '\t', '\r', '\n', '\r\n ', ':', '\0', '\x7f', ',', '"', '(', '\u00e9');
const letter = fc.constantFrom('a', 'Z', '0', '-', '_', '!', '~', '`', '|', '.');
const fieldText = fc.oneof(
  fc.string({ unit: fc.oneof({ weight: 8, arbitrary: letter }, separator), maxLength: 12 }),
  fc.string({ unit: latin1, maxLength: 8 }),
);

test('a guest may set exactly the fields that Node would send, less those of the connection', () => {
  const outcomes = new Set<string>();
  fc.assert(
    fc.property(fc.oneof(fieldText, fc.constantFrom('Host', 'upgrade', 'x-\u0130')), fieldText, (name, value) => {
      const isSendable = accepts(() => {
        validateHeaderName(name);
        validateHeaderValue(name, value);
      });
      const fields = Fields.empty();
      const { tag, val } = fields.append(name, Buffer.from(value, 'latin1'));
      assert.equal(tag === 'ok', isSendable && !isForbiddenName(name), JSON.stringify([name, value]));
      assert.deepEqual(fields.raw, tag === 'ok' ? [name, value] : []);
      outcomes.add(val?.tag ?? tag);
    }),
    { numRuns: 5000 },
  );
  assert.deepEqual([...outcomes].toSorted(), ['forbidden', 'invalid-syntax', 'ok']);
});

/** A request with this head, as Node's parser hands it on. */
function request(target: string, rawHeaders: readonly string[], method = 'GET'): IncomingMessage {
  const message = new IncomingMessage(new Socket());
  const fields = rawHeaders.flatMap((name, index) =>
    index % 2 === 0 ? [[name.toLowerCase(), rawHeaders[index + 1]]] : [],
  );
  return Object.assign(message, {
    method,
    url: target,
    httpVersion: '1.1',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    rawHeaders: [...rawHeaders],
    headers: Object.fromEntries(fields),
  });
}

const PIECES =
  'a example.test 127.0.0.1 [::1] [::ffff:1.2.3.4] [ ] : :80 :99999 . .. - _ @ user@ / ? # \\ % %00 \t , \u00e9'.split(
    ' ',
  );
const piece = fc.constantFrom(...PIECES, ' ', '');
const authority = fc.array(piece, { maxLength: 4 }).map((pieces) => pieces.join(''));

/** What the head is admitted as, or null where it is refused. */
function admitted(head: IncomingMessage): { authority: string; path: string; pathWithQuery: string } | null {
  try {
    const admission = admissionOf(head);
    assert.equal(admission.kind, 'request');
    return admission.kind === 'request' ? admission : null;
  } catch (error) {
    assert.ok(error instanceof HeadRefused && error.status >= 400 && error.status < 600, String(error));
    return null;
  }
}

test('an authority that is admitted is a host and a port to every other parser, too', () => {
  let taken = 0;
  fc.assert(
    fc.property(authority, fc.boolean(), (text, isAbsolute) => {
      // There a slash or a question mark would be the end of it.
      if (isAbsolute && /[/?]/.test(text)) return;
      const head = isAbsolute ? request(`http://${text}/p?q`, ['Host', 'other.test']) : request('/p?q', ['Host', text]);
      const target = admitted(head);
      if (target === null) return;
      taken++;
      assert.deepEqual([target.authority, target.path, target.pathWithQuery], [text, '/p', '/p?q']);
      // Names that look like numbers, or have labels that IDNA refuses, are names here: no URL has them.
      const url = URL.parse(`http://${text}/p?q`);
      if (url === null) return;
      assert.deepEqual([url.username, url.password, url.pathname, url.search, url.hash], ['', '', '/p', '?q', '']);
      const [, port = ''] = /(?<!\[[^\]]*):(\d*)$/.exec(text) ?? [];
      assert.equal(url.port, port === '' || Number(port) === 80 ? '' : String(Number(port)));
    }),
    { numRuns: 3000 },
  );
  assert.ok(taken > 100, `${taken} taken`);
});

test('a target that is admitted has one path, which begins with a slash and has no fragment, space or control', () => {
  const unit = fc.constantFrom(
    '/',
    '?',
    '#',
    '*',
    'a',
    '%2f',
    '%',
    ':',
    '//',
    '..',
    'http://a.test',
    '\\',
    ' ',
    '\t',
    '\u00e9',
    '"',
  );
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 6 }), (units) => {
      const target = admitted(request(units.join(''), ['Host', 'a.test']));
      if (target === null) return;
      const { path, pathWithQuery } = target;
      assert.match(pathWithQuery, /^\/[\x21\x22\x24-\x7e]*$/);
      assert.equal(path, pathWithQuery.split('?')[0]);
    }),
    { numRuns: 3000 },
  );
});

test('what a guest is given of the headers of a request is a part of them, without those that are the node\u2019s', () => {
  const name = fc.oneof(fieldText, fc.constantFrom('Thaw-Client-Addr', 'THAW-X', 'x_y', 'accept'));
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fieldText), { maxLength: 6 }), (lines) => {
      const expected = lines.filter(([name]) => !name.includes('_') && !name.toLowerCase().startsWith('thaw-'));
      assert.deepEqual(guestHeaders(lines.flat()), expected.flat());
    }),
  );
});
