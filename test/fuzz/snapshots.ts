import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { freeze } from '../../src/build/freeze.ts';
import { inspectSnapshot } from '../../src/cli/inspection.ts';
import { ThawError, type ErrorCode } from '../../src/errors.ts';
import { MemoryImage } from '../../src/runtime/image.ts';
import { SnapshotLoader } from '../../src/runtime/snapshot.ts';
import type { CheckedProgram } from '../../src/snapshot/check-manifest.ts';
import { codeDigest } from '../../src/snapshot/code-digest.ts';
import { sha256 } from '../../src/snapshot/digest.ts';
import { parseDelta } from '../../src/snapshot/layer.ts';
import { firstPages, objectsOf, type MemoryState, type ObjectRef } from '../../src/snapshot/manifest.ts';
import { joinManifest, parseManifest, parseProgram } from '../../src/snapshot/parse-manifest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import { buildGuest } from '../guests/build.ts';
import { PAGE, objectPath, unsyncedOps } from '../snapshot/support.ts';
import { SILENT, handlerComponent } from '../support/wat.ts';
import { mutateBinary, mutateJson, mutateWords } from './mutate.ts';
import type { Random } from './random.ts';

/** What becomes of an item: it is taken for good, or refused with a code of the table. Anything else is thrown. */
export type Outcome = 'taken' | ErrorCode;

type Part = 'manifest' | 'program' | 'base' | 'delta' | 'code' | 'ref';
type File = { readonly part: Part; readonly path: string; readonly bytes: Uint8Array };

type Frozen = {
  readonly digest: string;
  readonly files: readonly File[];
  readonly manifest: Uint8Array;
  readonly program: Uint8Array;
  /** The program as it was stored, read. */
  readonly checked: CheckedProgram;
};

const NAME = 'app';

const origin = () => ({ what: 'a snapshot', rebuild: 'thaw build' });

/** An app whose image has a page for each of `texts`. */
const paged = (texts: readonly string[]): Promise<Uint8Array> =>
  handlerComponent({
    core: `(memory (export "memory") 1 4) (global $g (mut i64) (i64.const -5)) (global $h (mut f32) (f32.const 0.5))
      ${texts.map((text, page) => `(data (i32.const ${page * PAGE}) "${text}")`).join('\n')}
      (func (drop (memory.grow (i32.const 1)))) ${SILENT}`,
  });

const changeOf: Readonly<Record<Part, typeof mutateBinary>> = {
  manifest: mutateJson,
  program: mutateJson,
  ref: mutateJson,
  base: mutateWords,
  delta: mutateWords,
  code: mutateBinary,
};

/** A store with snapshots in it, whose files are damaged one at a time, or forged: damaged, with digests that fit. */
export class SnapshotTarget {
  readonly #directory: string;
  readonly #snapshots: readonly Frozen[];
  readonly #ref: File;

  private constructor(directory: string, snapshots: readonly Frozen[]) {
    this.#directory = directory;
    this.#snapshots = snapshots;
    const path = join(directory, 'refs', `${NAME}.json`);
    this.#ref = { part: 'ref', path, bytes: Uint8Array.from(readFileSync(path)) };
  }

  /** @param directory an empty one, which the caller removes */
  static async create(directory: string): Promise<SnapshotTarget> {
    const store = SnapshotStore.open(directory, { create: true, ops: unsyncedOps });
    const texts = Array.from({ length: 8 }, (_, page) => `page ${page}`);
    const engine = await freeze(await paged(texts), store);
    const { state } = engine.manifest;
    assert.ok(state.kind === 'restorable');
    const base = state.memories[0]?.base;
    assert.ok(base);
    const image = [{ ref: base, bytes: store.readObject(base) }];
    const app = await freeze(await paged(texts.with(2, 'of its own').with(5, 'too')), store, {
      baseOf: () => Promise.resolve(image),
    });
    const fresh = await freeze(await buildGuest('wat-tableset'), store);
    await store.setRef(NAME, app.digest, 'app.js');
    const snapshots = [app, engine, fresh].map(({ digest }) => filesOf(directory, store, digest));
    store.close();
    return new SnapshotTarget(directory, snapshots);
  }

  /** Manifest and program as texts, one of them damaged: what is read must hold together. */
  texts(random: Random): Outcome {
    const { manifest, program, checked: whole } = random.pick(this.#snapshots);
    const isProgram = random.once(2);
    const changed = mutateJson(isProgram ? program : manifest, random, manifest);
    return outcomeOf(() => {
      const checked = isProgram ? parseProgram(changed, origin) : whole;
      const joined = joinManifest(parseManifest(isProgram ? manifest : changed, origin), checked, origin);
      assert.equal(joined.codeDigest, codeDigest(joined.plan, joined.code));
      assert.ok(firstPages(joined) >= 0 && objectsOf(joined).length > 0);
    });
  }

  /** A delta: what is read lies within the memory and the file. */
  delta(random: Random): Outcome {
    const whole = this.#named.files.find(({ part }) => part === 'delta')?.bytes;
    assert.ok(whole);
    const changed = Buffer.from(mutateWords(whole, random, whole));
    return outcomeOf(() => {
      const { endPage } = parseDelta(changed);
      const image = new MemoryImage(memoryOf(random), null, { read: () => changed, use: () => {} });
      assert.ok(endPage <= image.pages * 16);
      const memory = Buffer.alloc(Math.min(image.pages, 4) * 65_536);
      image.copyPages(memory, 0, memory.length / PAGE);
    });
  }

  /** A manifest or a program that was changed on purpose, with digests that fit. */
  forged(random: Random): Outcome {
    const { manifest, program } = random.pick(this.#snapshots);
    let text = Buffer.from(manifest).toString();
    if (random.once(2)) {
      text = Buffer.from(mutateJson(manifest, random, program)).toString();
    } else {
      const changed = mutateJson(program, random, manifest);
      this.#put(changed);
      text = text.replace(/"program":\{[^}]*\}/, `"program":{"bytes":${changed.length},"digest":"${sha256(changed)}"}`);
    }
    return this.#load(this.#put(Buffer.from(text)));
  }

  /** A file of the store that was damaged: nothing is served but what was stored. */
  damaged(random: Random): Outcome {
    const { files } = this.#named;
    const { part, path, bytes } = random.once(8) ? this.#ref : random.pick(files);
    const changed = changeOf[part](bytes, random, random.pick(files).bytes);
    if (Buffer.compare(changed, bytes) === 0) return 'taken';
    writeFileSync(path, changed);
    try {
      const outcome = this.#load(null);
      // The name alone has no digest: it may stand for another snapshot, or say another time.
      if (part !== 'ref') assert.notEqual(outcome, 'taken', `${part} was changed`);
      return outcome;
    } finally {
      writeFileSync(path, bytes);
    }
  }

  /** All that a node and `thaw inspect` read of a snapshot. @param digest null for the one that has the name */
  #load(digest: string | null): Outcome {
    const store = SnapshotStore.open(this.#directory, { create: false, ops: unsyncedOps });
    try {
      return outcomeOf(() => {
        const found = digest ?? store.resolve(NAME);
        const { manifest } = new SnapshotLoader(store).load(found);
        inspectSnapshot(store, found, manifest);
      });
    } finally {
      store.close();
    }
  }

  #put(bytes: Uint8Array): string {
    const digest = sha256(bytes);
    const path = objectPath(this.#directory, { digest, bytes: bytes.length });
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    return digest;
  }

  /** The one that has the name, and all kinds of files. */
  get #named(): Frozen {
    const [named] = this.#snapshots;
    assert.ok(named);
    return named;
  }
}

function outcomeOf(use: () => void): Outcome {
  try {
    use();
    return 'taken';
  } catch (error) {
    if (error instanceof ThawError) return error.code;
    throw error;
  }
}

function filesOf(directory: string, store: SnapshotStore, digest: string): Frozen {
  const manifest = store.loadManifest(digest);
  const { state } = manifest;
  const parts: (readonly [Part, ObjectRef])[] = [
    ['manifest', { digest, bytes: 0 }],
    ['program', manifest.program],
    ...manifest.code.map((ref) => ['code', ref] as const),
  ];
  for (const { base, delta } of state.kind === 'restorable' ? state.memories : []) {
    if (base !== null) parts.push(['base', base]);
    if (delta !== null) parts.push(['delta', delta]);
  }
  const files = parts.map(([part, ref]): File => {
    const path = objectPath(directory, ref);
    chmodSync(path, 0o644);
    return { part, path, bytes: Uint8Array.from(readFileSync(path)) };
  });
  const [first, second] = files;
  assert.ok(first && second);
  const { bytes: program } = second;
  return { digest, files, manifest: first.bytes, program, checked: parseProgram(program, origin) };
}

const memoryOf = (random: Random): MemoryState => ({
  instance: 0,
  index: 0,
  pages: random.pick([0, 1, 2, 65_536]),
  max: null,
  base: null,
  delta: null,
  nonZeroPages: 0,
  deltaPages: 0,
});
