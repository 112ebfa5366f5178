import { NONE } from '../numbers.ts';
import type { Cell, Column, Row, Table } from '../table.ts';
import { html, type Html } from './html.ts';

/** A cell's content; numbers carry the value before it was rounded. */
function content(cell: Cell): Html {
  switch (cell.kind) {
    case 'none':
      return html`<span class="none">${NONE}</span>`;
    case 'text':
      return html`${cell.text}`;
    case 'code':
      return html`<code>${cell.text}</code>`;
    case 'number': {
      const quartiles = cell.quartiles === null ? null : html`<small>${cell.quartiles}</small>`;
      return html`<data value="${cell.value}">${cell.text}</data>${quartiles}`;
    }
  }
}

const heading = ({ label, unit, isNumeric }: Column): Html =>
  html`<th scope="col" class="${isNumeric ? 'number' : 'words'}">
    ${label}${unit === undefined ? null : html`, <span class="unit">${unit}</span>`}
  </th>`;

function tableRow({ header, body }: Row, columns: readonly Column[]): Html {
  const kindOf = (index: number): string => (columns[index]?.isNumeric === true ? 'number' : 'words');
  const cells =
    'kind' in body
      ? html`<td class="${body.kind}" colspan="${columns.length - 1}">
          <span><b>${body.kind}</b>: ${body.message}</span>
        </td>`
      : html`${body.map((cell, index) => html`<td class="${kindOf(index + 1)}">${content(cell)}</td>`)}`;
  return html`<tr>
    <th scope="row" class="${kindOf(0)}">${content(header)}</th>
    ${cells}
  </tr> `;
}

/** In a frame that scrolls sideways when the screen is narrow, by keyboard as well. */
export const renderTable = ({ caption, columns, rows }: Table): Html =>
  html`<div
    class="${columns.length === 2 ? 'scroll list' : 'scroll'}"
    tabindex="0"
    role="region"
    aria-label="${caption}"
  >
    <table>
      <caption>
        <span>${caption}</span>
      </caption>
      <thead>
        <tr>
          ${columns.map(heading)}
        </tr>
      </thead>
      <tbody>
        ${rows.map((row) => tableRow(row, columns))}
      </tbody>
    </table>
  </div>`;
