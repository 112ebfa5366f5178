import { ThawError, messageOf } from '../errors.ts';
import { IMAGE_PAGE_BYTES, WASM_PAGE_BYTES } from '../snapshot/manifest.ts';
import { PagemapDirtyPages, ScanDirtyPages, type DirtyPages } from './dirty-pages.ts';
import { addressOf, kernelPageBytes, mapZeroes } from './libc.ts';
import { RESTORE_TIERS, type RestoreTier, type Restorer } from './slot-memory.ts';

/** Whether a tier works on this machine, and if not, why. */
export type TierProbe = { readonly tier: RestoreTier; readonly failure: string | null };

/** Tries each tier on a small memory. */
export const probeTiers = (): TierProbe[] => RESTORE_TIERS.map((tier) => ({ tier, failure: probe(tier) }));

/**
 * The wanted tier, or the best that works here.
 * @throws ThawError USAGE when the wanted one does not work
 */
export function chooseTier(wanted: RestoreTier | undefined): RestoreTier {
  if (wanted === undefined) return RESTORE_TIERS.find((candidate) => probe(candidate) === null) ?? 'copy';
  const failure = probe(wanted);
  if (failure === null) return wanted;
  throw new ThawError('USAGE', `restore tier ${wanted} does not work on this machine: ${failure}`);
}

/** A restorer for one thread. The tier must work: see {@link chooseTier}. */
export function createRestorer(tier: RestoreTier): Restorer {
  switch (tier) {
    case 'scan':
      return { tier, dirty: new ScanDirtyPages() };
    case 'pagemap':
      return { tier, dirty: new PagemapDirtyPages() };
    case 'drop':
    case 'copy':
      return { tier };
  }
}

/** Maps two pages, writes the second and looks whether the tier sees just that. @returns why not, or null */
function probe(tier: RestoreTier): string | null {
  if (tier === 'copy') return null;
  try {
    // Two pages of the kernel at least, also where they are 64 KiB.
    const pages = Math.max(1, (2 * kernelPageBytes()) / WASM_PAGE_BYTES);
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const address = addressOf(buffer);
    mapZeroes(address, buffer.byteLength);
    const written = kernelPageBytes();
    new Uint8Array(buffer)[written] = 1;
    const restorer = createRestorer(tier);
    return 'dirty' in restorer ? probeDirty(restorer.dirty, address, buffer.byteLength, written) : null;
  } catch (error) {
    return messageOf(error);
  }
}

function probeDirty(dirty: DirtyPages, address: bigint, length: number, written: number): string | null {
  const found: string[] = [];
  try {
    dirty.scan(address, length, (from, to) => found.push(`${from}-${to}`));
  } finally {
    dirty.close();
  }
  const expected = `${written}-${written + Math.max(kernelPageBytes(), IMAGE_PAGE_BYTES)}`;
  return found.join() === expected ? null : `a write at ${written} was found as "${found.join()}"`;
}
