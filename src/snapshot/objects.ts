/** The content-addressed half of the store: `objects/<2 hex digits>/<62 hex digits>`, raw bytes, named by SHA-256. */
import { closeSync, fstatSync, openSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ThawError, invariant } from '../errors.ts';
import { memoryFile, type OpenFile } from '../runtime/libc.ts';
import type { Digest } from '../wasm/plan.ts';
import { isDigest, sha256, sha256OfFile } from './digest.ts';
import { errnoOf, readFully, storeError, withStoreErrors } from './file-ops.ts';
import type { ObjectRef } from './manifest.ts';
import { replaceFile } from './write-file.ts';
import type { Scratch } from './write-file.ts';

/**
 * An open, verified object. The descriptor belongs to the store and is open until the store is closed. It is that of a copy
 * in memory: a file that is mapped shows what is written to it, and kills the process where it was cut short, as copying
 * another store over this one would for a moment. Only where no such copy can be had is it the file itself.
 */
export type OpenObject = { readonly fd: number; readonly bytes: number };

/** An object as the directory lists it: `diskBytes` is what it takes up, less than `bytes` when it has holes. */
export type ObjectEntry = ObjectRef & { readonly path: string; readonly diskBytes: number; readonly mtimeMs: number };

/**
 * What an object is and for whom, for messages. A function when telling takes looking: it is called for an error only.
 */
export type Role = string | (() => string);

/** Objects never change: the mode says so to whoever opens one in an editor. */
const OBJECT_MODE = 0o444;

export class ObjectFiles {
  readonly #directory: string;
  readonly #scratch: Scratch;
  /** Descriptors of copies in memory, see `open`. */
  readonly #copies = new Map<Digest, number>();
  /** Identities of the files whose content had the digest when `readAgain` hashed it. */
  readonly #hashed = new Map<Digest, string>();
  /** Every descriptor that `open` handed out. */
  readonly #files: OpenFile[] = [];

  constructor(directory: string, scratch: Scratch) {
    this.#directory = directory;
    this.#scratch = scratch;
  }

  path(digest: Digest): string {
    invariant(isDigest(digest), `a digest is 64 lower-case hex digits, not ${JSON.stringify(digest)}`);
    return join(this.#directory, digest.slice(0, 2), digest.slice(2));
  }

  async put(bytes: Uint8Array): Promise<ObjectRef> {
    const ref = { digest: sha256(bytes), bytes: bytes.length };
    const path = this.path(ref.digest);
    await this.#scratch.ops.makeDirectory(dirname(path)).catch((error: unknown) => {
      throw storeError(error, `writing ${bytes.length} bytes to ${path}: making its directory`);
    });
    if (!(await this.#keep(path, ref))) await replaceFile(this.#scratch, path, bytes, OBJECT_MODE);
    return ref;
  }

  /**
   * Whether the object is there and whole. If so it is as good as new: young, so that a collection that is running spares
   * it, and durable, which another process that wrote it just now may not have come to. On any error the answer is no:
   * writing it anew mends what can be mended and reports what cannot.
   */
  async #keep(path: string, ref: ObjectRef): Promise<boolean> {
    try {
      const fd = openSync(path, 'r');
      try {
        if (fstatSync(fd).size !== ref.bytes || sha256OfFile(fd, ref.bytes) !== ref.digest) return false;
      } finally {
        closeSync(fd);
      }
      await this.#scratch.ops.touch(path);
      await this.#scratch.ops.syncDirectory(dirname(path));
      return true;
    } catch {
      return false;
    }
  }

  /** Makes an object young, see `GC_GRACE_MS`, if it is there and this process may: it may be another user's. */
  async touch(digest: Digest): Promise<void> {
    await this.#scratch.ops.touch(this.path(digest)).catch(() => undefined);
  }

  /** That the object is there, with the right size. Its digest is checked when it is read. */
  check(ref: ObjectRef, role: Role): void {
    const path = this.path(ref.digest);
    const found = withStoreErrors(`looking at ${path}`, () => statSync(path, { throwIfNoEntry: false }));
    if (found === undefined) throw missing(path, ref.digest, role);
    if (found.size !== ref.bytes) throw wrongSize(path, ref.bytes, found.size, role);
  }

  read(ref: ObjectRef, role: Role): Uint8Array {
    return this.#withFile(ref.digest, role, (fd, path) => readVerified(fd, path, ref, role));
  }

  /**
   * As `read`, but hashes only what this process has not yet hashed: the file's identity says whether it has.
   * @returns the whole of an ArrayBuffer that nobody else has
   */
  readAgain(ref: ObjectRef, role: Role): Uint8Array<ArrayBuffer> {
    return this.#withFile(ref.digest, role, (fd, path) => {
      const identity = identityOf(fd);
      if (this.#hashed.get(ref.digest) === identity) return readSized(fd, path, ref, role);
      const bytes = readVerified(fd, path, ref, role);
      this.#hashed.set(ref.digest, identity);
      return bytes;
    });
  }

  /** Lets `use` have a descriptor of an object's content; it is closed afterwards. */
  useVerified<T>(ref: ObjectRef, role: Role, use: (fd: number) => T): T {
    const { fd, close } = memoryFile(this.readAgain(ref, role)) ?? this.#openVerified(ref, role);
    try {
      return use(fd);
    } finally {
      close();
    }
  }

  /** Reads an object whose size is not known. `refuse` makes the error when it has more than `limit` bytes. */
  readUpTo(digest: Digest, limit: number, role: Role, refuse: (bytes: number) => Error): Uint8Array {
    return this.#withFile(digest, role, (fd, path) => {
      const { size } = fstatSync(fd);
      if (size > limit) throw refuse(size);
      return readVerified(fd, path, { digest, bytes: size }, role);
    });
  }

  open(ref: ObjectRef, role: Role): OpenObject {
    let fd = this.#copies.get(ref.digest);
    if (fd === undefined) {
      const bytes = this.read(ref, role);
      const copy = memoryFile(bytes);
      const file = copy ?? this.#openVerified(ref, role);
      ({ fd } = file);
      this.#files.push(file);
      if (copy !== null) this.#copies.set(ref.digest, fd);
    }
    return { fd, bytes: ref.bytes };
  }

  #openVerified(ref: ObjectRef, role: Role): OpenFile {
    const path = this.path(ref.digest);
    const fd = openObject(path, ref.digest, role);
    try {
      withStoreErrors(`reading ${path}`, () => verify(fd, path, ref, role));
      return { fd, close: () => closeSync(fd) };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #withFile<T>(digest: Digest, role: Role, use: (fd: number, path: string) => T): T {
    const path = this.path(digest);
    const fd = openObject(path, digest, role);
    try {
      return withStoreErrors(`reading ${path}`, () => use(fd, path));
    } finally {
      closeSync(fd);
    }
  }

  has(digest: Digest): boolean {
    return statSync(this.path(digest), { throwIfNoEntry: false }) !== undefined;
  }

  /** The objects whose digest begins with `prefix`, of two digits or more. */
  matching(prefix: string): Digest[] {
    return this.#digestsIn(prefix.slice(0, 2)).filter((digest) => digest.startsWith(prefix));
  }

  /** Every object, in the order of digests. What is not an object is left out, and left alone. */
  list(): ObjectEntry[] {
    return listDirectory(this.#directory)
      .filter((name) => /^[0-9a-f]{2}$/.test(name))
      .flatMap((name) => this.#digestsIn(name))
      .flatMap((digest) => {
        const path = this.path(digest);
        const found = statSync(path, { throwIfNoEntry: false });
        return found === undefined
          ? []
          : [{ digest, path, bytes: found.size, diskBytes: found.blocks * 512, mtimeMs: found.mtimeMs }];
      });
  }

  #digestsIn(fanOut: string): Digest[] {
    return listDirectory(join(this.#directory, fanOut))
      .map((name) => fanOut + name)
      .filter(isDigest);
  }

  close(): void {
    for (const { close } of this.#files.splice(0)) close();
    this.#copies.clear();
  }
}

function openObject(path: string, digest: Digest, role: Role): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw missing(path, digest, role);
    throw storeError(error, `${told(role)}: opening ${path}`);
  }
}

/** Checks size and digest of an open file. */
function verify(fd: number, path: string, ref: ObjectRef, role: Role): void {
  const { size } = fstatSync(fd);
  if (size !== ref.bytes) throw wrongSize(path, ref.bytes, size, role);
  const found = sha256OfFile(fd, size);
  if (found !== ref.digest) throw wrongDigest(path, ref.digest, found, role);
}

function readVerified(fd: number, path: string, ref: ObjectRef, role: Role): Uint8Array<ArrayBuffer> {
  const bytes = readSized(fd, path, ref, role);
  const found = sha256(bytes);
  if (found !== ref.digest) throw wrongDigest(path, ref.digest, found, role);
  return bytes;
}

/** No Buffer leaves here: its slice() is a view where a Uint8Array's is a copy. */
function readSized(fd: number, path: string, ref: ObjectRef, role: Role): Uint8Array<ArrayBuffer> {
  const { size } = fstatSync(fd);
  if (size !== ref.bytes) throw wrongSize(path, ref.bytes, size, role);
  const bytes = readFully(fd, size);
  if (bytes.length !== size) throw wrongSize(path, size, bytes.length, role);
  return new Uint8Array(bytes.buffer);
}

function identityOf(fd: number): string {
  const { dev, ino, size, mtimeNs } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}:${size}:${mtimeNs}`;
}

export function listDirectory(path: string): string[] {
  return withStoreErrors(`listing ${path}`, () => {
    try {
      return readdirSync(path).toSorted();
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  });
}

const told = (role: Role): string => (typeof role === 'string' ? role : role());

/** Three directories up from an object is its store. Who reads the log of a node has nothing else to go by. */
const repair = (path: string): string => {
  const store = dirname(dirname(dirname(path)));
  return `to repair: thaw gc --verify --store ${/\s/.test(store) ? JSON.stringify(store) : store} says what to build again`;
};

const missing = (path: string, digest: Digest, role: Role): ThawError =>
  new ThawError(
    'STORE_OBJECT_MISSING',
    `${told(role)}: object ${digest} is not in the store (no file ${path}); ${repair(path)}`,
  );

const corrupt = (path: string, expected: string, found: string, role: Role): ThawError =>
  new ThawError(
    'STORE_OBJECT_CORRUPT',
    `${told(role)}: ${path} is damaged: expected ${expected}, found ${found}; ${repair(path)}`,
  );

const wrongSize = (path: string, expected: number, found: number, role: Role): ThawError =>
  corrupt(path, `${expected} bytes`, String(found), role);

const wrongDigest = (path: string, expected: Digest, found: Digest, role: Role): ThawError =>
  corrupt(path, `SHA-256 ${expected}`, found, role);
