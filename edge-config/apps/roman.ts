/** An app with a framework from npm: /roman/1984 answers MCMLXXXIV, and /roman/MCMLXXXIV answers 1984. */
import { Hono } from 'hono';

const NUMERALS: [value: number, text: string][] = [
  [1000, 'M'],
  [900, 'CM'],
  [500, 'D'],
  [400, 'CD'],
  [100, 'C'],
  [90, 'XC'],
  [50, 'L'],
  [40, 'XL'],
  [10, 'X'],
  [9, 'IX'],
  [5, 'V'],
  [4, 'IV'],
  [1, 'I'],
];

/** There is no way to write 4,000 with these letters. */
const LARGEST = 3999;

function toRoman(number: number): string {
  let [text, left] = ['', number];
  for (const [value, numeral] of NUMERALS) {
    for (; left >= value; left -= value) text += numeral;
  }
  return text;
}

/** Made when the app is built. */
const numbers = new Map<string, number>();
for (let number = 1; number <= LARGEST; number++) numbers.set(toRoman(number), number);

const app = new Hono().basePath('/roman');

app.get('/:number{[0-9]+}', (c) => {
  const number = Number(c.req.param('number'));
  return number >= 1 && number <= LARGEST ? c.text(`${toRoman(number)}\n`) : c.text(`1 to ${LARGEST}\n`, 400);
});
app.get('/:numeral', (c) => {
  const number = numbers.get(c.req.param('numeral').toUpperCase());
  return number === undefined ? c.text('not a Roman numeral\n', 400) : c.text(`${number}\n`);
});

export default app;
