import { randomFillSync } from 'node:crypto';

/**
 * As much of wasi_snapshot_preview1 as the initialisation of an engine calls: environment, clocks, random numbers, stdin,
 * and files that are read. Everything is in memory, so that no time is spent on a file system. Source: WASI, preview 1,
 * `witx/wasi_snapshot_preview1.witx`.
 */

export type Preview1Input = {
  readonly memory: WebAssembly.Memory;
  /** `NAME=value` */
  readonly environment: readonly string[];
  readonly stdin: Uint8Array;
  /** By directory, which is preopened, and name. */
  readonly directories: Readonly<Record<string, Readonly<Record<string, Uint8Array>>>>;
  /** A file is opened. */
  readonly onOpen: (path: string) => void;
};

const SUCCESS = 0;
const BADF = 8;
const NOENT = 44;
const NOTSUP = 58;

const [STDIN, FIRST_PREOPEN] = [0, 3];
const DIRECTORY = 3;
const REGULAR_FILE = 4;
const CHARACTER_DEVICE = 2;
const ALL_RIGHTS = 0xffff_ffff_ffff_ffffn;

/** An open descriptor. */
type Descriptor =
  | { readonly kind: 'file'; readonly bytes: Uint8Array; position: number }
  | { readonly kind: 'directory'; readonly path: string; readonly files: Readonly<Record<string, Uint8Array>> }
  | { readonly kind: 'output' };

type Call = (...args: (number | bigint)[]) => number;

export class Preview1 {
  readonly #input: Preview1Input;
  readonly #descriptors = new Map<number, Descriptor>();
  #next: number;

  constructor(input: Preview1Input) {
    this.#input = input;
    this.#descriptors.set(STDIN, { kind: 'file', bytes: input.stdin, position: 0 });
    for (const output of [1, 2]) this.#descriptors.set(output, { kind: 'output' });
    this.#next = FIRST_PREOPEN;
    for (const [path, files] of Object.entries(input.directories)) {
      this.#descriptors.set(this.#next++, { kind: 'directory', path, files });
    }
  }

  /** The function behind an import. What an initialisation has no use for is refused. */
  func(name: string): Call {
    return this.#functions[name] ?? (() => NOTSUP);
  }

  /** Memory may have grown since the last call. */
  get #view(): DataView {
    return new DataView(this.#input.memory.buffer);
  }

  #bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#input.memory.buffer, at, length);
  }

  readonly #functions: Readonly<Record<string, Call>> = {
    environ_sizes_get: (count, size) => {
      const { environment } = this.#input;
      this.#view.setUint32(Number(count), environment.length, true);
      const bytes = environment.reduce((sum, entry) => sum + Buffer.byteLength(entry) + 1, 0);
      this.#view.setUint32(Number(size), bytes, true);
      return SUCCESS;
    },
    environ_get: (pointers, buffer) => {
      let at = Number(buffer);
      for (const [index, entry] of this.#input.environment.entries()) {
        const text = Buffer.from(`${entry}\0`);
        this.#view.setUint32(Number(pointers) + index * 4, at, true);
        this.#bytes(at, text.length).set(text);
        at += text.length;
      }
      return SUCCESS;
    },
    args_sizes_get: (count, size) => {
      this.#view.setUint32(Number(count), 0, true);
      this.#view.setUint32(Number(size), 0, true);
      return SUCCESS;
    },
    args_get: () => SUCCESS,
    clock_time_get: (clock, _precision, result) => {
      const now = clock === 0 ? BigInt(Date.now()) * 1_000_000n : process.hrtime.bigint();
      this.#view.setBigUint64(Number(result), now, true);
      return SUCCESS;
    },
    random_get: (buffer, length) => {
      randomFillSync(this.#bytes(Number(buffer), Number(length)));
      return SUCCESS;
    },
    fd_prestat_get: (fd, result) => {
      const descriptor = this.#descriptors.get(Number(fd));
      if (descriptor?.kind !== 'directory') return BADF;
      this.#view.setUint32(Number(result), 0, true);
      this.#view.setUint32(Number(result) + 4, descriptor.path.length, true);
      return SUCCESS;
    },
    fd_prestat_dir_name: (fd, path, length) => {
      const descriptor = this.#descriptors.get(Number(fd));
      if (descriptor?.kind !== 'directory') return BADF;
      this.#bytes(Number(path), Number(length)).set(Buffer.from(descriptor.path));
      return SUCCESS;
    },
    fd_fdstat_get: (fd, result) => {
      const descriptor = this.#descriptors.get(Number(fd));
      if (descriptor === undefined) return BADF;
      const type = { directory: DIRECTORY, file: REGULAR_FILE, output: CHARACTER_DEVICE }[descriptor.kind];
      const at = Number(result);
      this.#bytes(at, 8).fill(0);
      this.#view.setUint8(at, type);
      this.#view.setBigUint64(at + 8, ALL_RIGHTS, true);
      this.#view.setBigUint64(at + 16, ALL_RIGHTS, true);
      return SUCCESS;
    },
    path_open: (fd, _lookup, path, length, _open, _base, _inheriting, _flags, result) => {
      const directory = this.#descriptors.get(Number(fd));
      if (directory?.kind !== 'directory') return BADF;
      const name = Buffer.from(this.#bytes(Number(path), Number(length))).toString();
      const bytes = directory.files[name];
      if (bytes === undefined) return NOENT;
      this.#input.onOpen(`${directory.path === '/' ? '' : directory.path}/${name}`);
      this.#descriptors.set(this.#next, { kind: 'file', bytes, position: 0 });
      this.#view.setUint32(Number(result), this.#next++, true);
      return SUCCESS;
    },
    fd_seek: (fd, offset, whence, result) => {
      const file = this.#descriptors.get(Number(fd));
      if (file?.kind !== 'file') return BADF;
      const from = [0, file.position, file.bytes.length][Number(whence)] ?? 0;
      file.position = from + Number(offset);
      this.#view.setBigUint64(Number(result), BigInt(file.position), true);
      return SUCCESS;
    },
    fd_read: (fd, vectors, count, result) => {
      const file = this.#descriptors.get(Number(fd));
      if (file?.kind !== 'file') return BADF;
      let total = 0;
      for (const { at, length } of this.#vectors(Number(vectors), Number(count))) {
        const part = file.bytes.subarray(file.position, file.position + length);
        this.#bytes(at, part.length).set(part);
        file.position += part.length;
        total += part.length;
      }
      this.#view.setUint32(Number(result), total, true);
      return SUCCESS;
    },
    /** What an app prints at its top level is not kept. */
    fd_write: (fd, vectors, count, result) => {
      if (this.#descriptors.get(Number(fd))?.kind !== 'output') return BADF;
      const total = this.#vectors(Number(vectors), Number(count)).reduce((sum, { length }) => sum + length, 0);
      this.#view.setUint32(Number(result), total, true);
      return SUCCESS;
    },
    fd_close: (fd) => (this.#descriptors.delete(Number(fd)) ? SUCCESS : BADF),
    proc_exit: (code) => {
      throw new Error(`the initialisation ended with ${code}`);
    },
  };

  /** The buffers of an iovec array. */
  #vectors(at: number, count: number): { readonly at: number; readonly length: number }[] {
    const view = this.#view;
    return Array.from({ length: count }, (_, index) => ({
      at: view.getUint32(at + index * 8, true),
      length: view.getUint32(at + index * 8 + 4, true),
    }));
  }
}
