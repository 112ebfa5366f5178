import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatTable, number } from '../../bench/support/report.ts';
import { groupTicks } from '../../bench/support/child.ts';
import { parseStraceCounts, perUnit } from '../../bench/support/strace.ts';
import { parseWrk } from '../../bench/support/wrk.ts';

const WRK = `Running 3s test @ http://127.0.0.1:8080/x
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.10ms    5.60ms  90.05ms   97.85%
    Req/Sec     9.91k     1.02k   11.51k    70.00%
  Latency Distribution
     50%  819.00us
     75%    3.43ms
     90%    3.81ms
     99%    1.20s${' '}
  29601 requests in 3.00s, 4.94MB read
Requests/sec:   9862.43
Transfer/sec:      1.65MB
`;

describe('parseWrk()', () => {
  test('reads the rate, and percentiles in milliseconds whatever their unit', () => {
    assert.deepEqual(parseWrk(WRK), { perSecond: 9862.43, p50: 0.819, p99: 1200, failed: 0 });
  });

  test('counts socket errors and refusals as failed', () => {
    const errors =
      '  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 90\nRequests/sec';
    assert.equal(parseWrk(WRK.replace('Requests/sec', errors)).failed, 100);
  });

  test('refuses output without a rate', () => {
    assert.throws(() => parseWrk('unable to connect to 127.0.0.1:1 Connection refused\n'), /no rate/);
  });
});

const STRACE = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.02    0.031415          12      2507       102 futex
 20.00    0.010000          16       600           ioctl
  0.00    0.000000           0         1           execve
------ ----------- ----------- --------- --------- ----------------
100.00    0.041415          13      3108       102 total
`;

describe('parseStraceCounts()', () => {
  test('reads calls, with errors or without, and leaves out the total', () => {
    assert.deepEqual(
      [...parseStraceCounts(STRACE)],
      [
        ['futex', 2507],
        ['ioctl', 600],
        ['execve', 1],
      ],
    );
  });
});

describe('perUnit()', () => {
  test('is the difference for each unit, the most first, without what did not grow', () => {
    const less = new Map([
      ['ioctl', 100],
      ['execve', 1],
      ['brk', 9],
    ]);
    const more = new Map([
      ['futex', 50],
      ['ioctl', 600],
      ['execve', 1],
      ['brk', 3],
    ]);
    assert.deepEqual(
      [...perUnit(less, more, 500)],
      [
        ['ioctl', 1],
        ['futex', 0.1],
      ],
    );
  });
});

/** A line of /proc/<pid>/stat. */
const stat = (name: string, group: number, user: number, system: number): string =>
  `7 (${name}) S 1 ${group} 7 0 -1 4194304 100 0 0 0 ${user} ${system} 0 0 20 0 11 0 99 1000 5\n`;

describe('groupTicks()', () => {
  test('adds user and system time of the processes of one group', () => {
    const stats = [stat('node', 42, 10, 3), stat('node', 43, 1000, 1000), stat('shim', 42, 1, 0)];
    assert.equal(groupTicks(stats, 42), 14);
  });

  test('is not misled by what a process calls itself', () => {
    assert.equal(groupTicks([stat('a) S 1 42 (b', 41, 5, 5)], 42), 0);
  });
});

describe('number()', () => {
  test('keeps three digits, whole numbers whole, and says - for none', () => {
    assert.deepEqual([12_345, 123.456, 1.23456, 0.00123456, Number.NaN].map(number), [
      '12345',
      '123',
      '1.23',
      '0.00123',
      '-',
    ]);
  });
});

describe('formatTable()', () => {
  test('aligns the first column to the left and the others to the right', () => {
    const table = formatTable(
      ['name', 'n'],
      [
        ['a', '1'],
        ['longer', '200'],
      ],
    );
    assert.equal(table, ['name      n', '------  ---', 'a         1', 'longer  200'].join('\n'));
  });
});
