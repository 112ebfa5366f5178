import type { AllowedHost } from './outbound.ts';
import type { Problem } from './problem.ts';
import { patternKey } from './route-pattern.ts';
import type { Method, ResolvedRoute, RouteConfig } from './schema.ts';
import type { Path } from './source.ts';

/** A sound route and where it begins. */
export type LocatedRoute = {
  readonly route: ResolvedRoute;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** `file:line:column` of a part of it. */
  readonly whereIs: (path: Path) => string;
};

const idOf = ({ route, host, methods }: ResolvedRoute): string =>
  `${methods === undefined ? '' : `${methods.toSorted().join()} `}${host ?? ''}${route.text}`;

export const toRouteConfig = ({ route, file, line }: LocatedRoute): RouteConfig => ({
  id: idOf(route),
  route: route.route.text,
  host: route.host ?? null,
  methods: route.methods ?? null,
  snapshot: route.snapshot,
  env: route.env,
  allowedOutboundHosts: route.allowed_outbound_hosts,
  limits: {
    requestBodyBytes: route.limits.requestBody,
    responseBodyBytes: route.limits.responseBody ?? null,
    wallMs: route.limits.wall,
    concurrency: route.limits.concurrency,
    outboundRequests: route.limits.outboundRequests,
    outboundConcurrency: route.limits.outboundConcurrency,
    cpuMs: route.limits.cpu,
    memoryBytes: route.limits.memory,
  },
  source: { file, line },
});

/** An entry of a route's allowed_outbound_hosts, and where it stands: `file:line:column`. */
export type LiteralHost = { readonly route: string; readonly entry: AllowedHost; readonly where: string };

/** The entries of a route that are addresses or networks. */
export const literalHosts = ({ route, whereIs }: LocatedRoute): readonly LiteralHost[] =>
  route.allowed_outbound_hosts.flatMap((entry, index) =>
    entry.host.kind === 'network'
      ? [{ route: idOf(route), entry, where: whereIs(['allowed_outbound_hosts', index]) }]
      : [],
  );

const overlap = (a: readonly Method[] | undefined, b: readonly Method[] | undefined): boolean =>
  a === undefined || b === undefined || a.some((method) => b.includes(method));

/** Routes that match the same requests: same host, same path whatever its parameters are called, a method in common. */
export const duplicateRoutes = (routes: readonly LocatedRoute[]): readonly Problem[] => {
  const groups = Map.groupBy(routes, ({ route }) => `${route.host ?? ''}/${patternKey(route.route)}`);
  return [...groups.values()].flatMap((group) =>
    group.flatMap((later, index) => {
      const first = group.slice(0, index).find(({ route }) => overlap(route.methods, later.route.methods));
      if (first === undefined) return [];
      const message = `the route ${JSON.stringify(idOf(later.route))} is there already: ${JSON.stringify(idOf(first.route))} at ${first.file}:${first.line}:${first.column}`;
      return [
        { code: 'CONFIG_DUPLICATE_ROUTE', where: `${later.file}:${later.line}:${later.column}`, message } as const,
      ];
    }),
  );
};
