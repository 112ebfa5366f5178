/** Keeps a core busy for some milliseconds: counts the primes below a limit. */
const LIMIT = 20_000;

function countPrimes(limit) {
  const composite = new Uint8Array(limit);
  let primes = 0;
  for (let candidate = 2; candidate < limit; candidate++) {
    if (composite[candidate] === 1) continue;
    primes++;
    for (let multiple = candidate * 2; multiple < limit; multiple += candidate) composite[multiple] = 1;
  }
  return primes;
}

export default {
  fetch() {
    return new Response(`${countPrimes(LIMIT)}`);
  },
};
