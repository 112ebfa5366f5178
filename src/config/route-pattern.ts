import { ThawError } from '../errors.ts';

type RouteSegment =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'parameter'; readonly name: string };

/** A route's path, parsed. `wildcard` is true when it ends in `/...`, which is not among the segments. */
export type RoutePattern = {
  readonly text: string;
  readonly segments: readonly RouteSegment[];
  readonly wildcard: boolean;
};

/** For editors; `parseRoutePattern` is the judge. */
export const ROUTE_PATTERN = '^/[^?#\\s]*$';

const WILDCARD = '...';

/** Parameters become header names (`thaw-path-match-<name>`), so a name is a letter and what a field name takes. */
const PARAMETER_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

/** `pchar` of RFC 3986, section 3.3: what the path of a request consists of. */
const LITERAL = /^([A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*$/;

const refuse = (text: string, why: string): never => {
  throw new ThawError('CONFIG_INVALID', `${JSON.stringify(text)} is not a route: ${why}`);
};

const parseParameter = (text: string, segment: string): RouteSegment => {
  const name = segment.slice(1);
  if (PARAMETER_NAME.test(name)) return { kind: 'parameter', name };
  return refuse(text, `a parameter is a whole segment, as in "/users/:id/edit", of letters, digits, "_" and "-"`);
};

const parseLiteral = (text: string, segment: string): RouteSegment => {
  if (segment === '.' || segment === '..') return refuse(text, `clients resolve "${segment}" before they ask`);
  if (segment === '*') return refuse(text, 'write "/..." for everything below a path');
  if (segment.includes(WILDCARD)) return refuse(text, '"..." stands alone at the end, as in "/api/..."');
  if (/^\{.*\}$/.test(segment)) return refuse(text, `write ":${segment.slice(1, -1)}" for a parameter`);
  if (LITERAL.test(segment)) return { kind: 'literal', text: segment };
  const encoded = encodeURIComponent(segment.toWellFormed()).replaceAll('%25', '%');
  return refuse(
    text,
    `a path is matched as it arrives: write ${JSON.stringify(encoded)} for ${JSON.stringify(segment)}`,
  );
};

const parseSegment = (text: string, segment: string): RouteSegment =>
  segment.startsWith(':') ? parseParameter(text, segment) : parseLiteral(text, segment);

/**
 * Parses Spin's route syntax: `/exact`, `/users/:id/edit`, `/api/...`, `/...`. The path is compared as it arrives, so
 * characters that travel percent-encoded must be written so, and a trailing slash counts.
 * @throws CONFIG_INVALID when it is not a route.
 */
export const parseRoutePattern = (text: string): RoutePattern => {
  if (!text.startsWith('/')) return refuse(text, `it must begin with "/", as in "/hello/..."`);
  if (/[?#]/.test(text)) return refuse(text, 'it matches the path only, without "?" and "#"');
  const parts = text.slice(1).split('/');
  const wildcard = parts.at(-1) === WILDCARD;
  if (wildcard) parts.pop();
  const inner = wildcard ? parts : parts.slice(0, -1);
  if (inner.includes('')) return refuse(text, 'it has "//" in it');
  const segments = parts.map((part) => parseSegment(text, part));
  const names = segments.flatMap((segment) => (segment.kind === 'parameter' ? [segment.name.toLowerCase()] : []));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return refuse(text, `the parameter ":${twice}" is there twice (case does not count)`);
  return { text, segments, wildcard };
};

/** Equal for two patterns when they match the same paths: the names of parameters do not matter. */
export const patternKey = ({ segments, wildcard }: RoutePattern): string =>
  [
    ...segments.map((segment) => (segment.kind === 'literal' ? segment.text : ':')),
    ...(wildcard ? [WILDCARD] : []),
  ].join('/');
