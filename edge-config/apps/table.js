/**
 * A JSON API over a table of 20,000 places, made while the app starts. Without a snapshot that work is done before the
 * first answer of every instance; here it was done when the app was built.
 *
 *   /table/10000            the place with this code
 *   /table?prefix=kar       the first ten places whose names begin so
 */

const PLACES = 20_000;
const FIRST_CODE = 10_000;
const RESULTS = 10;
const STARTS = [
  'bel',
  'dor',
  'fen',
  'gal',
  'hol',
  'kar',
  'lun',
  'mar',
  'nor',
  'ost',
  'pel',
  'ran',
  'sol',
  'tor',
  'val',
];
const MIDDLES = ['a', 'an', 'e', 'el', 'en', 'i', 'in', 'o', 'or', 'u', 'un'];
const ENDS = ['bach', 'berg', 'burg', 'dale', 'feld', 'ford', 'ham', 'haven', 'mouth', 'stad', 'stead', 'ton', 'wick'];

/** The same numbers at every build: Math.random could not be frozen. */
let state = 1;
const random = (below) => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const pick = (list) => list[random(list.length)];

const byCode = new Map();
for (let code = FIRST_CODE; code < FIRST_CODE + PLACES; code++) {
  const name = pick(STARTS) + pick(MIDDLES) + pick(ENDS);
  byCode.set(code, {
    code,
    name,
    latitude: (random(180_000) - 90_000) / 1000,
    longitude: (random(360_000) - 180_000) / 1000,
  });
}
const byName = [...byCode.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.code - b.code));

/** The index of the first place whose name is not before `prefix`. */
function lowerBound(prefix) {
  let [low, high] = [0, byName.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byName[middle].name < prefix) low = middle + 1;
    else high = middle;
  }
  return low;
}

function search(prefix) {
  const start = lowerBound(prefix);
  return byName.slice(start, start + RESULTS).filter(({ name }) => name.startsWith(prefix));
}

export default {
  fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const prefix = searchParams.get('prefix');
    if (prefix !== null) return Response.json(search(prefix.toLowerCase()));
    const place = byCode.get(Number(pathname.split('/').at(-1)));
    return place === undefined
      ? Response.json({ error: `codes go from ${FIRST_CODE} to ${FIRST_CODE + PLACES - 1}` }, { status: 404 })
      : Response.json(place);
  },
};
