import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns, type StdioOptions } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import type { GuestLine, GuestStream } from '../src/log.ts';
import { GUEST_LINE_BYTES, GUEST_OUTPUT_BYTES, GUEST_OUTPUT_LINES, GuestLineWriter, createLogger } from '../src/log.ts';

type Write = readonly [stream: GuestStream, bytes: Uint8Array];

function linesOf(writes: readonly Write[]): GuestLine[] {
  const lines: GuestLine[] = [];
  const writer = new GuestLineWriter((line) => lines.push(line));
  for (const [stream, bytes] of writes) writer.write(stream, bytes);
  writer.end();
  return lines;
}

/** What the guest wrote, put together again. A last line without line feed gets one. */
const joined = (lines: readonly GuestLine[], stream: GuestStream): string =>
  lines
    .filter((line) => line.stream === stream && line.part !== 'truncated')
    .map(({ line, part }) => (part === 'whole' ? `${line}\n` : line))
    .join('');

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Cuts `bytes` at the given places, which may lie within a character. */
function portions(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

suite('GuestLineWriter', () => {
  test('joined lines equal the input, however it is cut', () => {
    const piece = fc.oneof(
      fc.constantFrom('\n', '\r\n', '\ufeff', 'é', '😀', '\u001b[31m'),
      fc.integer({ min: 1, max: 5000 }).map((length) => 'x€😀'.repeat(length)),
      fc.string({ unit: 'binary' }),
    );
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, fc.array(fc.nat(), { maxLength: 12 }), (text, cuts) => {
        const bytes = utf8(text);
        fc.pre(bytes.length <= GUEST_OUTPUT_BYTES);
        const lines = linesOf(portions(bytes, cuts).map((portion) => ['stdout', portion]));
        const expected = text === '' || text.endsWith('\n') ? text : `${text}\n`;
        assert.equal(joined(lines, 'stdout'), expected);
        for (const { line } of lines) assert.ok(utf8(line).length <= GUEST_LINE_BYTES);
      }),
    );
  });

  test('calls back as soon as a line ends', () => {
    const lines: GuestLine[] = [];
    const writer = new GuestLineWriter((line) => lines.push(line));
    writer.write('stdout', utf8('one\ntw'));
    assert.deepEqual(lines, [{ stream: 'stdout', line: 'one', part: 'whole' }]);
    writer.write('stdout', utf8('o\n\n'));
    assert.deepEqual(
      lines.map(({ line }) => line),
      ['one', 'two', ''],
    );
    writer.end();
    assert.equal(lines.length, 3);
  });

  test('keeps the streams apart', () => {
    const lines = linesOf([
      ['stdout', utf8('a')],
      ['stderr', utf8('b')],
      ['stdout', utf8('c\n')],
    ]);
    assert.deepEqual(lines, [
      { stream: 'stdout', line: 'ac', part: 'whole' },
      { stream: 'stderr', line: 'b', part: 'whole' },
    ]);
  });

  test('cuts a line that is too long between characters, and takes one that just fits whole', () => {
    const fits = 'x'.repeat(GUEST_LINE_BYTES);
    assert.deepEqual(
      linesOf([['stdout', utf8(`${fits}\n`)]]).map(({ part }) => part),
      ['whole'],
    );
    const lines = linesOf([['stdout', utf8(`${'x'.repeat(GUEST_LINE_BYTES - 1)}😀y\n`)]]);
    assert.deepEqual(
      lines.map(({ line, part }) => [line.length, part]),
      [
        [GUEST_LINE_BYTES - 1, 'continued'],
        [3, 'whole'],
      ],
    );
    assert.equal(lines[1]?.line, '😀y');
  });

  test('replaces bytes that are no UTF-8, in any number', () => {
    assert.equal(linesOf([['stdout', Uint8Array.of(0x61, 0xff, 0x62, 0x0a)]])[0]?.line, 'a\ufffdb');
    const lines = linesOf([['stdout', new Uint8Array(GUEST_LINE_BYTES * 2).fill(0x80)]]);
    assert.equal(lines.map(({ line }) => line).join(''), '\ufffd'.repeat(GUEST_LINE_BYTES * 2));
  });

  test('keeps a copy of an unfinished line: the guest may overwrite its memory', () => {
    const lines: GuestLine[] = [];
    const writer = new GuestLineWriter((line) => lines.push(line));
    const memory = utf8('abc');
    writer.write('stdout', memory);
    memory.fill(0x7a);
    writer.end();
    assert.equal(lines[0]?.line, 'abc');
  });

  test('drops what both streams write beyond the limit, and says so once, at the end', () => {
    const half = utf8('y'.repeat(GUEST_OUTPUT_BYTES / 2));
    const exact = linesOf([
      ['stdout', half],
      ['stderr', half],
    ]);
    assert.ok(exact.every(({ part }) => part !== 'truncated'));
    const lines = linesOf([
      ['stdout', half],
      ['stderr', half],
      ['stderr', utf8('a\nb\n')],
      ['stdout', half],
    ]);
    assert.equal((joined(lines, 'stdout') + joined(lines, 'stderr')).replaceAll('\n', '').length, GUEST_OUTPUT_BYTES);
    assert.deepEqual(
      lines.filter(({ part }) => part === 'truncated'),
      [lines.at(-1)],
    );
    assert.equal(lines.at(-1)?.stream, 'stderr');
    assert.match(lines.at(-1)?.line ?? '', /beyond 65536 bytes/);
  });
});

const lineFeeds = (count: number): Uint8Array => utf8('\n'.repeat(count));

suite('GuestLineWriter, of many lines', () => {
  test('takes so many of both streams, and says once that there were more', () => {
    const exact = linesOf([
      ['stdout', lineFeeds(GUEST_OUTPUT_LINES - 1)],
      ['stderr', utf8('the last')],
    ]);
    assert.equal(exact.length, GUEST_OUTPUT_LINES);
    assert.deepEqual(exact.at(-1), { stream: 'stderr', line: 'the last', part: 'whole' });
    for (const more of [lineFeeds(1), utf8('x'), lineFeeds(GUEST_OUTPUT_BYTES)]) {
      const lines = linesOf([
        ['stdout', lineFeeds(GUEST_OUTPUT_LINES)],
        ['stderr', more],
        ['stdout', more],
      ]);
      assert.equal(lines.length, GUEST_OUTPUT_LINES + 1);
      assert.equal(lines.at(-1)?.part, 'truncated');
      assert.equal(lines.at(-1)?.stream, 'stderr');
      assert.match(lines.at(-1)?.line ?? '', /or 1000 lines is not logged$/);
    }
  });

  test('drops the unfinished line for which there is no room', () => {
    const lines = linesOf([
      ['stderr', utf8('unfinished')],
      ['stdout', lineFeeds(GUEST_OUTPUT_LINES)],
    ]);
    assert.deepEqual(
      lines.filter(({ line }) => line !== '').map(({ part }) => part),
      ['truncated'],
    );
  });
});

/** Runs `body` in a process of its own, with `log` at hand. @param stderr a descriptor in place of a pipe */
function runWithLogger(body: string, level: string, stderr: number | 'pipe' = 'pipe'): SpawnSyncReturns<string> {
  const program = `import { createLogger } from './src/log.ts'; const log = createLogger(); ${body}`;
  const env = { ...process.env, THAW_LOG_LEVEL: level };
  const stdio: StdioOptions = ['ignore', 'pipe', stderr];
  return spawnSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8', env, stdio });
}

suite('createLogger()', () => {
  test('writes JSON lines to stderr, the last one before process.exit too', () => {
    const { stdout, stderr } = runWithLogger("log.info({ route: '/a' }, 'served'); process.exit(3);", '');
    assert.equal(stdout, '');
    const { time, ...line }: Record<string, unknown> = JSON.parse(stderr);
    assert.deepEqual(line, { level: 'info', route: '/a', msg: 'served' });
    assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  test('takes its level from THAW_LOG_LEVEL', () => {
    const { stderr } = runWithLogger("log.info('no'); log.warn('yes');", 'warn');
    assert.equal(stderr.trimEnd().split('\n').length, 1);
    assert.match(stderr, /"msg":"yes"/);
  });

  test('does not end the process when nothing can be written', () => {
    const body = `
      for (let line = 0; line < 3000; line++) log.info({ pad: 'x'.repeat(1000) }, 'a line');
      setTimeout(() => { log.info('later'); console.log('alive'); }, 20);`;
    const full = openSync('/dev/full', 'w');
    try {
      const { stdout, status } = runWithLogger(body, 'info', full);
      assert.deepEqual([stdout, status], ['alive\n', 0]);
    } finally {
      closeSync(full);
    }
  });

  test('refuses a level that does not exist', () => {
    assert.throws(() => createLogger('verbose'), { code: 'USAGE', message: /"verbose", not one of trace, debug/ });
  });
});
