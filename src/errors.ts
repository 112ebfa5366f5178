/**
 * The one table of errors. A code is never reused for another meaning; `docs/errors.md` is held to this table by a
 * test. `status` is what an HTTP client sees when the error ends its request; errors without one never reach a client.
 * `help` says what to do about it, for the person who reads the message.
 */
type ErrorRow = { readonly status?: number; readonly help: string };

const row = (help: string, status?: number): ErrorRow => (status === undefined ? { help } : { status, help });

export const ERRORS = {
  // wasm: reading core modules and components
  WASM_MALFORMED: row('The file is cut short or damaged: build or fetch it again.'),
  WASM_UNSUPPORTED: row('Build the guest without this WebAssembly feature; docs/guests.md lists what thaw runs.'),
  NOT_A_COMPONENT: row(
    'Give thaw a component, a JavaScript or TypeScript file, or a core module with --wit and --world.',
  ),
  COMPONENT_UNSUPPORTED: row(
    'Build the guest as one component for the wasi:http/proxy world; docs/guests.md says how.',
  ),
  WRONG_WORLD: row('Target the world wasi:http/proxy@0.2.x, which exports wasi:http/incoming-handler.'),
  UNKNOWN_IMPORT: row('Build the guest for wasi:http/proxy@0.2.x, or remove what uses this import.'),
  IMPORT_TYPE_MISMATCH: row(
    "Rebuild the guest with the official WASI 0.2 WIT: its declaration of this import is not WASI's.",
  ),

  // build
  BUILD_TOOLS_MISSING: row('Install the build tools beside thaw: npm install --include=optional'),
  BUILD_INPUT_MISSING: row('Check the path.'),
  BUILD_SOURCE_ERROR: row('Mend the source at the place named above.'),
  BUILD_NO_HANDLER: row(
    "Write export default { fetch(request) { … } }, or addEventListener('fetch', …) at the top level.",
  ),
  BUILD_INIT_FAILED: row(
    'The top level of the app runs at build time and must end without an error; move what fails into the handler.',
  ),
  BUILD_INIT_RANDOM: row(
    'Random numbers cannot be frozen: every request would see the same ones. Call Math.random and crypto inside the handler.',
  ),
  BUILD_INIT_CALLS_IMPORT: row(
    'Initialisation runs at build time, without a host: move this call into the handler, or into code that runs on first use.',
  ),
  BUILD_TOOL_FAILED: row('The tool named above refused the input; its own message is shown.'),
  BUILD_OPTION_INVALID: row('See thaw build --help.'),

  // snapshot store
  STORE_NOT_FOUND: row(
    'thaw build makes a snapshot and thaw up all that the config names; thaw ls shows what a store has, --store names another.',
  ),
  STORE_OBJECT_MISSING: row('Build the snapshot again: thaw build.'),
  STORE_OBJECT_CORRUPT: row(
    'The file on disk differs from what was written: remove it with thaw gc --verify and build the snapshot again.',
  ),
  STORE_MANIFEST_INVALID: row('Build the snapshot again with this version of thaw: thaw build.'),
  STORE_LAYER_INVALID: row('Build the snapshot again with this version of thaw: thaw build.'),
  STORE_REF_INVALID: row('Remove the name with thaw rm and build the snapshot again.'),
  STORE_FULL: row('Free space on the disk of the store, or name another with --store.'),
  STORE_UNWRITABLE: row('Check the owner and the mode of the store directory, or name another with --store.'),
  STORE_IO_FAILED: row('The operating system could not read or write the file; its own message is shown.'),
  STORE_NAME_INVALID: row(
    'A name is 1 to 64 characters of a-z, 0-9, dot, underscore and hyphen, and starts with a letter or a digit.',
  ),

  // config
  CONFIG_NOT_FOUND: row('Name the config with --config, or create edge-config/edge.yaml.'),
  CONFIG_SYNTAX: row('Mend the YAML or JSON at the place named above.'),
  CONFIG_INVALID: row('Mend the value named above; docs/config.md describes every key.'),
  CONFIG_UNKNOWN_KEY: row('Remove the key or correct its spelling; docs/config.md describes every key.'),
  CONFIG_DUPLICATE_ROUTE: row('Change the host, the path or the methods of one of the two routes.'),
  CONFIG_SNAPSHOT_MISSING: row('Build it with thaw build, or correct the name; thaw ls shows what the store has.'),

  // serving: what a request can end with
  ROUTE_NOT_FOUND: row('No route matches; GET /routes on the admin listener shows what is served.', 404),
  METHOD_NOT_ALLOWED: row('The route exists, but not for this method.', 405),
  REQUEST_INVALID: row('The request breaks the rules of HTTP.', 400),
  REQUEST_HEAD_TOO_LARGE: row('Send fewer header fields.', 431),
  REQUEST_UNSUPPORTED: row('The node does not do this for any route: ask in another way.', 501),
  HTTP_VERSION_UNSUPPORTED: row('The listener speaks HTTP/1.1 and HTTP/1.0.', 505),
  REQUEST_BODY_TOO_LARGE: row("Raise the route's limits.requestBody, or send less.", 413),
  REQUEST_BODY_SLOW: row('The client sends too slowly for a busy node: send faster, or try again later.', 408),
  ROUTE_BUSY: row("Raise the route's limits.concurrency, or try again.", 503),
  NODE_BUSY: row(
    'No slot became free in time, or too many requests are in work: raise pool.slots, pool.memory or limits.concurrency.',
    503,
  ),
  DRAINING: row('The node is shutting down.', 503),
  CPU_TIME_EXCEEDED: row("Raise the route's limits.cpu, or make the guest do less.", 503),
  WALL_TIME_EXCEEDED: row("Raise the route's limits.wall, or make the guest answer sooner.", 504),
  GUEST_TRAP: row("The guest failed; the node's log has the reason, with route and request id.", 500),
  GUEST_EXITED: row('The guest called exit before it answered.', 500),
  GUEST_NO_RESPONSE: row('The guest returned without setting a response.', 500),
  GUEST_RESPONSE_INVALID: row('The guest set a response that HTTP does not allow.', 500),
  RESPONSE_BODY_TOO_LARGE: row("Raise the route's limits.responseBody, or make the guest answer with less.", 500),
  GUEST_LIMIT: row('The guest asked its host for more than one request may have.', 500),
  ABI_VIOLATION: row('The guest broke the canonical ABI; rebuild it with a current toolchain.', 500),
  HANDLE_INVALID: row('The guest used a handle that it does not own; rebuild it with a current toolchain.', 500),
  CLIENT_GONE: row('The client closed the connection before the response ended.', 499),

  // node
  NATIVE_CALLS_MISSING: row(
    "Install koffi's native half for this platform, npm install @koromix/koffi-linux-x64 (or -arm64), or serve with --restore-tier copy.",
  ),
  LISTEN_FAILED: row('Free the address, or name another with --listen or --admin.'),
  ADMIN_NOT_FOUND: row('GET / on the admin listener lists its endpoints, GET /routes the routes.', 404),
  ADMIN_HOST_REFUSED: row(
    'Ask the admin listener by its IP address, as localhost, or by the name that --admin was given.',
    403,
  ),
  ADMIN_BODY_REFUSED: row('The endpoints of the admin listener take no request body: send none.', 413),
  HLOG_UNWRITABLE: row('Check the owner and the mode of the directory, or name another with --hlog.'),
  OUT_OF_ADDRESS_SPACE: row('Lower pool.slots: each memory reserves 8 to 10 GB of address space.', 503),
  BENCH_REPORT_INVALID: row('Make the report again with this version of thaw: npx thaw bench.'),
  BENCH_REPORT_UNWRITABLE: row('Check the owner and the mode of the directory, or name another with --out.'),
  USAGE: row('See thaw --help.'),
  INTERNAL: row('This is a bug in thaw: please report it with the message above.', 500),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** Every error that thaw raises on purpose. `message` says what was done, with which value, against which limit. */
export class ThawError extends Error {
  override readonly name = 'ThawError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** How to mend it: the row's advice. */
  get help(): string {
    return ERRORS[this.code].help;
  }

  /** The HTTP status for the client, 500 for errors that were not meant for one. */
  get status(): number {
    const { status } = ERRORS[this.code];
    return status ?? 500;
  }
}

/** Throws an INTERNAL error when an invariant does not hold. `what` names the invariant. */
export function invariant(condition: unknown, what: string): asserts condition {
  if (!condition) throw new ThawError('INTERNAL', `invariant broken: ${what}`);
}

/** The text of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
