import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import { describePlan, planLines } from '../../src/wasm/describe.ts';
import { decodeComponent } from '../../src/wasm/link.ts';

describe('describePlan()', async () => {
  const wat = readFileSync(new URL('fixtures/shim.wat', import.meta.url), 'utf8');
  const { plan } = decodeComponent(await parse(wat));

  it('groups imports by source', () => {
    assert.deepEqual(planLines(describePlan(plan)), [
      'core instances',
      '  0 shim',
      '  1 main',
      '    from instance 0 shim: 2 core exports',
      '    from wasi:http/types@0.2.10: 1 resource drop',
      '    from wasi:io/streams@0.2.12: 1 function',
      '    from wasi:io/poll@0.2.12: 1 resource drop',
      '  2 adapter',
      '    from instance 1 main: 1 core export',
      '    from wasi:clocks/wall-clock@0.2.6: 1 function',
      '  3 fixup',
      '    from wasi:http/types@0.2.10: 1 function',
      '    from instance 2 adapter: 1 core export',
      '    from instance 0 shim: 1 core export',
      'exports',
      '  wasi:http/incoming-handler@0.2.10 handle: lifted from 1 main, wasi:http/incoming-handler@0.2.10#handle',
      'imports',
      '  wasi:io/poll@0.2.12: 0 of 0 functions used',
      '  wasi:io/streams@0.2.12: 1 of 1 function used',
      '  wasi:http/types@0.2.10: 1 of 1 function used',
      '  wasi:clocks/wall-clock@0.2.6: 1 of 1 function used',
    ]);
  });

  it('lets no control character through', () => {
    const [first, ...modules] = plan.modules;
    assert.ok(first);
    const lines = planLines(describePlan({ ...plan, modules: [{ name: 'a\u001b[2Jb\u202e' }, ...modules] }));
    assert.equal(lines[1], '  0 a\\u{1b}[2Jb\\u{202e}');
  });
});
