import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseCores } from '../../bench/support/cores.ts';
import { entrantsFor } from '../../bench/support/peers/index.ts';
import { parseAbilities, parseWasmtimeVersion } from '../../bench/support/peers/wasmtime.ts';
import { lastLines, shownCommand, withoutPaths } from '../../bench/support/shown.ts';
import { ThawError } from '../../src/errors.ts';

const OPTIMIZE_HELP = `Available optimize options:

  -O                           opt-level=0|1|2|s -- Optimization level of generated code (0-2, s; default: 2)
  -O                     pooling-allocator[=y|n] -- Enable the pooling allocator, in place of the on-demand allocator.
  -O              pooling-memory-keep-resident=N -- How many bytes to keep resident between instantiations.
  -O                       memory-init-cow[=y|n] -- Configure a copy-on-write mapping (default: yes)
  -O             pooling-pagemap-scan[=y|n|auto] -- Whether or not ioctls are used.

pass \`-O help-long\` to see longer-form explanations
`;

const SERVE_HELP = `Options:
      --addr <SOCKADDR>
          Socket address for the web server to bind to

      --max-instance-reuse-count <MAX_INSTANCE_REUSE_COUNT>
          Maximum number of requests to send to a single component instance before dropping it.
`;

describe('parseAbilities()', () => {
  test('tunes by the options that this wasmtime has', () => {
    assert.deepEqual(parseAbilities(OPTIMIZE_HELP, SERVE_HELP), {
      tuning: 'pooling-allocator=y,memory-init-cow=y,pooling-memory-keep-resident=16777216,pooling-pagemap-scan=auto',
      canReuse: true,
    });
  });

  test('finds in an old one that instances serve one request, and nothing to tune', () => {
    assert.deepEqual(parseAbilities('', 'Options:\n      --addr <SOCKADDR>\n'), { tuning: '', canReuse: false });
  });
});

describe('parseWasmtimeVersion()', () => {
  test('reads the version of all releases', () => {
    assert.equal(parseWasmtimeVersion('wasmtime 49.0.3 (f96eabaa1 2026-10-14)\n'), '49.0.3');
    assert.equal(parseWasmtimeVersion('wasmtime-cli 9.0.4\n'), '9.0.4');
    assert.equal(parseWasmtimeVersion('zsh: no such thing'), 'unknown');
  });
});

describe('entrantsFor()', () => {
  test('enters thaw first, whoever comes with it', () => {
    const names = entrantsFor('auto').map(({ contender }) => contender.name);
    assert.equal(names[0], 'thaw');
    assert.equal(new Set(names).size, names.length);
    assert.deepEqual(
      entrantsFor('none').map(({ contender }) => contender.name),
      ['thaw'],
    );
  });

  test('enters what is named', () => {
    assert.deepEqual(
      entrantsFor(['node:http']).map(({ contender }) => contender.name),
      ['thaw', 'node:http'],
    );
  });

  test('refuses a name that is none, and says which there are', () => {
    for (const name of ['nginx', 'constructor']) {
      assert.throws(
        () => entrantsFor([name]),
        (error) => error instanceof ThawError && error.code === 'USAGE' && error.message.includes('wasmtime, jco'),
      );
    }
  });

  test('shows commands without paths of this machine', () => {
    for (const { found } of entrantsFor('auto')) {
      if (found.kind === 'found') assert.doesNotMatch(found.command, /(?:^|[\s='])\//);
    }
  });
});

describe('shownCommand()', () => {
  test('cuts paths to names, and quotes what a shell would take apart', () => {
    const command = ['/opt/w/wasmtime', 'serve', '--addr', '127.0.0.1:8080', '/tmp/x/hello.cwasm', "it's", 'a b'];
    assert.equal(shownCommand(command), String.raw`wasmtime serve --addr 127.0.0.1:8080 hello.cwasm 'it'\''s' 'a b'`);
  });
});

describe('withoutPaths()', () => {
  test('cuts absolute paths and leaves URLs and request targets', () => {
    const cases = [
      ['at run (/home/user/a/b.js:3:4)', 'at run (…/b.js:3:4)'],
      ['at file:///home/user/a/b.js:3:4', 'at …/b.js:3:4'],
      ["Cannot find '/usr/lib/x'", "Cannot find '…/x'"],
      ['http://127.0.0.1:80/a/b says no', 'http://127.0.0.1:80/a/b says no'],
      ['GET /x: 500', 'GET /x: 500'],
      ['wasi:http/types@0.2.10', 'wasi:http/types@0.2.10'],
    ] as const;
    for (const [text, shown] of cases) assert.equal(withoutPaths(text), shown);
  });
});

describe('lastLines()', () => {
  test('keeps the end of what was written, without empty lines', () => {
    assert.equal(lastLines('1\n2\n\n3\n4\n5\n6\n/tmp/a/7\n'), '2\n3\n4\n5\n6\n…/7');
    assert.equal(lastLines('x'.repeat(10_000)).length, 600);
  });
});

describe('parseCores()', () => {
  test('reads lists of cores and ranges', () => {
    assert.deepEqual(parseCores('0-2,5,7-7'), [0, 1, 2, 5, 7]);
    assert.deepEqual(parseCores(''), []);
  });
});
