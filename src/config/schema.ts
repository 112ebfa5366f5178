import { CONTROL_PAGES, CONTROL_RECORD_BYTES } from '../runtime/control.ts';
import { WASM_PAGE_BYTES } from '../snapshot/manifest.ts';
import type { ListenAddress } from './host.ts';
import { HOST_PATTERN, LISTEN_PATTERN } from './host.ts';
import type { Network } from './networks.ts';
import { NETWORK_PATTERN } from './networks.ts';
import type { AllowedHost, AllowList } from './outbound.ts';
import { OUTBOUND_PATTERN } from './outbound.ts';
import type { RoutePattern } from './route-pattern.ts';
import { ROUTE_PATTERN } from './route-pattern.ts';
import { DURATION_PATTERN, SIZE_PATTERN } from './units.ts';

/**
 * Methods that a route can name: what HTTP and WebDAV register, without CONNECT and TRACE, which the listener refuses.
 * In the order in which a person would look for them.
 */
const METHODS = [
  ...(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY'] as const),
  ...(['PROPFIND', 'PROPPATCH', 'MKCOL', 'COPY', 'MOVE', 'LOCK', 'UNLOCK', 'REPORT', 'SEARCH'] as const),
] as const;

export type Method = (typeof METHODS)[number];

/**
 * The kinds of text with a syntax of their own. `title` names the kind, and with it the parser (see validate.ts); the
 * patterns are for editors, and looser than the parsers.
 */
const SIZE = { type: 'string', title: 'size', pattern: SIZE_PATTERN, examples: ['64MiB', '1GiB'] } as const;
const MEMORY = { ...SIZE, title: 'memory size' } as const;
const DURATION = { type: 'string', title: 'duration', pattern: DURATION_PATTERN, examples: ['500ms', '10s'] } as const;
const TIME_LIMIT = { ...DURATION, title: 'time limit' } as const;
const CPU_LIMIT = { ...DURATION, title: 'CPU time limit', examples: ['50ms', '1s'] } as const;
const MEMORY_LIMIT = { ...SIZE, title: 'memory limit' } as const;
const LISTEN = { type: 'string', title: 'address', pattern: LISTEN_PATTERN, examples: ['127.0.0.1:8080'] } as const;
const HOST = { type: 'string', title: 'host', pattern: HOST_PATTERN, examples: ['www.example.test'] } as const;
const PATH = {
  type: 'string',
  title: 'route',
  pattern: ROUTE_PATTERN,
  examples: ['/hello/...', '/users/:id'],
} as const;
const OUTBOUND = {
  type: 'string',
  title: 'outbound host',
  pattern: OUTBOUND_PATTERN,
  examples: ['https://api.example.test', 'https://*.example.test:8443', 'http://10.0.0.0/8'],
} as const;
const NETWORK = {
  type: 'string',
  title: 'network',
  pattern: NETWORK_PATTERN,
  examples: ['127.0.0.0/8', 'fd00::/8'],
} as const;
const SNAPSHOT = {
  type: 'string',
  title: 'snapshot name',
  pattern: '^[a-z0-9][a-z0-9._-]{0,63}$',
  examples: ['hello'],
} as const;

/** What each kind of text becomes. Kinds that are not here stay text. */
export type Parsed = {
  readonly size: number;
  readonly 'memory size': number;
  readonly duration: number;
  readonly 'time limit': number;
  readonly 'CPU time limit': number;
  readonly 'memory limit': number;
  readonly address: ListenAddress;
  readonly host: string;
  readonly route: RoutePattern;
  readonly 'outbound host': AllowedHost;
  readonly network: Network;
};

/** One record of the control memory a slot. */
const MAX_SLOTS = (CONTROL_PAGES * WASM_PAGE_BYTES) / CONTROL_RECORD_BYTES;

/** `auto`: as many as there are cores. 64 is what the largest edge machines have; each thread has slots of its own. */
const THREADS: readonly ('auto' | number)[] = ['auto', ...Array.from({ length: 64 }, (_, index) => index + 1)];

const LIMITS_SCHEMA = {
  type: 'object',
  description: 'What one request of this route, and all of them together, may use.',
  additionalProperties: false,
  default: {},
  properties: {
    requestBody: {
      ...SIZE,
      default: '10MiB',
      description: 'Largest request body. A longer one is answered with 413. 0B takes none.',
    },
    responseBody: {
      ...SIZE,
      description:
        'Largest response body. A longer one is cut off, and its guest stopped; 500 when its Content-Length says so before. Without it: any.',
    },
    wall: {
      ...TIME_LIMIT,
      // Longer than a guest that waits for one slow upstream needs, well under the 60 s at which proxies in front of a
      // node give up: the client shall hear it from the node.
      default: '10s',
      description: 'Longest time from the request until the response has ended. Then: 504, or the connection is cut.',
    },
    concurrency: {
      type: 'integer',
      // More than a pool of 64 slots can serve at once, so that a burst may queue, and few enough that one route's
      // queue does not take the node's memory.
      default: 100,
      minimum: 1,
      description: 'Most requests at a time. The next one is answered with 503.',
    },
    outboundRequests: {
      type: 'integer',
      // What Fastly Compute allows; Cloudflare Workers begin at 50.
      default: 32,
      minimum: 1,
      description: 'Most requests that one request may send. The guest gets connection-limit-reached for the next one.',
    },
    outboundConcurrency: {
      type: 'integer',
      // What Cloudflare Workers allow, and browsers to one host.
      default: 6,
      minimum: 1,
      description: 'Most requests of one request that wait for their response at a time. The next one waits its turn.',
    },
    cpu: {
      ...CPU_LIMIT,
      // What Fastly Compute gives a request. A StarlingMonkey app that answers with a page takes some 0.1 ms of it.
      default: '50ms',
      description:
        'Longest time in which the guest may run for one request, without the time in which it waits. Then: 503, or the connection is cut. At most 1m: while one guest runs, its thread serves no other. A route whose requests are stopped again and again gets less, until that ends.',
    },
    memory: {
      ...MEMORY_LIMIT,
      // What Cloudflare Workers, Fastly Compute and Spin's cloud give.
      default: '128MiB',
      description: 'Most linear memory of one request. Beyond, memory.grow fails. At most 4GiB.',
    },
  },
} as const;

const ROUTE_SCHEMA = {
  type: 'object',
  description: 'Which requests go to which snapshot, and what it may do.',
  additionalProperties: false,
  required: ['route', 'snapshot'],
  properties: {
    route: {
      ...PATH,
      description:
        'The path: "/exact", "/users/:id/edit" (parameter), "/api/..." (all below, and "/api" itself). Segment by segment exact beats parameter beats "...".',
    },
    host: {
      ...HOST,
      description:
        'The host, or "*.example.test" for all names below one. Without it: any host that no other route names.',
    },
    methods: {
      type: 'array',
      description: 'The methods. GET answers HEAD too. Without it: all.',
      minItems: 1,
      uniqueItems: true,
      items: { type: 'string', title: 'method', enum: METHODS },
      examples: [['GET', 'POST']],
    },
    snapshot: { ...SNAPSHOT, description: 'A name in the store, or a digest (64 hexadecimal digits).' },
    env: {
      type: 'object',
      description: 'Environment variables of the guest.',
      default: {},
      propertyNames: { title: 'name of a variable', pattern: '^[^=\\u0000]+$' },
      additionalProperties: { type: 'string' },
      examples: [{ GREETING: 'hi' }],
    },
    allowed_outbound_hosts: {
      type: 'array',
      description:
        'Where the guest may connect to: scheme://host[:port], "*." before a host for all names below it, a network as address/bits, ports as 8000..9000 (without 9000) or *. Empty: nowhere. Addresses that are not public must be in outbound.allowed_networks, too.',
      default: [],
      items: OUTBOUND,
    },
    limits: LIMITS_SCHEMA,
  },
} as const;

const ROUTES_SCHEMA = {
  type: 'array',
  description: 'The routes. Those of the files in routes/ are added to these.',
  default: [],
  items: ROUTE_SCHEMA,
} as const;

const EDITOR_HINT = { type: 'string', description: 'The JSON Schema, for editors. thaw does not read it.' } as const;

/** A file in routes/ that is a mapping; one that is a list is taken as `routes`. */
export const ROUTES_FILE_SCHEMA = {
  type: 'object',
  description: 'A file in routes/.',
  additionalProperties: false,
  required: ['routes'],
  properties: { $schema: EDITOR_HINT, routes: ROUTES_SCHEMA },
} as const;

/**
 * The one description of the config: it validates, fills in defaults, types (`Resolved`) and explains, and is published
 * as edge-config/schema.json (JSON Schema draft-07).
 */
export const CONFIG_SCHEMA = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'thaw edge config',
  type: 'object',
  additionalProperties: false,
  properties: {
    $schema: EDITOR_HINT,
    listen: { ...LISTEN, default: '127.0.0.1:8080', description: 'Where to serve. Port 0 takes a free one.' },
    admin: {
      ...LISTEN,
      default: '127.0.0.1:9090',
      description: 'Where to serve health, routes and start times. Keep it off public networks.',
    },
    store: {
      type: 'string',
      minLength: 1,
      default: 'snapshots',
      description: 'Directory of the snapshots. In a file relative to that file; the default to the working directory.',
    },
    pool: {
      type: 'object',
      description: 'The instances kept ready.',
      additionalProperties: false,
      default: {},
      properties: {
        memory: { ...MEMORY, default: '256MiB', description: 'Memory that the slots may hold together.' },
        slots: {
          type: 'integer',
          default: 64,
          minimum: 1,
          maximum: MAX_SLOTS,
          description: 'Most slots. Each reserves 8 to 10 GB of address space, and no memory until it is used.',
        },
      },
    },
    outbound: {
      type: 'object',
      description: 'Where the guests of this node may connect to, whatever their routes allow: public addresses only.',
      additionalProperties: false,
      default: {},
      properties: {
        allowed_networks: {
          type: 'array',
          description:
            'Networks that are open although they are not public: loopback, private, link-local and the like, as address/bits. They hold for names by what these resolve to. An IPv6 address that stands for an IPv4 address (mapped, NAT64, 6to4) must be open in both forms.',
          default: [],
          items: NETWORK,
        },
        blocked_networks: {
          type: 'array',
          description: 'Networks that are closed, public or not. They win over allowed_networks.',
          default: [],
          items: NETWORK,
        },
      },
    },
    limits: {
      type: 'object',
      description: 'What the clients of this node may use, whatever route they ask for.',
      additionalProperties: false,
      default: {},
      properties: {
        connections: {
          type: 'integer',
          // An idle connection costs some 15 KiB: 60 MiB together, and it fits into the 4,096 open files that a system
          // grants at most unless it is told otherwise.
          default: 4000,
          minimum: 0,
          description: 'Most open connections. One more is closed at once. 0: no limit.',
        },
        connections_per_address: {
          type: 'integer',
          // Browsers open six to a host: forty of them behind one NAT, and sixteen addresses to fill the node.
          default: 256,
          minimum: 0,
          description:
            'Most open connections of one client address (of IPv6: one /64), loopback too. One more is closed at once. 0: no limit, for a node that has only a proxy as its client.',
        },
        concurrency: {
          type: 'integer',
          // Each that waits costs some 20 KiB with what it has sent: 40 MiB together.
          default: 2000,
          minimum: 1,
          description: 'Most requests at a time, of all routes together. The next one is answered with 503.',
        },
      },
    },
    threads: {
      title: 'number of threads (auto, or 1 to 64)',
      enum: THREADS,
      default: 'auto',
      description:
        'Threads that serve, sharing the port and the pool: auto is one for each core. 1: the node has one thread.',
    },
    drain: {
      ...DURATION,
      // As long as the default of limits.wall: a request that keeps its limit is not cut by a shutdown.
      default: '10s',
      description: 'How long a shutdown waits for requests under way.',
    },
    routes: ROUTES_SCHEMA,
  },
} as const;

/**
 * The text of edge-config/schema.json. `definitions` has the schema of a file in routes/, for editors:
 * `# yaml-language-server: $schema=../schema.json#/definitions/routesFile`.
 */
export const schemaText = (): string => {
  const definitions = { routesFile: { anyOf: [ROUTES_FILE_SCHEMA, ROUTES_SCHEMA] } };
  return `${JSON.stringify({ ...CONFIG_SCHEMA, definitions }, null, 2)}\n`;
};

type Present<S, Key> = S extends { readonly required: readonly (infer Required)[] }
  ? Key extends Required
    ? true
    : false
  : false;

type Property<S, P, Key extends keyof P> = P[Key] extends { readonly default: unknown }
  ? Resolved<P[Key]>
  : Present<S, Key> extends true
    ? Resolved<P[Key]>
    : Resolved<P[Key]> | undefined;

/** The type of what a schema admits, with defaults filled in and texts parsed. */
type Resolved<S> = S extends { readonly title: infer Title extends keyof Parsed }
  ? Parsed[Title]
  : S extends { readonly enum: readonly (infer Member)[] }
    ? Member
    : S extends { readonly properties: infer P }
      ? { readonly [Key in keyof P]: Property<S, P, Key> }
      : S extends { readonly additionalProperties: { readonly type: 'string' } }
        ? Readonly<Record<string, string>>
        : S extends { readonly items: infer Item }
          ? readonly Resolved<Item>[]
          : S extends { readonly type: 'integer' }
            ? number
            : S extends { readonly type: 'string' }
              ? string
              : never;

export type ResolvedConfig = Resolved<typeof CONFIG_SCHEMA>;
export type ResolvedRoute = Resolved<typeof ROUTE_SCHEMA>;

type RouteLimits = {
  readonly requestBodyBytes: number;
  /** Null: any. */
  readonly responseBodyBytes: number | null;
  readonly wallMs: number;
  readonly concurrency: number;
  readonly outboundRequests: number;
  readonly outboundConcurrency: number;
  readonly cpuMs: number;
  readonly memoryBytes: number;
};

export type RouteConfig = {
  /** Unique and stable as long as the route is: `www.example.test/hello/...`, `GET,POST /api/...`. For logs and metrics. */
  readonly id: string;
  readonly route: string;
  /** Canonical (see `parseHostPattern`), or null for any host. */
  readonly host: string | null;
  /** Null for all. Never empty. */
  readonly methods: readonly Method[] | null;
  /** A name in the store, or a digest. */
  readonly snapshot: string;
  readonly env: Readonly<Record<string, string>>;
  readonly allowedOutboundHosts: AllowList;
  readonly limits: RouteLimits;
  /** Where the route begins. `line` counts from 1. */
  readonly source: { readonly file: string; readonly line: number };
};

export type EdgeConfig = {
  readonly listen: ListenAddress;
  readonly admin: ListenAddress;
  /** As given: relative to the working directory, or absolute. */
  readonly store: string;
  readonly pool: { readonly memoryBytes: number; readonly slots: number };
  /** Above what routes allow. */
  readonly outbound: { readonly allowedNetworks: readonly Network[]; readonly blockedNetworks: readonly Network[] };
  readonly limits: {
    /** Zero: no limit. */
    readonly connections: number;
    readonly connectionsPerAddress: number;
    readonly concurrency: number;
  };
  readonly threads: 'auto' | number;
  readonly drainMs: number;
  /** Never empty. In the order of the files: the main file, then routes/ by name. */
  readonly routes: readonly RouteConfig[];
};
