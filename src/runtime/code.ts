import { LRUCache } from 'lru-cache';
import type { Manifest, ObjectRef } from '../snapshot/manifest.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import type { Digest, ModuleShape } from '../wasm/plan.ts';
import { compileCode } from './stop-page.ts';

/** A core module, compiled, with what the rewriter says it needs. */
export type CompiledModule = { readonly module: WebAssembly.Module; readonly shape: ModuleShape };

/**
 * Code kept, in bytes of WebAssembly: some 14 engines. Machine code takes about four times as much once it is hot. Slots
 * hold their modules beyond that.
 */
const CODE_CACHE_BYTES = 128 * 1024 * 1024;

/**
 * Compiled code: one module per digest, shared by all snapshots of one engine. Requests that come while it is compiled
 * wait for the same compilation.
 */
export class CodeCache {
  readonly #compile: (code: ObjectRef, role: string) => Promise<WebAssembly.Module>;
  readonly #modules = new LRUCache<Digest, Promise<WebAssembly.Module>>({ maxSize: CODE_CACHE_BYTES });
  readonly #compiled = new LRUCache<Digest, readonly CompiledModule[]>({ maxSize: CODE_CACHE_BYTES });

  /** @param compile compiles a code object, or fetches it from another thread */
  constructor(compile: (code: ObjectRef, role: string) => Promise<WebAssembly.Module>) {
    this.#compile = compile;
  }

  /** The modules of a plan if they are all compiled, else null. */
  peek(manifest: Manifest): readonly CompiledModule[] | null {
    return this.#compiled.get(manifest.codeDigest) ?? null;
  }

  /** @throws ThawError STORE_OBJECT_MISSING, STORE_OBJECT_CORRUPT; WebAssembly.CompileError */
  async load(manifest: Manifest): Promise<readonly CompiledModule[]> {
    const compiled = await Promise.all(
      manifest.code.map(async (code, index) => ({
        module: await this.module(code, `core module ${index}`),
        shape: code.shape,
      })),
    );
    const size = manifest.code.reduce((sum, { bytes }) => sum + bytes, 1);
    this.#compiled.set(manifest.codeDigest, compiled, { size });
    return compiled;
  }

  /** One module. */
  module(code: ObjectRef, role: string): Promise<WebAssembly.Module> {
    let module = this.#modules.get(code.digest);
    if (module === undefined) {
      module = this.#compile(code, role);
      this.#modules.set(code.digest, module, { size: Math.max(1, code.bytes) });
      // A failure is not kept: the object may be repaired meanwhile.
      module.catch(() => this.#modules.delete(code.digest));
    }
    return module;
  }
}

/** Compiles from a store, off the calling thread. */
export const compileFrom =
  (store: SnapshotStore) =>
  async (code: ObjectRef, role: string): Promise<WebAssembly.Module> =>
    compileCode(store.readObject(code, role));
