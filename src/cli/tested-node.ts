import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invariant } from '../errors.ts';
import { PACKAGE_ROOT } from '../package.ts';

/** The Node that this version of thaw is tested with and brings along, such as `26.10.0`: the `node` of its dependencies. */
export function testedNode(): string {
  const text = readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8');
  const tested = (JSON.parse(text) as { dependencies?: { node?: string } }).dependencies?.node;
  invariant(tested !== undefined, 'package.json has the dependency "node"');
  return tested;
}

/**
 * What to tell an operator about the Node that runs, or null when it is as new as the one tested. Newer ones pass: who is
 * ahead has the fixes, too.
 *
 * @param running as `process.version` has it: `v26.9.1`
 * @param tested as {@link testedNode}
 */
export function warningAboutNode(running: string, tested: string): string | null {
  if (compareVersions(running, tested) >= 0) return null;
  return (
    `${running} is older than v${tested}, which this thaw is tested with: Node and V8 are the sandbox, and fixes of theirs ` +
    `are missing. Start thaw with the Node that was installed beside it, or install a newer one: npm install node@${tested}`
  );
}

/** Negative when `a` is older. A release is newer than what led to it (`-rc.1`, `-nightly…`; SemVer 2.0.0, section 11). */
function compareVersions(a: string, b: string): number {
  const [left, right] = [partsOf(a), partsOf(b)];
  const index = left.findIndex((part, at) => part !== right[at]);
  return index < 0 ? 0 : (left[index] ?? 0) - (right[index] ?? 0);
}

/** Major, minor, patch, and 1 for a release or 0 for what leads to one. */
function partsOf(version: string): readonly number[] {
  const [, major, minor, patch, pre] = /^v?(\d+)\.(\d+)\.(\d+)(-\S+)?/.exec(version) ?? [];
  return [Number(major ?? 0), Number(minor ?? 0), Number(patch ?? 0), pre === undefined ? 1 : 0];
}
