import { invariant } from '../../../src/errors.ts';

/** HTML in which text is text: what is put into a template is escaped, unless it is HTML already. */

/** Made by the functions of this file only. */
class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type { Html };

type Part = string | number | Html | readonly Part[] | null;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character);

function render(part: Part): string {
  if (part === null) return '';
  if (part instanceof Html) return part.text;
  return typeof part === 'object' ? part.map(render).join('') : escaped(String(part));
}

/** A template of HTML. Holds for text between tags and for attribute values in double quotes. Null is nothing. */
export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html =>
  new Html(strings.reduce((before, string, index) => before + render(parts[index - 1] ?? null) + string));

/**
 * Elements whose content is no HTML, and ends where their end tag is written, whatever its language makes of it. Built
 * here and not by the template: formatters move the white space in templates, and a script is known by its hash.
 */
function rawElement(tag: 'style' | 'script', attributes: string, content: string): Html {
  invariant(!/<(?:\/script|\/style|!--)/i.test(content), `nothing in a ${tag} element ends it`);
  return new Html(`<${tag}${attributes}>${content}</${tag}>`);
}

export const styleElement = (css: string): Html => rawElement('style', '', css);

export const scriptElement = (script: string): Html => rawElement('script', '', script);

/**
 * JSON to be read by scripts as the text of the element `id`: `<` is written as an escape of JSON, so that nothing in it
 * ends the element. Parsing it gives what was written.
 */
export const dataElement = (id: string, json: string): Html =>
  rawElement('script', ` type="application/json" id="${id}"`, json.replaceAll('<', String.raw`\u003c`));

/** Words with `code` in backticks. */
export const withCode = (words: string): Html =>
  html`${words.split('`').map((part, index) => (index % 2 === 0 ? part : html`<code>${part}</code>`))}`;
