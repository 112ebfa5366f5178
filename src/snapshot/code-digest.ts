import type { Digest, LinkPlan } from '../wasm/plan.ts';
import { canonicalJson } from './canonical-json.ts';
import { sha256 } from './digest.ts';
import type { Program } from './manifest.ts';

/**
 * The digest of all that a slot is made of: snapshots with equal digests can share slots. It covers the code and how its
 * instances are linked. It leaves out what differs between two apps of one engine and never reaches an instance: names
 * of modules, interfaces that are declared (those linked are in the instances), and the first size of each memory, which
 * the code's import does not say and the snapshot's memory state does.
 */
export function codeDigest(plan: LinkPlan, code: Program['code']): Digest {
  const modules = code.map(({ digest, shape: { memories, globals, sized } }) => ({
    digest,
    shape: { memories: memories.map(({ index, max }) => ({ index, max })), globals, sized },
  }));
  return sha256(canonicalJson({ instances: plan.instances, exports: plan.exports, modules }));
}
