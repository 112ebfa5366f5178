import { canonicalHost, MAX_HOST_NAME } from '../config/host.ts';
import { parseRoutePattern } from '../config/route-pattern.ts';
import type { RoutePattern } from '../config/route-pattern.ts';
import { invariant } from '../errors.ts';

/** What the router needs of a route; `RouteConfig` has it. `host` is canonical. */
export type Routable = {
  readonly route: string;
  readonly host: string | null;
  readonly methods: readonly string[] | null;
};

export type Found<R> = {
  readonly kind: 'found';
  readonly route: R;
  /** The route's path as the config writes it: `/users/:id/edit`. */
  readonly matchedRoute: string;
  /**
   * The value of each parameter, percent-decoded where that is valid UTF-8, else as it arrived. It can hold any
   * character, CR and LF too: encode it again before it goes into a header.
   */
  readonly params: Readonly<Record<string, string>>;
};

type RouteMatch<R> =
  | Found<R>
  /** Routes match the path, none of them the method. `allow` is what they take, sorted. */
  | { readonly kind: 'method-not-allowed'; readonly allow: readonly string[] }
  | { readonly kind: 'not-found' };

export type Router<R> = {
  /**
   * Finds the route of a request.
   * @param host the Host header or the authority of the target: a port and a trailing dot are ignored, case too.
   * @param method as it arrived: methods are case-sensitive.
   * @param path as it arrived, without the query.
   */
  readonly match: (host: string, method: string, path: string) => RouteMatch<R>;
};

/** One route at the end of its path. `found` is ready-made when there are no parameters to fill in. */
type Entry<R> = { readonly found: Found<R>; readonly names: readonly string[] };

/** Routes of one path, by method. `any` is that of a route for all methods: it is alone. */
type Methods<R> = {
  any: Entry<R> | undefined;
  readonly byName: Map<string, Entry<R>>;
  /** The route that takes HEAD because it takes GET. One that names HEAD itself comes before it. */
  get: Entry<R> | undefined;
};

/** A place in the tree of segments. `leaf` ends here, `below` is `/...` here. */
type Branch<R> = {
  readonly literals: Map<string, Branch<R>>;
  parameter: Branch<R> | undefined;
  leaf: Methods<R> | undefined;
  below: Methods<R> | undefined;
};

/** The routes of one host. `exact` holds, once more, those without parameters and wildcard: one look-up finds them. */
type Table<R> = { readonly exact: Map<string, Methods<R>>; readonly root: Branch<R> };

type Hosts<R> = {
  readonly byName: Map<string, Table<R>>;
  /** By the suffix with its dot: `.example.test`. */
  readonly bySuffix: Map<string, Table<R>>;
  any: Table<R> | undefined;
};

const NOT_FOUND = Object.freeze({ kind: 'not-found' } as const);
const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({});

const newMethods = <R>(): Methods<R> => ({ any: undefined, byName: new Map(), get: undefined });
const newBranch = <R>(): Branch<R> => ({
  literals: new Map(),
  parameter: undefined,
  leaf: undefined,
  below: undefined,
});
const newTable = <R>(): Table<R> => ({ exact: new Map(), root: newBranch() });

const addMethods = <R>(methods: Methods<R>, route: Routable, entry: Entry<R>): void => {
  invariant(methods.any === undefined, `one route for ${route.route}`);
  if (route.methods === null) {
    invariant(methods.byName.size === 0, `one route for ${route.route}`);
    methods.any = entry;
    return;
  }
  for (const method of route.methods) {
    invariant(!methods.byName.has(method), `one route for ${method} ${route.route}`);
    methods.byName.set(method, entry);
    if (method === 'GET') methods.get = entry;
  }
};

const setDefault = <K, V>(map: Map<K, V>, key: K, make: () => V): V => {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
};

const branchOf = <R>(root: Branch<R>, { segments }: RoutePattern): Branch<R> => {
  let branch = root;
  for (const segment of segments) {
    if (segment.kind === 'literal') branch = setDefault(branch.literals, segment.text, newBranch<R>);
    else branch = branch.parameter ??= newBranch();
  }
  return branch;
};

const addRoute = <R extends Routable>(table: Table<R>, route: R): void => {
  const pattern = parseRoutePattern(route.route);
  const names = pattern.segments.flatMap((segment) => (segment.kind === 'parameter' ? [segment.name] : []));
  const found: Found<R> = Object.freeze({ kind: 'found', route, matchedRoute: route.route, params: NO_PARAMS });
  const branch = branchOf(table.root, pattern);
  const methods = pattern.wildcard ? (branch.below ??= newMethods()) : (branch.leaf ??= newMethods());
  addMethods(methods, route, { found, names });
  if (!pattern.wildcard && names.length === 0) table.exact.set(pattern.text, methods);
};

const tableFor = <R>(hosts: Hosts<R>, host: string | null): Table<R> => {
  if (host === null) return (hosts.any ??= newTable());
  if (host.startsWith('*.')) return setDefault(hosts.bySuffix, host.slice(1), newTable<R>);
  return setDefault(hosts.byName, host, newTable<R>);
};

const pick = <R>(methods: Methods<R> | undefined, method: string): Entry<R> | undefined => {
  if (methods === undefined) return undefined;
  return methods.any ?? methods.byName.get(method) ?? (method === 'HEAD' ? methods.get : undefined);
};

/**
 * Depth first, most specific segment first. Each branch can be reached in one way only, so the work is bounded by the
 * size of the tree, whatever the path. `start` is where the next segment begins, or -1 when the path has ended;
 * `captured` holds the values of the parameters on the way.
 */
const find = <R>(
  branch: Branch<R>,
  path: string,
  start: number,
  method: string,
  captured: string[],
): Entry<R> | undefined => {
  if (start < 0) return pick(branch.leaf, method) ?? pick(branch.below, method);
  const slash = path.indexOf('/', start);
  const segment = slash < 0 ? path.slice(start) : path.slice(start, slash);
  const next = slash < 0 ? -1 : slash + 1;
  const literal = branch.literals.get(segment);
  if (literal !== undefined) {
    const entry = find(literal, path, next, method, captured);
    if (entry !== undefined) return entry;
  }
  if (branch.parameter !== undefined && segment !== '') {
    captured.push(segment);
    const entry = find(branch.parameter, path, next, method, captured);
    if (entry !== undefined) return entry;
    captured.pop();
  }
  return pick(branch.below, method);
};

/** All that match the path, whatever the method: for the Allow header of a 405. */
const findAll = <R>(branch: Branch<R>, path: string, start: number, into: Methods<R>[]): void => {
  if (branch.below !== undefined) into.push(branch.below);
  if (start < 0) {
    if (branch.leaf !== undefined) into.push(branch.leaf);
    return;
  }
  const slash = path.indexOf('/', start);
  const segment = slash < 0 ? path.slice(start) : path.slice(start, slash);
  const next = slash < 0 ? -1 : slash + 1;
  const literal = branch.literals.get(segment);
  if (literal !== undefined) findAll(literal, path, next, into);
  if (branch.parameter !== undefined && segment !== '') findAll(branch.parameter, path, next, into);
};

const decodeParam = (value: string): string => {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
};

const withParams = <R>({ found, names }: Entry<R>, captured: readonly string[]): Found<R> => {
  if (names.length === 0) return found;
  const params: Record<string, string> = {};
  // A name begins with a letter, so none is `__proto__`.
  for (const [index, name] of names.entries()) params[name] = decodeParam(captured[index] ?? '');
  return { kind: 'found', route: found.route, matchedRoute: found.matchedRoute, params };
};

const matchIn = <R>(table: Table<R>, method: string, path: string): Found<R> | undefined => {
  const exact = pick(table.exact.get(path), method);
  if (exact !== undefined) return exact.found;
  const captured: string[] = [];
  const entry = find(table.root, path, 1, method, captured);
  return entry === undefined ? undefined : withParams(entry, captured);
};

/** The request's host as `canonicalHost` would spell it, for the hosts that requests have: names and IPv6 addresses. */
const requestHost = (host: string): string => {
  if (host.startsWith('[')) return canonicalHost(host.slice(0, host.indexOf(']') + 1)) ?? '';
  const colon = host.indexOf(':');
  const end = colon < 0 ? host.length : colon;
  return host.slice(0, host[end - 1] === '.' ? end - 1 : end).toLowerCase();
};

const ownName = <R>({ byName, bySuffix }: Hosts<R>, host: string): string =>
  byName.size + bySuffix.size === 0 ? '' : requestHost(host);

/** Where the first suffix of a name begins that a wildcard can stand for: at the first dot with something before it. */
const firstSuffix = <R>({ bySuffix }: Hosts<R>, name: string): number =>
  // A client that sends a longer name than there can be wants the node to look at thousands of suffixes.
  bySuffix.size === 0 || name.length > MAX_HOST_NAME ? -1 : name.indexOf('.', 1);

/** The tables that can answer for a host, most specific first, until one of them does. */
const matchHost = <R>(hosts: Hosts<R>, host: string, method: string, path: string): Found<R> | undefined => {
  const name = ownName(hosts, host);
  const own = hosts.byName.get(name);
  const found = own === undefined ? undefined : matchIn(own, method, path);
  if (found !== undefined) return found;
  for (let dot = firstSuffix(hosts, name); dot > 0; dot = name.indexOf('.', dot + 1)) {
    const table = hosts.bySuffix.get(name.slice(dot));
    const found = table === undefined ? undefined : matchIn(table, method, path);
    if (found !== undefined) return found;
  }
  return hosts.any === undefined ? undefined : matchIn(hosts.any, method, path);
};

/** The same tables, all of them. */
const tablesFor = <R>(hosts: Hosts<R>, host: string): Table<R>[] => {
  const name = ownName(hosts, host);
  const tables = [hosts.byName.get(name)];
  for (let dot = firstSuffix(hosts, name); dot > 0; dot = name.indexOf('.', dot + 1)) {
    tables.push(hosts.bySuffix.get(name.slice(dot)));
  }
  tables.push(hosts.any);
  return tables.filter((table) => table !== undefined);
};

/** 405 when some route has the path, with what those take; else 404. Off the hot path: it looks a second time. */
const noMatch = <R>(hosts: Hosts<R>, host: string, path: string): RouteMatch<R> => {
  const matching: Methods<R>[] = [];
  for (const { root } of tablesFor(hosts, host)) findAll(root, path, 1, matching);
  if (matching.length === 0) return NOT_FOUND;
  const allow = new Set<string>();
  for (const { byName, get } of matching) {
    for (const method of byName.keys()) allow.add(method);
    if (get !== undefined) allow.add('HEAD');
  }
  return { kind: 'method-not-allowed', allow: [...allow].toSorted() };
};

/**
 * Builds the router of a config's routes. What it promises:
 *
 * - Host: the route's own host beats `*.example.test` (one or more labels; the longest suffix first) beats no host. A
 *   host that has routes, but none for this path and method, leaves the request to the less specific ones.
 * - Path: segment by segment, from the left, exact beats parameter beats `/...`; so the longest prefix wins among the
 *   wildcards. This is Spin's order. `/api/...` matches `/api`, `/api/` and all below it. A parameter is a whole
 *   segment and not empty. A trailing slash counts: `/a` and `/a/` are two paths.
 * - The path is taken as it arrived. Nothing is decoded, so `%2F` separates nothing and `/%61` is not `/a`; nothing is
 *   resolved, so `//`, `/./` and `/../` are segments like others (an empty one, `.` and `..`). The guest sees the same
 *   path, and no two readings of one request exist. A path that does not begin with `/` (`*`) is not found.
 * - Method: a route without methods takes all. One that takes GET takes HEAD, unless another route of the same path
 *   names HEAD. A route that does not take the method is passed over for a less specific one that does; only when none
 *   does is the answer `method-not-allowed`.
 *
 * Why not find-my-way: it decodes the path before it matches, finds nothing for an invalid `%` and for parameters over
 * 100 characters, lets parameters be empty, and ends the path at `#`.
 */
export const createRouter = <R extends Routable>(routes: readonly R[]): Router<R> => {
  const hosts: Hosts<R> = { byName: new Map(), bySuffix: new Map(), any: undefined };
  for (const route of routes) addRoute(tableFor(hosts, route.host), route);
  return {
    match: (host, method, path) => {
      if (!path.startsWith('/')) return NOT_FOUND;
      return matchHost(hosts, host, method, path) ?? noMatch(hosts, host, path);
    },
  };
};
