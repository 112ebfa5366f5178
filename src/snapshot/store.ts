/**
 * The snapshot store, shared by build and runtime, by several processes at once:
 *
 *     objects/<2 hex digits>/<62 hex digits>   immutable, named by the SHA-256 of the content
 *     refs/<name>.json                         which manifest a name stands for
 *     tmp/                                     files being written, moved into place when they are whole and durable
 *
 * An object is durable before a manifest or a name says so, hence a crash leaves garbage at worst. Files are replaced,
 * never written in place: a mapping of one never changes, and never faults because it was cut short.
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ThawError } from '../errors.ts';
import type { Digest } from '../wasm/plan.ts';
import { canonicalJson } from './canonical-json.ts';
import { isDigest } from './digest.ts';
import { nodeFileOps, withStoreErrors } from './file-ops.ts';
import type { FileOps } from './file-ops.ts';
import { collectGarbage } from './gc.ts';
import type { GcOptions, GcReport } from './gc.ts';
import { objectsOf } from './manifest.ts';
import type { Manifest, ObjectRef } from './manifest.ts';
import { ObjectFiles } from './objects.ts';
import type { OpenObject } from './objects.ts';
import { parseManifest } from './parse-manifest.ts';
import { RefFiles, checkName } from './refs.ts';
import type { Ref } from './refs.ts';
import type { Scratch } from './write-file.ts';

/** Eight hex digits: two of 1,000 objects begin alike in one store out of 8,600. */
const DIGEST_PREFIX = /^[0-9a-f]{8,63}$/;

/** The largest plans seen (StarlingMonkey, QuickJS with nine modules) take 0.1 MB; an image begins at 1 MB. */
const MANIFEST_MAX_BYTES = 16 * 1024 * 1024;

/** `create` makes the directories that are not there. `ops` is for tests that put faults into writing. */
export type StoreOptions = { readonly create: boolean; readonly ops?: FileOps };

export class SnapshotStore {
  readonly directory: string;
  readonly #objects: ObjectFiles;
  readonly #refs: RefFiles;
  readonly #scratch: Scratch;

  private constructor(directory: string, ops: FileOps) {
    this.directory = directory;
    this.#scratch = { ops, directory: join(directory, 'tmp') };
    this.#objects = new ObjectFiles(join(directory, 'objects'), this.#scratch);
    this.#refs = new RefFiles(join(directory, 'refs'), this.#scratch);
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
   * Opens an object for mapping. It is verified the first time, and again only when its file has been touched. The
   * descriptor is the store's: it is shared, open until `close`, and read only.
   *
   * @throws as `readObject`.
   */
  openObject(ref: ObjectRef, role = 'object'): OpenObject {
    return this.#objects.open(ref, role);
  }

  /**
   * Stores a manifest. It is durable before the promise is fulfilled; so are its objects, if they came from `putObject`.
   *
   * @throws STORE_MANIFEST_INVALID when it could not be loaded again; and as `putObject`.
   */
  async putManifest(manifest: Manifest): Promise<ObjectRef> {
    const bytes = new TextEncoder().encode(canonicalJson(manifest));
    parseManifest(bytes, { what: 'the new snapshot', rebuild: 'thaw build <input>' });
    return this.putObject(bytes);
  }

  /**
   * Reads, verifies and checks a manifest.
   *
   * @throws STORE_MANIFEST_INVALID naming the field, or for another format the command that makes it anew; and as
   *   `readObject`.
   */
  loadManifest(digest: Digest): Manifest {
    const what = `snapshot ${this.#describe(digest)}`;
    const role = `manifest of ${what}`;
    const bytes = this.#objects.readUpTo(digest, MANIFEST_MAX_BYTES, role, (found) => {
      const limit = `${found} bytes are over the ${MANIFEST_MAX_BYTES} of a manifest`;
      return new ThawError('STORE_MANIFEST_INVALID', `cannot read the ${role}: ${limit}`);
    });
    return parseManifest(bytes, { what, rebuild: this.#rebuildCommand(digest) });
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
    const loadManifest = (digest: Digest): Manifest => this.loadManifest(digest);
    return collectGarbage({ objects: this.#objects, refs: this.#refs, scratch: this.#scratch, loadManifest }, options);
  }

  /** Closes the descriptors that `openObject` gave out. Mappings of them stay. */
  close(): void {
    this.#objects.close();
  }

  #refsTo(digest: Digest): readonly Ref[] {
    // For messages only: a damaged name elsewhere must not take the place of what there is to say.
    return this.#refs.names().flatMap((name) => {
      try {
        const ref = this.#refs.get(name);
        return ref?.digest === digest ? [ref] : [];
      } catch {
        return [];
      }
    });
  }

  #describe(digest: Digest): string {
    const names = this.#refsTo(digest).map(({ name }) => JSON.stringify(name));
    return names.length === 0 ? digest : `${names.join(', ')} (${digest})`;
  }

  #rebuildCommand(digest: Digest): string {
    const [ref] = this.#refsTo(digest);
    return ref === undefined ? 'thaw build <input>' : `thaw build ${ref.source} --name ${ref.name}`;
  }
}

const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
