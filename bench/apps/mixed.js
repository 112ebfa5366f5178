/** Keeps a core busy for some milliseconds with what apps do: objects, closures, strings, JSON, sorting, expressions. */
const WORDS = 'the quick brown fox jumps over the lazy dog and runs away from it as fast as it can'.split(' ');

function work(seed) {
  let state = seed;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const word = () => WORDS[Math.floor(random() * WORDS.length)];
  const rows = Array.from({ length: 300 }, (_, id) => ({ id, name: `${word()}-${word()}`, weight: random() }));
  const byName = new Map();
  for (const row of JSON.parse(JSON.stringify(rows))) {
    const key = row.name.replace(/[aeiou]+/g, (vowels) => vowels.toUpperCase());
    byName.set(key, (byName.get(key) ?? 0) + row.weight);
  }
  return [...byName]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 10)
    .map(([name]) => name)
    .join();
}

export default {
  fetch() {
    return new Response(work(42));
  },
};
