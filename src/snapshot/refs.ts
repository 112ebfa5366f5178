/** The names of the store: `refs/<name>.json`, each the one place that says which manifest a name stands for. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { distance } from 'fastest-levenshtein';
import { ThawError } from '../errors.ts';
import type { Digest } from '../wasm/plan.ts';
import { canonicalJson } from './canonical-json.ts';
import { isDigest } from './digest.ts';
import { errnoOf, storeError, withStoreErrors } from './file-ops.ts';
import { object, readJson, text, textWhere } from './json-reader.ts';
import { listDirectory } from './objects.ts';
import { replaceFile } from './write-file.ts';
import type { Scratch } from './write-file.ts';

/** What a ref file says: `createdAt` is ISO 8601 in UTC, `source` what the snapshot was built from, for people. */
type RefContent = { readonly digest: Digest; readonly createdAt: string; readonly source: string };
export type Ref = RefContent & { readonly name: string };

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const REF_MODE = 0o644;
const SUFFIX = '.json';

/** Names more than two slips of the finger away are not what was meant. */
const MAX_SLIPS = 2;

/** Longer than the tick of any file system's clock (2 s on FAT): two changes within one tick have one time. */
const SETTLED_MS = 3000;

const content = object<RefContent>({
  digest: textWhere('a digest (64 lower-case hex digits)', isDigest),
  createdAt: textWhere('a time', (value) => !Number.isNaN(Date.parse(value))),
  source: text,
});

/** A name that is a whole digest would hide the object: what it stands for must not depend on the refs. */
const isName = (name: string): boolean => NAME.test(name) && !isDigest(name);

/** @throws STORE_NAME_INVALID for what cannot name a snapshot. */
export function checkName(name: string): void {
  if (isName(name)) return;
  const because = isDigest(name) ? ': it is a digest' : '';
  throw new ThawError('STORE_NAME_INVALID', `${JSON.stringify(name)} cannot name a snapshot${because}`);
}

export class RefFiles {
  readonly #directory: string;
  readonly #scratch: Scratch;
  /** What `standingFor` found when the directory had last changed at `changedMs`. */
  #byDigest: { readonly changedMs: number; readonly refs: ReadonlyMap<Digest, readonly Ref[]> } | null = null;

  constructor(directory: string, scratch: Scratch) {
    this.#directory = directory;
    this.#scratch = scratch;
  }

  get(name: string): Ref | undefined {
    const path = this.#path(name);
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw storeError(error, `reading ${path}`);
    }
    const refuse = (problem: string): ThawError =>
      new ThawError('STORE_REF_INVALID', `cannot read the name ${JSON.stringify(name)} from ${path}: ${problem}`);
    return { name, ...readJson(bytes, content, refuse) };
  }

  names(): string[] {
    return listDirectory(this.#directory)
      .filter((file) => file.endsWith(SUFFIX))
      .map((file) => file.slice(0, -SUFFIX.length))
      .filter(isName)
      .toSorted();
  }

  list(): Ref[] {
    // A name may be removed between the listing and the reading.
    return this.names().flatMap((name) => this.get(name) ?? []);
  }

  /**
   * The names of a manifest, for messages: names that are damaged are left out. They are not read again until the
   * directory has changed, for when one thing is wrong with 10,000 snapshots, each of which gives a message.
   */
  standingFor(digest: Digest): readonly Ref[] {
    const found = withStoreErrors(`looking at ${this.#directory}`, () =>
      statSync(this.#directory, { throwIfNoEntry: false }),
    );
    const changedMs = found?.mtimeMs ?? 0;
    if (this.#byDigest?.changedMs === changedMs) return this.#byDigest.refs.get(digest) ?? [];
    const isSettled = Date.now() - changedMs > SETTLED_MS;
    const refs = Map.groupBy(this.#readable(), (ref) => ref.digest);
    this.#byDigest = isSettled ? { changedMs, refs } : null;
    return refs.get(digest) ?? [];
  }

  #readable(): Ref[] {
    return this.names().flatMap((name) => {
      try {
        return this.get(name) ?? [];
      } catch {
        return [];
      }
    });
  }

  async set(name: string, { digest, createdAt, source }: RefContent): Promise<void> {
    const bytes = new TextEncoder().encode(`${canonicalJson({ digest, createdAt, source })}\n`);
    await replaceFile(this.#scratch, this.#path(name), bytes, REF_MODE);
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name);
    try {
      await this.#scratch.ops.unlink(path);
      await this.#scratch.ops.syncDirectory(this.#directory);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') throw this.notFound(name);
      throw storeError(error, `removing ${path}`);
    }
  }

  notFound(wanted: string): ThawError {
    const near = this.names().filter((name) => distance(name, wanted) <= MAX_SLIPS);
    const hint = near.length === 0 ? '' : `; did you mean ${near.map((name) => JSON.stringify(name)).join(' or ')}?`;
    return new ThawError(
      'STORE_NOT_FOUND',
      `no snapshot is named ${JSON.stringify(wanted)} in ${this.#directory}${hint}`,
    );
  }

  #path(name: string): string {
    checkName(name);
    return join(this.#directory, name + SUFFIX);
  }
}
