import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createRouter } from '../../src/http/router.ts';
import type { Routable } from '../../src/http/router.ts';

type Short = string | { readonly route: string; readonly host?: string; readonly methods?: readonly string[] };

const routable = (short: Short): Routable =>
  typeof short === 'string'
    ? { route: short, host: null, methods: null }
    : { route: short.route, host: short.host ?? null, methods: short.methods ?? null };

const router = (...routes: readonly Short[]) => createRouter(routes.map(routable));

/** The matched route for each path, or null. */
const matched = (routes: readonly Short[], path: string): string | null => {
  const match = router(...routes).match('a.test', 'GET', path);
  return match.kind === 'found' ? match.matchedRoute : null;
};

const ALL = [
  '/...',
  '/a',
  '/a/',
  '/a/...',
  '/a/b',
  '/a/b/...',
  '/a/:x',
  '/:y',
  '/:y/b/c',
  '/users/:id/edit',
  '/u/:id',
  '/u/:id/...',
];

for (const [path, route] of [
  ['/a', '/a'],
  ['/a/', '/a/'],
  ['/a/b', '/a/b'],
  ['/a/c', '/a/:x'],
  ['/a/c/', '/a/...'],
  ['/a/c/d', '/a/...'],
  ['/a/b/', '/a/b/...'],
  ['/a/b/c', '/a/b/...'],
  ['/z', '/:y'],
  ['/z/b/c', '/:y/b/c'],
  ['/z/b/d', '/...'],
  ['/', '/...'],
  ['//', '/...'],
  ['/ab', '/:y'],
  ['/u/7', '/u/:id'],
  ['/u/7/', '/u/:id/...'],
  ['/u/', '/...'],
  ['/users/7/edit', '/users/:id/edit'],
  ['/users//edit', '/...'],
  ['/users/7/edit/', '/...'],
  // As received: nothing is decoded, and nothing is resolved.
  ['/%61', '/:y'],
  ['/a%2Fb', '/:y'],
  ['/A', '/:y'],
  ['//a', '/...'],
  ['/./a', '/...'],
  ['/a/../a', '/a/...'],
  ['/users/%zz/edit', '/users/:id/edit'],
  ['*', null],
  ['', null],
] as const) {
  test(`match() sends ${JSON.stringify(path)} to ${route}`, () => {
    assert.equal(matched(ALL, path), route);
    assert.equal(matched(ALL.toReversed(), path), route);
  });
}

test('match() takes the prefix itself for a wildcard, and nothing that only begins like it', () => {
  for (const path of ['/api', '/api/', '/api/x/y']) assert.equal(matched(['/api/...'], path), '/api/...');
  for (const path of ['/apix', '/ap', '/', '/x/api']) assert.equal(matched(['/api/...'], path), null);
});

test('match() goes back when a more exact branch leads nowhere', () => {
  assert.equal(matched(['/a/b/c', '/:x/b/d', '/...'], '/a/b/d'), '/:x/b/d');
  assert.equal(matched(['/a/b/c', '/:x/b/d', '/...'], '/a/b/e'), '/...');
  // Segment by segment from the left: `a` beats `:x`, though its route is a wildcard.
  assert.equal(matched(['/a/...', '/:x/b'], '/a/b'), '/a/...');
});

const params = (route: string, path: string): unknown => {
  const match = router(route).match('a.test', 'GET', path);
  return match.kind === 'found' ? match.params : match.kind;
};

test('match() decodes parameters where they are valid', () => {
  assert.deepEqual(params('/u/:id/:constructor', '/u/7/x'), { id: '7', constructor: 'x' });
  assert.deepEqual(params('/:a', '/x%20y%2Fz'), { a: 'x y/z' });
  assert.deepEqual(params('/:a', '/caf%C3%A9'), { a: 'café' });
  assert.deepEqual(params('/:a', '/%ff%zz'), { a: '%ff%zz' });
  assert.deepEqual(params('/:a', `/${'x'.repeat(5000)}`), { a: 'x'.repeat(5000) });
  assert.deepEqual(params('/a', '/a'), {});
});

test('match() keeps no parameter of a branch that it left', () => {
  const match = router('/:a/:b/x', '/:c/...').match('', 'GET', '/1/2/3');
  assert.ok(match.kind === 'found');
  assert.deepEqual(match.params, { c: '1' });
});

const HOSTS = [
  { route: '/...', host: 'www.example.test' },
  { route: '/...', host: '*.example.test' },
  { route: '/...', host: '*.deep.example.test' },
  { route: '/...', host: '[::1]' },
  { route: '/...' },
];

for (const [host, expected] of [
  ['www.example.test', 'www.example.test'],
  ['WWW.Example.TEST.:8080', 'www.example.test'],
  ['a.example.test', '*.example.test'],
  ['a.b.example.test:80', '*.example.test'],
  ['x.deep.example.test', '*.deep.example.test'],
  ['deep.example.test', '*.example.test'],
  ['example.test', null],
  ['.example.test', null],
  ['other.test', null],
  ['www.example.test.evil.test', null],
  ['[::1]:8080', '[::1]'],
  ['[0:0:0::1]', '[::1]'],
  ['[::2]', null],
  ['[::1', null],
  ['', null],
  [`${'a.'.repeat(8000)}example.test`, null],
] as const) {
  test(`match() sends the host ${JSON.stringify(host.slice(0, 40))} to ${expected ?? 'the route without one'}`, () => {
    const match = router(...HOSTS).match(host, 'GET', '/x');
    assert.ok(match.kind === 'found');
    assert.equal(match.route.host, expected);
  });
}

test('match() leaves what a host has no route for to the less specific ones', () => {
  const routes = router({ route: '/a', host: 'a.test' }, { route: '/...', host: '*.test' }, '/c');
  const hostOf = (path: string) => {
    const match = routes.match('a.test', 'GET', path);
    return match.kind === 'found' ? match.route.host : match.kind;
  };
  assert.equal(hostOf('/a'), 'a.test');
  assert.equal(hostOf('/c'), '*.test');
  assert.equal(routes.match('b.example', 'GET', '/a').kind, 'not-found');
});

const kindOf = (routes: readonly Short[], method: string, path: string): unknown => {
  const match = router(...routes).match('a.test', method, path);
  return match.kind === 'method-not-allowed' ? match.allow : match.kind === 'found' ? match.route.methods : match.kind;
};

test('match() lets the method take part', () => {
  const routes: readonly Short[] = [
    { route: '/a', methods: ['POST', 'PUT'] },
    { route: '/a', methods: ['DELETE'] },
    { route: '/a/...', methods: ['GET'] },
  ];
  assert.deepEqual(kindOf(routes, 'PUT', '/a'), ['POST', 'PUT']);
  assert.deepEqual(kindOf(routes, 'GET', '/a'), ['GET']);
  assert.deepEqual(kindOf(routes, 'PATCH', '/a'), ['DELETE', 'GET', 'HEAD', 'POST', 'PUT']);
  assert.deepEqual(kindOf(routes, 'POST', '/a/b'), ['GET', 'HEAD']);
  assert.equal(kindOf(routes, 'PATCH', '/b'), 'not-found');
  assert.deepEqual(kindOf(routes, 'put', '/a'), ['DELETE', 'GET', 'HEAD', 'POST', 'PUT']);
  assert.equal(kindOf(['/a'], 'ANYTHING', '/a'), null);
});

test('match() answers HEAD with the GET route, unless another route of the path names it', () => {
  assert.deepEqual(kindOf([{ route: '/a', methods: ['GET', 'POST'] }], 'HEAD', '/a'), ['GET', 'POST']);
  assert.deepEqual(kindOf([{ route: '/a', methods: ['POST'] }], 'HEAD', '/a'), ['POST']);
  const both: readonly Short[] = [
    { route: '/a', methods: ['GET'] },
    { route: '/a', methods: ['HEAD'] },
  ];
  assert.deepEqual(kindOf(both, 'HEAD', '/a'), ['HEAD']);
});

test('createRouter() refuses what the config lets through only by mistake', () => {
  assert.throws(() => router('/:a', '/:b'), { code: 'INTERNAL' });
  assert.throws(() => router('/a', { route: '/a', methods: ['GET'] }), { code: 'INTERNAL' });
  assert.throws(() => router('a'), { code: 'CONFIG_INVALID' });
});

const hostRank = (pattern: string | null, host: string): number => {
  if (pattern === null) return 0;
  if (!pattern.startsWith('*.')) return pattern === host ? 1000 : -1;
  return host.length > pattern.length - 1 && host.endsWith(pattern.slice(1)) ? pattern.length : -1;
};

const expression = (route: string): RegExp =>
  new RegExp(`^${route.replaceAll(/:[^/]+/g, '([^/]+)').replace(/\/\.\.\.$/, '(?:/.*)?')}$`);

/** One digit a segment: 0 exact, 1 parameter, 2 wildcard. The smaller text is the more specific route. */
const rank = (route: string): string =>
  route
    .split('/')
    .slice(1)
    .map((segment) => (segment === '...' ? '2' : segment.startsWith(':') ? '1' : '0'))
    .join('');

const takes = ({ methods }: Routable, method: string): number => {
  if (methods === null || methods.includes(method)) return 2;
  return method === 'HEAD' && methods.includes('GET') ? 1 : 0;
};

/** The contract once more, as plainly as it can be said: every route is tried, and the candidates are compared. */
const naive = (routes: readonly Routable[], host: string, method: string, path: string) => {
  const matching = routes.filter((route) => hostRank(route.host, host) >= 0 && expression(route.route).test(path));
  const [best] = matching
    .filter((route) => takes(route, method) > 0)
    .toSorted((a, b) => {
      const byHost = hostRank(b.host, host) - hostRank(a.host, host);
      const byPath = rank(a.route).localeCompare(rank(b.route));
      return byHost || byPath || takes(b, method) - takes(a, method);
    });
  if (best !== undefined) {
    const names = best.route.split('/').filter((segment) => segment.startsWith(':'));
    const values = expression(best.route).exec(path)?.slice(1) ?? [];
    return { route: best, params: Object.fromEntries(names.map((name, i) => [name.slice(1), values[i]])) };
  }
  if (matching.length === 0) return 'not-found';
  const named = matching.flatMap(({ methods }) => methods ?? []);
  return [...new Set(named.includes('GET') ? [...named, 'HEAD'] : named)].toSorted();
};

test('match() equals a naive matcher', () => {
  const segment = fc.constantFrom('a', 'b', ':p');
  const route = fc
    .tuple(fc.array(segment, { maxLength: 3 }), fc.constantFrom('', '/', '/...'))
    .map(([segments, end]) =>
      `/${segments.map((name, i) => (name === ':p' ? `:p${i}` : name)).join('/')}${end}`.replace('//', '/'),
    );
  const host = fc.constantFrom(null, null, 'a.test', '*.test', '*.a.test');
  const methods = fc.constantFrom(null, ['GET'], ['POST'], ['HEAD'], ['GET', 'POST']);
  const routes = fc.uniqueArray(fc.record({ route, host, methods }), {
    maxLength: 12,
    // Stricter than the config, which lets routes with disjoint methods share a path: those come from the next line.
    selector: ({ route, host, methods }) => `${host} ${route.replaceAll(/:p\d/g, ':')} ${methods?.join() === 'HEAD'}`,
  });
  const usable = routes.filter((list) =>
    list.every((one) =>
      list.every(
        (other) =>
          one === other ||
          `${one.host}${one.route}` !== `${other.host}${other.route}` ||
          (one.methods !== null && other.methods !== null),
      ),
    ),
  );
  const path = fc
    .array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 4 })
    .map((segments) => `/${segments.join('/')}`);
  const requestHost = fc.constantFrom('a.test', 'b.a.test', 'x');
  const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT');
  let found = 0;
  fc.assert(
    fc.property(usable, requestHost, method, path, (list, host, method, path) => {
      const match = createRouter(list).match(host, method, path);
      const actual =
        match.kind === 'found'
          ? { route: match.route, params: { ...match.params } }
          : match.kind === 'not-found'
            ? match.kind
            : match.allow;
      if (match.kind === 'found') found++;
      assert.deepEqual(actual, naive(list, host, method, path));
    }),
    { numRuns: 5000 },
  );
  assert.ok(found > 500, `the sets of routes match too little: ${found} of 5000`);
});

test('match() works in time that the path cannot blow up', () => {
  const routes = router(
    ...Array.from({ length: 10 }, (_, i) => `${'/:x'.replace('x', `p${i}`)}${'/a'.repeat(i)}/end`),
    '/:a/:b/:c/:d',
  );
  const start = performance.now();
  for (let i = 0; i < 100; i++) routes.match('', 'GET', '/a'.repeat(8000));
  assert.ok(performance.now() - start < 1000);
});
