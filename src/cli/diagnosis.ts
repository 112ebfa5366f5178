import { accessSync, constants, readFileSync, statSync, statfsSync } from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import { dirname, resolve } from 'node:path';
import { type Tools, buildTools } from '../build/tools.ts';
import { messageOf } from '../errors.ts';
import type { TierProbe } from '../runtime/restore-tier.ts';
import { testedNode, warningAboutNode } from './tested-node.ts';

type ToolName = Parameters<Tools>[0];

/** What `thaw doctor` finds. `failure` is why something does not work, or null. */
export type Diagnosis = {
  /** `tested` is the version that thaw is tested with; `warning` what to do when the running one is older, or null. */
  readonly node: {
    readonly version: string;
    readonly v8: string;
    readonly path: string;
    readonly tested: string;
    readonly warning: string | null;
  };
  /** JavaScript Promise Integration, with which guests wait: thaw cannot serve without it. */
  readonly jspi: boolean;
  readonly system: {
    readonly platform: string;
    readonly kernel: string;
    readonly arch: string;
    readonly processors: number;
    readonly memoryBytes: number;
  };
  readonly addressSpace: AddressSpace | null;
  readonly restore: Restore;
  readonly buildTools: readonly { readonly name: ToolName; readonly failure: string | null }[];
  readonly store: StoreDiagnosis;
};

/** `memories` is an upper bound for the slots: so many reservations of 8 GiB fit. */
type AddressSpace = { readonly bits: number; readonly limitBytes: number | null; readonly memories: number };

type Restore =
  | { readonly used: string; readonly pageBytes: number | null; readonly tiers: readonly TierProbe[] }
  | { readonly used: null; readonly failure: string };

type StoreDiagnosis = {
  readonly directory: string;
  readonly exists: boolean;
  readonly failure: string | null;
  readonly freeBytes: number | null;
};

export const diagnose = async (storeDirectory: string): Promise<Diagnosis> => ({
  node: diagnoseNode(),
  jspi: 'Suspending' in WebAssembly && 'promising' in WebAssembly,
  system: {
    platform: process.platform,
    kernel: release(),
    arch: process.arch,
    processors: availableParallelism(),
    memoryBytes: totalmem(),
  },
  addressSpace: addressSpace(),
  restore: await diagnoseRestore(),
  buildTools: await diagnoseTools(),
  store: diagnoseStore(storeDirectory),
});

function diagnoseNode(): Diagnosis['node'] {
  const { version, versions, execPath } = process;
  const tested = testedNode();
  return { version, v8: versions.v8, path: execPath, tested, warning: warningAboutNode(version, tested) };
}

/** The size of the kernel's pages needs a call into libc, for which a native package may be missing. */
async function diagnoseRestore(): Promise<Restore> {
  try {
    const { chooseTier, probeTiers } = await import('../runtime/restore-tier.ts');
    const { kernelPageBytes } = await import('../runtime/libc.ts');
    const tiers = probeTiers();
    const canCall = tiers.some(({ tier, failure }) => tier !== 'copy' && failure === null);
    return { used: chooseTier(undefined), pageBytes: canCall ? kernelPageBytes() : null, tiers };
  } catch (error) {
    return { used: null, failure: messageOf(error) };
  }
}

const TOOLS = [
  'rolldown',
  '@bytecodealliance/componentize-js',
  '@bytecodealliance/jco',
  '@bytecodealliance/wizer',
] as const satisfies ToolName[];

/** Loads them: a package can be there and not work on this machine. */
function diagnoseTools(): Promise<Diagnosis['buildTools']> {
  const load = buildTools();
  return Promise.all(
    TOOLS.map(async (name) => {
      const failure = await load(name).then(() => null, messageOf);
      return { name, failure };
    }),
  );
}

/** The directory, or the nearest above it that exists, which is where it would be made. */
function diagnoseStore(storeDirectory: string): StoreDiagnosis {
  const directory = resolve(storeDirectory);
  let exists = false;
  try {
    exists = statSync(directory, { throwIfNoEntry: false })?.isDirectory() ?? false;
    let existing = directory;
    while (statSync(existing, { throwIfNoEntry: false }) === undefined) existing = dirname(existing);
    // With a slash behind it a file is what it is: not a directory.
    accessSync(`${existing}/`, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(existing);
    return { directory, exists, failure: null, freeBytes: bavail * bsize };
  } catch (error) {
    return { directory, exists, failure: messageOf(error), freeBytes: null };
  }
}

/** What V8 reserves for a memory at least: 4 GiB of addresses and as much again for guards. */
const MEMORY_RESERVATION_BYTES = 8 * 2 ** 30;

/**
 * From what the kernel says of this process: the stack lies at the top of the address space, so its address has as many
 * bits as addresses have. Null where the kernel says nothing.
 */
function addressSpace(): AddressSpace | null {
  const stack = /^[0-9a-f]+-([0-9a-f]+) .*\[stack\]$/m.exec(readIfThere('/proc/self/maps'))?.[1];
  if (stack === undefined) return null;
  const bits = Math.ceil(Math.log2(Number.parseInt(stack, 16)));
  const limit = /^Max address space +(\d+)/m.exec(readIfThere('/proc/self/limits'))?.[1];
  const limitBytes = limit === undefined ? null : Number(limit);
  const memories = Math.floor(Math.min(2 ** bits, limitBytes ?? Infinity) / MEMORY_RESERVATION_BYTES);
  return { bits, limitBytes, memories };
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
