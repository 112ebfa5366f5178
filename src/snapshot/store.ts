/**
 * The snapshot store, shared by build and runtime, by several processes at once:
 *
 *     objects/<2 hex digits>/<62 hex digits>   immutable, named by the SHA-256 of the content
 *     refs/<name>.json                         which manifest a name stands for
 *     tmp/                                     files being written, moved into place when they are whole and durable
 *
 * An object is durable before a manifest or a name says so, hence a crash leaves garbage at worst. Files are replaced,
 * never written in place, and what is mapped are copies in memory: mappings never change, and never fault because a file
 * was cut short by somebody else.
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ThawError } from '../errors.ts';
import type { Digest } from '../wasm/plan.ts';
import { isDigest } from './digest.ts';
import { nodeFileOps, withStoreErrors } from './file-ops.ts';
import type { FileOps } from './file-ops.ts';
import { collectGarbage } from './gc.ts';
import type { GcOptions, GcReport } from './gc.ts';
import { objectsOf } from './manifest.ts';
import type { Manifest, NewManifest, ObjectRef } from './manifest.ts';
import { ManifestFiles } from './manifests.ts';
import { ObjectFiles } from './objects.ts';
import type { OpenObject } from './objects.ts';
import { RefFiles, checkName } from './refs.ts';
import type { Ref } from './refs.ts';
import type { Scratch } from './write-file.ts';

/** Eight hex digits: two of 1,000 objects begin alike in one store out of 8,600. */
const DIGEST_PREFIX = /^[0-9a-f]{8,63}$/;

/** `create` makes the directories that are not there. `ops` is for tests that put faults into writing. */
export type StoreOptions = { readonly create: boolean; readonly ops?: FileOps };

export class SnapshotStore {
  readonly directory: string;
  readonly #objects: ObjectFiles;
  readonly #refs: RefFiles;
  readonly #manifests: ManifestFiles;
  readonly #scratch: Scratch;

  private constructor(directory: string, ops: FileOps) {
    this.directory = directory;
    this.#scratch = { ops, directory: join(directory, 'tmp') };
    this.#objects = new ObjectFiles(join(directory, 'objects'), this.#scratch);
    this.#refs = new RefFiles(join(directory, 'refs'), this.#scratch);
    this.#manifests = new ManifestFiles(this.#objects, this.#refs);
  }

  /**
   * @throws STORE_NOT_FOUND when there is no store and `create` is false, STORE_UNWRITABLE or STORE_FULL when its
   *   directories cannot be made.
   */
  static open(directory: string, { create, ops = nodeFileOps }: StoreOptions): SnapshotStore {
    for (const part of ['objects', 'refs', 'tmp']) {
      const path = join(directory, part);
      if (create) withStoreErrors(`making the store directory ${path}`, () => mkdirSync(path, { recursive: true }));
      // Without `tmp` a store can be read; writing makes it.
      else if (part !== 'tmp' && !isDirectory(path)) {
        throw new ThawError('STORE_NOT_FOUND', `there is no snapshot store in ${directory} (no directory ${path})`);
      }
    }
    return new SnapshotStore(directory, ops);
  }

  /**
   * Stores bytes, which must not change until the promise is settled, and returns how to refer to them. An object that
   * is there already is kept when it is whole and written anew when it is not. Once the promise is fulfilled the object
   * is durable, and safe from collection for the grace period of `gc`.
   *
   * @throws STORE_FULL, STORE_UNWRITABLE, STORE_IO_FAILED.
   */
  putObject(bytes: Uint8Array): Promise<ObjectRef> {
    return this.#objects.put(bytes);
  }

  /**
   * Reads an object whole and verifies it. `role` says, for messages, what it is and for whom: `code of module 0 of
   * snapshot "hello"`.
   *
   * @throws STORE_OBJECT_MISSING, STORE_OBJECT_CORRUPT, STORE_UNWRITABLE (when it may not be read), STORE_IO_FAILED.
   */
  readObject(ref: ObjectRef, role = 'object'): Uint8Array {
    return this.#objects.read(ref, role);
  }

  /**
   * Reads an object that is read often. It is verified the first time, and again only when its file has been touched.
   *
   * @returns the whole of an ArrayBuffer that nobody else has: it may be transferred.
   * @throws as `readObject`.
   */
  readObjectAgain(ref: ObjectRef, role = 'object'): Uint8Array<ArrayBuffer> {
    return this.#objects.readAgain(ref, role);
  }

  /**
   * Lets `use` map an object's content: the descriptor is closed afterwards, mappings of it stay, whatever becomes of the
   * file. Verified as `readObjectAgain`.
   *
   * @throws as `readObject`, and what `use` throws.
   */
  useObject<T>(ref: ObjectRef, role: string, use: (fd: number) => T): T {
    return this.#objects.useVerified(ref, role, use);
  }

  /**
   * Opens an object's content for mapping. It is verified the first time; from then on nothing that happens to its file
   * changes it. The descriptor is the store's: it is shared, open until `close`, and read only.
   *
   * @throws as `readObject`.
   */
  openObject(ref: ObjectRef, role = 'object'): OpenObject {
    return this.#objects.open(ref, role);
  }

  /**
   * Stores a manifest, and its program before it. Both are durable before the promise is fulfilled; so are its other
   * objects, if they came from `putObject`.
   *
   * @throws STORE_MANIFEST_INVALID when it could not be loaded again; and as `putObject`.
   */
  putManifest(manifest: NewManifest): Promise<ObjectRef> {
    return this.#manifests.put(manifest);
  }

  /**
   * Reads, verifies and checks a manifest. Its program is read for the first manifest that needs it: `plan` and `code`
   * are frozen, and the same for all manifests of one program.
   *
   * @throws STORE_MANIFEST_INVALID naming the field, or for another format the command that makes it anew; and as
   *   `readObject`, for the manifest or its program.
   */
  loadManifest(digest: Digest): Manifest {
    return this.#manifests.join(digest, this.#manifests.read(digest));
  }

  /**
   * The manifest that a whole digest, a name, or the first eight digits or more of a digest stand for. A name comes
   * before a prefix that reads the same.
   *
   * @throws STORE_NOT_FOUND when there is none, or more than one for a prefix; STORE_REF_INVALID; STORE_NAME_INVALID.
   */
  resolve(nameOrDigest: string): Digest {
    if (isDigest(nameOrDigest)) {
      if (this.#objects.has(nameOrDigest)) return nameOrDigest;
      throw new ThawError('STORE_NOT_FOUND', `no snapshot has the digest ${nameOrDigest} in ${this.directory}`);
    }
    const ref = this.#refs.get(nameOrDigest);
    if (ref !== undefined) return ref.digest;
    const matches = DIGEST_PREFIX.test(nameOrDigest) ? this.#objects.matching(nameOrDigest) : [];
    const [digest, ...others] = matches;
    if (digest === undefined) throw this.#refs.notFound(nameOrDigest);
    if (others.length === 0) return digest;
    throw new ThawError('STORE_NOT_FOUND', `${nameOrDigest} begins more than one digest: ${matches.join(', ')}`);
  }

  /**
   * Lets a name stand for a manifest whose objects are all there. `source` says what the snapshot was built from.
   *
   * @throws STORE_NAME_INVALID, STORE_OBJECT_MISSING, STORE_OBJECT_CORRUPT (by size); and as `loadManifest`, `putObject`.
   */
  async setRef(name: string, digest: Digest, source: string): Promise<void> {
    checkName(name);
    const objects = objectsOf(this.loadManifest(digest));
    // A collection that has looked at the names already spares what is young; so first touch, then look.
    for (const needed of [digest, ...objects.map(({ ref }) => ref.digest)]) await this.#objects.touch(needed);
    for (const { ref, role } of objects) this.#objects.check(ref, `${role} of snapshot ${JSON.stringify(name)}`);
    await this.#refs.set(name, { digest, createdAt: new Date().toISOString(), source });
  }

  /** The names in order. @throws STORE_REF_INVALID naming the file that is damaged. */
  listRefs(): readonly Ref[] {
    return this.#refs.list();
  }

  /** Forgets a name; its objects stay until `gc`. @throws STORE_NOT_FOUND, STORE_NAME_INVALID, STORE_UNWRITABLE. */
  removeRef(name: string): Promise<void> {
    return this.#refs.remove(name);
  }

  /**
   * Removes what no name leads to and what writes left behind, once it is older than the grace period; with `verify`
   * also the objects that are damaged. May run beside builds and servers: an object that a build has put within the
   * period is spared, and one that a server has open stays readable there.
   *
   * @throws STORE_UNWRITABLE, STORE_IO_FAILED.
   */
  gc(options: GcOptions = {}): Promise<GcReport> {
    const store = { objects: this.#objects, refs: this.#refs, scratch: this.#scratch, manifests: this.#manifests };
    return collectGarbage(store, options);
  }

  /** Closes the descriptors that `openObject` gave out. Mappings of them stay. */
  close(): void {
    this.#objects.close();
  }
}

const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
