import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { dataElement, html, scriptElement, styleElement, withCode } from '../../../bench/report/page/html.ts';
import { ThawError } from '../../../src/errors.ts';
import { HOSTILE } from './fixture.ts';

describe('html', () => {
  test('escapes text, and leaves HTML as it is', () => {
    const inner = html`<b>${'<&>"\''}</b>`;
    assert.equal(inner.text, '<b>&lt;&amp;&gt;&quot;&#39;</b>');
    assert.equal(html`${[inner, 1, null, 'a<b']}`.text, '<b>&lt;&amp;&gt;&quot;&#39;</b>1a&lt;b');
  });

  test('whatever the text: no tag, no attribute ends, no entity begins', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        assert.doesNotMatch(html`${text}`.text, /[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/);
      }),
    );
  });

  test('words with code', () => {
    assert.equal(withCode('a `b<c` d').text, 'a <code>b&lt;c</code> d');
  });
});

describe('elements of raw text', () => {
  test('data is read as it was written, and does not end its element', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.constant(JSON.stringify(HOSTILE))), (json) => {
        const { text } = dataElement('x', json);
        const [, content = ''] = /^<script type="application\/json" id="x">(.*)<\/script>$/s.exec(text) ?? [];
        assert.ok(!content.includes('<'));
        assert.deepEqual(JSON.parse(content), JSON.parse(json));
      }),
    );
  });

  test('a script or a style that would end its element is refused', () => {
    for (const make of [
      () => scriptElement('x = "</script>"'),
      () => styleElement('/* </STYLE> */'),
      () => scriptElement('<!--'),
    ])
      assert.throws(make, (error) => error instanceof ThawError && error.code === 'INTERNAL');
    assert.equal(scriptElement('a < b').text, '<script>a < b</script>');
  });
});
