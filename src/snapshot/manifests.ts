/** Snapshots in the object files: a small manifest for each, and the program that those of one engine share. */
import { LRUCache } from 'lru-cache';
import { ThawError } from '../errors.ts';
import type { Digest } from '../wasm/plan.ts';
import { canonicalJson } from './canonical-json.ts';
import type { CheckedProgram } from './check-manifest.ts';
import { sha256 } from './digest.ts';
import { PROGRAM_ROLE, SNAPSHOT_FORMAT } from './manifest.ts';
import type { Manifest, NewManifest, ObjectRef, StoredManifest } from './manifest.ts';
import type { ObjectFiles } from './objects.ts';
import { MANIFEST_MAX_BYTES, joinManifest, parseManifest, parseProgram } from './parse-manifest.ts';
import type { ManifestOrigin } from './parse-manifest.ts';
import type { RefFiles } from './refs.ts';

/**
 * Programs that are kept. A store has one for each engine, release of an engine and first size of its memory: a few tens.
 * One of StarlingMonkey takes 65 KiB of heap, so these are 4 MiB. One that is dropped is read again, in some 2 ms.
 */
const MAX_PROGRAMS = 64;

export class ManifestFiles {
  readonly #objects: ObjectFiles;
  readonly #refs: RefFiles;
  /** By size and digest; what was verified once stays true of them, whatever becomes of the file. */
  readonly #programs = new LRUCache<string, CheckedProgram>({ max: MAX_PROGRAMS });

  constructor(objects: ObjectFiles, refs: RefFiles) {
    this.#objects = objects;
    this.#refs = refs;
  }

  /** Stores the program, then the manifest that needs it: what a manifest says is there is there. */
  async put({ plan, code, codeDigest, state, component }: NewManifest): Promise<ObjectRef> {
    const program = jsonObject({ format: SNAPSHOT_FORMAT, plan, code });
    const manifest = jsonObject({ format: SNAPSHOT_FORMAT, program: program.ref, codeDigest, state, component });
    joinManifest(parseManifest(manifest.bytes, ofNew), parseProgram(program.bytes, ofNew), ofNew);
    await this.#objects.put(program.bytes);
    return this.#objects.put(manifest.bytes);
  }

  /** The manifest without its program. */
  read(digest: Digest): StoredManifest {
    const role = (): string => `manifest of ${this.#origin(digest).what}`;
    const bytes = this.#objects.readUpTo(digest, MANIFEST_MAX_BYTES, role, (found) => {
      const limit = `${found} bytes are over the ${MANIFEST_MAX_BYTES} of a manifest`;
      return new ThawError('STORE_MANIFEST_INVALID', `cannot read the ${role()}: ${limit}`);
    });
    return parseManifest(bytes, () => this.#origin(digest));
  }

  /** The manifest `stored`, which was read from `digest`, with its program. */
  join(digest: Digest, stored: StoredManifest): Manifest {
    return joinManifest(stored, this.#program(stored.program, digest), () => this.#origin(digest));
  }

  /** `manifest` is the one that needs the program, for messages. */
  #program(ref: ObjectRef, manifest: Digest): CheckedProgram {
    const key = `${ref.bytes} ${ref.digest}`;
    const known = this.#programs.get(key);
    if (known !== undefined) return known;
    const bytes = this.#objects.read(ref, () => `${PROGRAM_ROLE} of ${this.#origin(manifest).what}`);
    const program = parseProgram(bytes, () => {
      const { what, rebuild } = this.#origin(manifest);
      return { what: `${what}, object ${ref.digest}`, rebuild };
    });
    this.#programs.set(key, program);
    return program;
  }

  #origin(digest: Digest): ManifestOrigin {
    const refs = this.#refs.standingFor(digest);
    const names = refs.map(({ name }) => JSON.stringify(name));
    const [ref] = refs;
    return {
      what: `snapshot ${names.length === 0 ? digest : `${names.join(', ')} (${digest})`}`,
      rebuild: ref === undefined ? REBUILD : `thaw build ${ref.source} --name ${ref.name}`,
    };
  }
}

const REBUILD = 'thaw build <input>';

const ofNew = (): ManifestOrigin => ({ what: 'the new snapshot', rebuild: REBUILD });

function jsonObject(value: Parameters<typeof canonicalJson>[0]): {
  readonly bytes: Uint8Array;
  readonly ref: ObjectRef;
} {
  const bytes = new TextEncoder().encode(canonicalJson(value));
  return { bytes, ref: { digest: sha256(bytes), bytes: bytes.length } };
}
