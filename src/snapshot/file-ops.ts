/** What the store asks of the file system. Where it writes, tests put faults in its place. */
import { readSync } from 'node:fs';
import { mkdir, open, rename, unlink, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ThawError, messageOf } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';

export type WritableFile = {
  /** May write less than asked, as `pwrite` may; returns how many bytes it wrote. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  truncate(bytes: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
};

export type FileOps = {
  /** Fails when the path exists. `mode` is that of the file once it is closed: a read-only file can be written here. */
  create(path: string, mode: number): Promise<WritableFile>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Sets the modification time to now. */
  touch(path: string): Promise<void>;
  /** Makes the directory, if need be, and its entry in its parent durable. The parent exists. */
  makeDirectory(path: string): Promise<void>;
  /** Makes the entries of a directory durable: renames into it, removals from it. */
  syncDirectory(path: string): Promise<void>;
};

export const nodeFileOps: FileOps = {
  async create(path, mode) {
    const file = await open(path, 'wx', mode);
    return {
      write: async (bytes, position) => (await file.write(bytes, 0, bytes.length, position)).bytesWritten,
      truncate: (bytes) => file.truncate(bytes),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  },
  rename,
  unlink,
  async touch(path) {
    const now = new Date();
    await utimes(path, now, now);
  },
  async makeDirectory(path) {
    await mkdir(path).catch((error: unknown) => {
      if (errnoOf(error) !== 'EEXIST') throw error;
    });
    // Also when it exists: the process that made it may not have come as far as this.
    await syncDirectory(dirname(path));
  },
  syncDirectory,
};

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** `ENOENT` and its like, or undefined for what is not an error of the operating system. */
export function errnoOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

const CODES: ReadonlyMap<string | undefined, ErrorCode> = new Map<string, ErrorCode>([
  ['ENOSPC', 'STORE_FULL'],
  ['EDQUOT', 'STORE_FULL'],
  ['EACCES', 'STORE_UNWRITABLE'],
  ['EPERM', 'STORE_UNWRITABLE'],
  ['EROFS', 'STORE_UNWRITABLE'],
]);

/** The store's error for one of the operating system; `doing` says what failed, with the path. Others pass unchanged. */
export function storeError(error: unknown, doing: string): Error {
  if (!(error instanceof Error)) return new Error(`${doing} failed: ${messageOf(error)}`, { cause: error });
  const errno = errnoOf(error);
  if (error instanceof ThawError || errno === undefined) return error;
  return new ThawError(CODES.get(errno) ?? 'STORE_IO_FAILED', `${doing} failed: ${messageOf(error)}`, { cause: error });
}

/** Runs `action`, turning errors of the operating system into the store's. */
export function withStoreErrors<T>(doing: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw storeError(error, doing);
  }
}

/**
 * The first `length` bytes of an open file, fewer where it ends before.
 * @returns the whole of an ArrayBuffer, none of the pool that small Buffers share
 */
export function readFully(fd: number, length: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  let at = 0;
  while (at < length) {
    const count = readSync(fd, bytes, at, length - at, at);
    if (count === 0) return Buffer.from(bytes.buffer.transfer(at));
    at += count;
  }
  return bytes;
}
