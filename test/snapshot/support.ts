import { chmodSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { ThawError } from '../../src/errors.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { canonicalJson } from '../../src/snapshot/canonical-json.ts';
import { codeDigest } from '../../src/snapshot/code-digest.ts';
import { sha256 } from '../../src/snapshot/digest.ts';
import { nodeFileOps } from '../../src/snapshot/file-ops.ts';
import type { FileOps } from '../../src/snapshot/file-ops.ts';
import { SNAPSHOT_FORMAT } from '../../src/snapshot/manifest.ts';
import type { Manifest, NewManifest, ObjectRef, SnapshotState } from '../../src/snapshot/manifest.ts';
import { SnapshotStore } from '../../src/snapshot/store.ts';
import type { LinkPlan } from '../../src/wasm/plan.ts';

export const PAGE = 4096;

export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'thaw-store-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

export function openStore(t: TestContext, directory = temporaryDirectory(t), ops = nodeFileOps): SnapshotStore {
  const store = SnapshotStore.open(directory, { create: true, ops });
  t.after(() => store.close());
  return store;
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

export const objectPath = (directory: string, { digest }: ObjectRef): string =>
  join(directory, 'objects', digest.slice(0, 2), digest.slice(2));

/** Changes a file behind the store's back, which has made it read-only. */
export function damage(path: string, change: (bytes: Buffer) => Uint8Array): void {
  const changed = change(readFileSync(path));
  chmodSync(path, 0o644);
  writeFileSync(path, changed);
}

export const flipBit = (bytes: Buffer): Uint8Array => {
  const at = bytes.length >> 1;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  return bytes;
};

/** Makes a file look as if it was written `ms` ago. */
export function age(path: string, ms: number): void {
  const then = (Date.now() - ms) / 1000;
  utimesSync(path, then, then);
}

/** A check for `assert.throws` and `assert.rejects`: the code, and what the message must tell. */
export const thawError =
  (code: ErrorCode, ...tells: readonly string[]) =>
  (error: unknown): boolean =>
    error instanceof ThawError && error.code === code && tells.every((part) => error.message.includes(part));

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/** Without `fsync`, which only a loss of power tells from the real thing, and which is most of what a write takes. */
export const unsyncedOps: FileOps = {
  ...nodeFileOps,
  create: async (path, mode) => ({ ...(await nodeFileOps.create(path, mode)), sync: () => Promise.resolve() }),
  makeDirectory: async (path) => void (await mkdir(path, { recursive: true })),
  syncDirectory: () => Promise.resolve(),
};

/** Calls `before` with the name of each operation, and its path, before doing it. */
export function watchedOps(before: (operation: string, path: string) => void): FileOps {
  return {
    async create(path, mode) {
      before('create', path);
      const file = await unsyncedOps.create(path, mode);
      return {
        write(bytes, position) {
          before('write', path);
          return file.write(bytes, position);
        },
        truncate(bytes) {
          before('truncate', path);
          return file.truncate(bytes);
        },
        sync() {
          before('sync', path);
          return file.sync();
        },
        close: () => file.close(),
      };
    },
    async rename(from, to) {
      before('rename', to);
      await unsyncedOps.rename(from, to);
    },
    async unlink(path) {
      before('unlink', path);
      await unsyncedOps.unlink(path);
    },
    async touch(path) {
      before('touch', path);
      await unsyncedOps.touch(path);
    },
    async makeDirectory(path) {
      before('makeDirectory', path);
      await unsyncedOps.makeDirectory(path);
    },
    async syncDirectory(path) {
      before('syncDirectory', path);
      await unsyncedOps.syncDirectory(path);
    },
  };
}

/** Two instances: the first defines a memory and two globals, the second takes a function and the memory from it. */
export const samplePlan: LinkPlan = {
  modules: [{ name: 'main' }, { name: 'adapter' }],
  instances: [
    { module: 0, imports: [] },
    {
      module: 1,
      imports: [
        { module: 'main', name: 'run', kind: 'func', from: { kind: 'core', instance: 0, name: 'run' } },
        {
          module: 'wasi:http/types@0.2.10',
          name: '[method]fields.append',
          kind: 'func',
          from: {
            kind: 'host',
            interface: 'wasi:http/types',
            version: '0.2.10',
            func: '[method]fields.append',
            options: {
              memory: { instance: 0, name: 'memory' },
              realloc: { instance: 0, name: 'cabi_realloc' },
              postReturn: null,
              encoding: 'utf8',
            },
          },
        },
        {
          module: 'wasi:http/types@0.2.10',
          name: '[resource-drop]fields',
          kind: 'func',
          from: { kind: 'resource-drop', interface: 'wasi:http/types', version: '0.2.10', resource: 'fields' },
        },
      ],
    },
  ],
  exports: [
    {
      interface: 'wasi:http/incoming-handler',
      version: '0.2.10',
      func: 'handle',
      core: { instance: 1, name: 'handle' },
      options: { memory: null, realloc: null, postReturn: null, encoding: 'utf8' },
    },
  ],
  imports: [{ interface: 'wasi:http/types', version: '0.2.10', funcs: ['[method]fields.append'] }],
};

type Parts = {
  readonly code: readonly [ObjectRef, ObjectRef];
  readonly base: ObjectRef;
  readonly delta: ObjectRef;
  readonly component: ObjectRef;
};

export function sampleManifest({ code: [main, adapter], base, delta, component }: Parts): NewManifest {
  const code: Manifest['code'] = [
    {
      ...main,
      shape: {
        memories: [{ index: 0, min: 1, max: null }],
        globals: [
          { index: 0, type: 'i32' },
          { index: 3, type: 'f64' },
        ],
        sized: [0],
      },
    },
    { ...adapter, shape: { memories: [], globals: [], sized: [] } },
  ];
  const state: SnapshotState = {
    kind: 'restorable',
    memories: [{ instance: 0, index: 0, pages: 2, max: null, base, delta, nonZeroPages: 1, deltaPages: 1 }],
    globals: [
      { instance: 0, name: 'thaw:global0', type: 'i32', value: '-1048576' },
      { instance: 0, name: 'thaw:global3', type: 'f64', value: '0.5' },
    ],
  };
  return {
    format: SNAPSHOT_FORMAT,
    plan: samplePlan,
    code,
    codeDigest: codeDigest(samplePlan, code),
    state,
    component: { ...component, producers: ['processed-by wit-component 0.259.0'] },
  };
}

/** How a manifest refers to its program, said without the store's own code. */
export function programOf({ format, plan, code }: Pick<Manifest, 'format' | 'plan' | 'code'>): ObjectRef {
  const bytes = bytesOf(canonicalJson({ code, format, plan }));
  return { digest: sha256(bytes), bytes: bytes.length };
}

/** A page of the engine's image with `seed` in it: a base for two apps of one engine. */
export function samplePage(seed: number): Uint8Array {
  const page = new Uint8Array(PAGE);
  page.set([seed, 2, 3], 100);
  return page;
}

/** Puts the objects of a snapshot and its manifest. Snapshots with different `app` share code, base and program. */
export async function putSnapshot(store: SnapshotStore, app = 'app'): Promise<{ ref: ObjectRef; manifest: Manifest }> {
  const component = bytesOf(`component ${app}`);
  const manifest = sampleManifest({
    code: [await store.putObject(bytesOf('code of main')), await store.putObject(bytesOf('code of adapter'))],
    base: await store.putObject(samplePage(1)),
    delta: await store.putObject(bytesOf(`delta of ${app}`)),
    component: { digest: sha256(component), bytes: component.length },
  });
  const ref = await store.putManifest(manifest);
  return { ref, manifest: { ...manifest, program: programOf(manifest) } };
}
