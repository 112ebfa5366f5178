import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorsDocument } from '../../scripts/errors-doc.ts';
import { ERRORS } from '../../src/errors.ts';
import { readPage } from './support.ts';

const MEND = 'run node scripts/errors-doc.ts, and write what new codes mean into docs/errors.md';

/** A row of the table, its cells without the escapes of Markdown. */
type Row = { readonly code: string; readonly meaning: string; readonly status: string; readonly help: string };

function rowsOf(markdown: string): Row[] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => {
      const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll(String.raw`\|`, '|'));
      const [, code = '', meaning = '', status = '', help = ''] = cells;
      return { code: code.replaceAll('`', ''), meaning, status, help };
    });
}

const page = readPage('docs/errors.md');

test(`docs/errors.md has every code once, with the status and the advice of the table: ${MEND}`, () => {
  const expected = Object.entries(ERRORS).map(([code, { help, ...rest }]) => ({
    code,
    status: 'status' in rest ? String(rest.status) : '',
    help,
  }));
  assert.deepEqual(
    rowsOf(page).map(({ code, status, help }) => ({ code, status, help })),
    expected,
  );
});

test(`docs/errors.md says of every code what it means: ${MEND}`, () => {
  assert.deepEqual(
    rowsOf(page).filter(({ meaning }) => meaning.length < 10),
    [],
  );
});

test('errors-doc changes nothing that is up to date, brings back what was lost, and names what it cannot know', () => {
  assert.deepEqual(errorsDocument(page), { text: page, unexplained: [] });
  const withoutRow = page.replace(/^\| `ROUTE_BUSY` .*\n/m, '');
  const mended = errorsDocument(withoutRow);
  assert.deepEqual(mended.unexplained, ['ROUTE_BUSY']);
  const rows = rowsOf(mended.text);
  const at = rows.findIndex(({ code }) => code === 'ROUTE_BUSY');
  assert.equal(rows[at - 1]?.code, 'REQUEST_BODY_SLOW');
  assert.deepEqual(rows[at], { code: 'ROUTE_BUSY', meaning: '', status: '503', help: ERRORS.ROUTE_BUSY.help });
  const withUnknown = page.replace(
    '| `ROUTE_BUSY` |',
    '| `ROUTE_SLEEPY` | Never was. | 503 | Nothing. |\n| `ROUTE_BUSY` |',
  );
  assert.equal(errorsDocument(withUnknown).text, page);
});
