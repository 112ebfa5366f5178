import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freeze } from '../../src/build/freeze.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import type { GuestName } from '../guests/build.ts';
import { freezeGuest } from '../guests/frozen.ts';
import { unsyncedOps } from '../snapshot/support.ts';

/** The whole node as a process of its own, and what it takes to talk to it. */

const BIN = join(import.meta.dirname, '../../bin/thaw.js');

/** A node that serves nothing yet is given up after this. Ten times what it takes on a busy machine of two cores. */
const START_MS = 20_000;

/** Everything else that a test waits for is given up after this. */
const PATIENCE_MS = 10_000;

/** A directory that is gone when the tests of the file are over. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-integration-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

type Components = Readonly<Record<string, Uint8Array>>;

/** Freezes guests, under their names, into a store of their own. @returns its directory */
export async function freezeGuests(names: readonly GuestName[], others: Components = {}): Promise<string> {
  const directory = temporaryDirectory();
  const store = SnapshotStore.open(directory, { create: true, ops: unsyncedOps });
  for (const name of names) await store.setRef(name, await freezeGuest(name, store), 'a test');
  for (const [name, component] of Object.entries(others)) {
    const { digest } = await freeze(component, store);
    await store.setRef(name, digest, 'a test');
  }
  store.close();
  return directory;
}

/** A route as the config has it. */
export type Route = {
  readonly route: string;
  readonly snapshot: string;
  readonly host?: string;
  readonly methods?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly allowed_outbound_hosts?: readonly string[];
  readonly limits?: Readonly<Record<string, string | number>>;
};

/** All paths of a host: guests have routes of their own. */
export const hostRoute = (host: string, snapshot: string, more: Partial<Route> = {}): Route => ({
  route: '/...',
  host,
  snapshot,
  ...more,
});

export type Config = {
  readonly routes: readonly Route[];
  readonly pool?: { readonly slots?: number; readonly memory?: string };
  readonly threads?: number;
  readonly drain?: string;
  readonly limits?: {
    readonly connections?: number;
    readonly connections_per_address?: number;
    readonly concurrency?: number;
  };
  readonly outbound?: { readonly allowed_networks?: readonly string[]; readonly blocked_networks?: readonly string[] };
};

/** Guests may reach the servers of the tests, where their routes allow it. */
const OUTBOUND = { allowed_networks: ['127.0.0.0/8'] };

/** One line of the node's log. */
export type LogLine = {
  readonly level?: string;
  readonly msg?: string;
  readonly route?: string;
  readonly request?: string;
  readonly stream?: string;
  readonly code?: string;
};

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly stdout: string };

export type Sent = {
  readonly method?: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer | Readable;
  readonly agent?: Agent;
  readonly signal?: AbortSignal;
};

export type Received = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly trailers: NodeJS.Dict<string>;
};

/** A `thaw serve` that runs. */
export class ServedNode {
  readonly url: URL;
  readonly adminUrl: URL;
  /** Everything that it wrote to stderr, line by line. */
  readonly lines: readonly string[];
  readonly #child: ChildProcess;
  readonly #exited: Promise<Exit>;

  constructor(child: ChildProcess, lines: readonly string[], urls: { url: string; adminUrl: string }) {
    this.#child = child;
    this.lines = lines;
    this.url = new URL(urls.url);
    this.adminUrl = new URL(urls.adminUrl);
    const stdout = text(child.stdout as Readable);
    this.#exited = once(child, 'close').then(async ([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: await stdout,
    }));
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** The log, without the lines for people. */
  log(): LogLine[] {
    return this.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine);
  }

  /** Bytes of memory that the process has now (`VmRSS`), or had at most (`VmHWM`). */
  memory(field: 'VmRSS' | 'VmHWM'): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    assert.ok(kibibytes !== undefined, `${field} of the node`);
    return Number(kibibytes) * 1024;
  }

  /** `VmHWM` begins anew. Source: proc_pid_clear_refs(5). */
  forgetPeak(): void {
    writeFileSync(`/proc/${this.pid}/clear_refs`, '5');
  }

  /** Begins a request; resolves at the head of the response. */
  open(path: string, sent: Sent = {}): Promise<IncomingMessage> {
    return open(this.url, path, sent);
  }

  /** A whole exchange. */
  async send(path: string, sent: Sent = {}): Promise<Received> {
    return received(await this.open(path, sent));
  }

  /** What the admin listener answers. */
  async admin(path: string): Promise<Received> {
    return received(await open(this.adminUrl, path, {}));
  }

  /** A connection on which tests write HTTP themselves. */
  connect(): Promise<RawConnection> {
    return RawConnection.to(this.url);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  exited(): Promise<Exit> {
    return this.#exited;
  }

  async stop(): Promise<Exit> {
    this.#child.kill('SIGKILL');
    return this.#exited;
  }
}

function open(url: URL, path: string, { host, headers, body, ...options }: Sent): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = httpRequest(url, {
    agent: false,
    path,
    ...options,
    headers: { ...headers, host: host ?? url.host },
  });
  outgoing.on('response', resolve).on('error', reject);
  if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) outgoing.end(body);
  else body.pipe(outgoing);
  return promise;
}

export async function received(response: IncomingMessage): Promise<Received> {
  const body = await text(response);
  return {
    status: response.statusCode as number,
    headers: response.headers,
    text: body,
    trailers: response.trailers,
  };
}

/** One TCP connection, and the bytes that came back so far. */
export class RawConnection {
  readonly socket: Socket;
  #received = '';
  #closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      this.#received += chunk;
    });
    socket.on('close', () => {
      this.#closed = true;
    });
    // A reset is a close, too: what had arrived stays.
    socket.on('error', () => {});
    after(() => socket.destroy());
  }

  static async to({ hostname, port }: URL): Promise<RawConnection> {
    const connection = new RawConnection(connect(Number(port), hostname));
    await once(connection.socket, 'connect');
    return connection;
  }

  get received(): string {
    return this.#received;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Writes lines, each ended by CRLF. */
  writeLines(...lines: readonly string[]): void {
    this.socket.write(lines.map((line) => `${line}\r\n`).join(''), 'latin1');
  }

  /** All that has arrived, once it matches. */
  async until(pattern: RegExp): Promise<string> {
    await eventually(`${String(pattern)} arrives`, () => pattern.test(this.#received) || this.#closed);
    assert.match(this.#received, pattern);
    return this.#received;
  }

  /** All that has arrived when the node has closed the connection. */
  async untilClosed(): Promise<string> {
    await eventually('the node closes the connection', () => this.#closed);
    return this.#received;
  }
}

/** Waits until `check` holds. */
export async function eventually(
  what: string,
  check: () => boolean | Promise<boolean>,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await check())) {
    assert.ok(performance.now() < deadline, `in ${patienceMs} ms: ${what}`);
    await sleep(5);
  }
}

type Launch = {
  readonly store: string;
  readonly args?: readonly string[];
  readonly nodeFlags?: readonly string[];
};

/** Starts `thaw serve`; it ends with the tests of the file at the latest. Port 0 on loopback for both listeners. */
export async function serve(config: Config, { store, args = [], nodeFlags = [] }: Launch): Promise<ServedNode> {
  const file = join(temporaryDirectory(), 'edge.json');
  writeFileSync(file, JSON.stringify({ outbound: OUTBOUND, ...config }));
  const options = ['--config', file, '--store', store, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
  const command = [...nodeFlags, BIN, 'serve', ...options, ...args];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
  after(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const said = (words: string): string | undefined => lines.find((line) => line.startsWith(words))?.slice(words.length);
  await eventually(
    'the node says where it listens',
    () => said('admin on ') !== undefined || child.exitCode !== null,
    START_MS,
  );
  const [url, adminUrl] = [said('listening on '), said('admin on ')];
  assert.ok(url !== undefined && adminUrl !== undefined, `the node serves:\n${lines.join('\n')}`);
  return new ServedNode(child, lines, { url, adminUrl });
}

/** Does `work` for 0 up to `total`, `width` at a time. @returns the results, in order */
export async function concurrently<T>(total: number, width: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < total; index = next++) results[index] = await work(index);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

/** Connections that are kept, up to `sockets` of them. */
export function keepAlive(sockets: number): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: sockets });
  after(() => agent.destroy());
  return agent;
}
