import { ThawError } from '../errors.ts';
import type { Guest } from './guest.ts';
import type { HostInterface } from './host.ts';
import { CLOSED, InputStream, OutputStream, STREAM_CHUNK_BYTES, type StreamError } from './io.ts';
import { OK, err, ok, type Result } from './values.ts';

/** wasi:cli@0.2, without `run`: what a proxy's language runtime imports. Source: WASI proposals, wasi-cli. */

const environment: HostInterface = {
  name: 'wasi:cli/environment',
  wit: `
    get-environment: func() -> list<tuple<string, string>>;
    get-arguments: func() -> list<string>;
    initial-cwd: func() -> option<string>;`,
  funcs: {
    'get-environment': (guest) => guest.call.env,
    'get-arguments': () => [],
    'initial-cwd': () => undefined,
  },
};

/** Ends the request. Aborts it too: a guest that catches what is thrown here is stopped at its next host call. */
function exitWith(guest: Guest, code: number): never {
  const reason = new ThawError('GUEST_EXITED', `the guest called exit with code ${code}`);
  guest.abort(reason);
  throw reason;
}

const exit: HostInterface = {
  name: 'wasi:cli/exit',
  wit: `
    exit: func(status: result);
    exit-with-code: func(status-code: u8);`,
  funcs: {
    exit: (guest, status: Result<undefined, undefined>) => exitWith(guest, status.tag === 'ok' ? 0 : 1),
    'exit-with-code': exitWith,
  },
};

/** There is no standard input: it is at its end from the start. */
class ClosedInput extends InputStream {
  override read(): Result<Uint8Array, StreamError> {
    return err(CLOSED);
  }
  override ready(): boolean {
    return true;
  }
  override wait(): Promise<void> {
    return Promise.resolve();
  }
}

/** Standard output and error: bytes become log lines of the request that is being served. Always writable. */
class StdioOutput extends OutputStream {
  readonly #guest: Guest;
  readonly #name: 'stdout' | 'stderr';

  constructor(guest: Guest, name: 'stdout' | 'stderr') {
    super();
    this.#guest = guest;
    this.#name = name;
  }

  protected override capacity(): Result<number, StreamError> {
    return ok(STREAM_CHUNK_BYTES);
  }
  protected override accept(bytes: Uint8Array): Result<undefined, StreamError> {
    this.#guest.call.stdio(this.#name, bytes);
    return OK;
  }
  override ready(): boolean {
    return true;
  }
  override wait(): Promise<void> {
    return Promise.resolve();
  }
}

const stdin: HostInterface = {
  name: 'wasi:cli/stdin',
  wit: `
    use wasi:io/streams.{input-stream};
    get-stdin: func() -> input-stream;`,
  funcs: { 'get-stdin': () => new ClosedInput() },
};

const stdio = (name: 'stdout' | 'stderr'): HostInterface => ({
  name: `wasi:cli/${name}`,
  wit: `
    use wasi:io/streams.{output-stream};
    get-${name}: func() -> output-stream;`,
  funcs: { [`get-${name}`]: (guest) => new StdioOutput(guest, name) },
});

const terminal = (side: 'input' | 'output'): HostInterface => ({
  name: `wasi:cli/terminal-${side}`,
  wit: `resource terminal-${side};`,
  funcs: {},
});

/** No standard stream is a terminal. */
const terminalOf = (name: 'stdin' | 'stdout' | 'stderr', side: 'input' | 'output'): HostInterface => ({
  name: `wasi:cli/terminal-${name}`,
  wit: `
    use wasi:cli/terminal-${side}.{terminal-${side}};
    get-terminal-${name}: func() -> option<terminal-${side}>;`,
  funcs: { [`get-terminal-${name}`]: () => undefined },
});

export const cliInterfaces: readonly HostInterface[] = [
  environment,
  exit,
  stdin,
  stdio('stdout'),
  stdio('stderr'),
  terminal('input'),
  terminal('output'),
  terminalOf('stdin', 'input'),
  terminalOf('stdout', 'output'),
  terminalOf('stderr', 'output'),
];
