#!/usr/bin/env node
// Finds a Node that can run thaw (WebAssembly.Suspending and type stripping: Node 26) and hands over to it.
// This file alone must run on an old Node: no syntax newer than Node 18.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NEEDED_MAJOR = 26;
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
// A checkout runs its sources; the published package has only dist/ (Node strips no types in node_modules).
const entry = ['src/cli/main.ts', 'dist/src/cli/main.js'].map((file) => join(root, file)).find(existsSync);

const majorOf = (version) => Number(/^v?(\d+)/.exec(version)?.[1] ?? 0);

/** The Node binary of the `node` package beside thaw, else one on PATH, else null. */
function findNode() {
  const candidates = [];
  try {
    const pkg = createRequire(import.meta.url).resolve('node/package.json');
    candidates.push(join(dirname(pkg), 'bin', 'node'));
  } catch {
    // not installed: PATH may still have one
  }
  candidates.push('node');
  for (const command of candidates) {
    const { stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    if (majorOf(stdout ?? '') >= NEEDED_MAJOR) return command;
  }
  return null;
}

if (entry === undefined) {
  console.error(
    `thaw: neither src/ nor dist/ is in ${root}: the package is incomplete. Install it again: npm install thaw`,
  );
  process.exit(1);
} else if (majorOf(process.version) >= NEEDED_MAJOR) {
  await import(pathToFileURL(entry).href);
} else {
  const node = findNode();
  if (node === null) {
    console.error(
      `thaw needs Node ${NEEDED_MAJOR} or newer; this is ${process.version} and no newer one was found.\n` +
        `Install it beside thaw: npm install node@${NEEDED_MAJOR}   (or put Node ${NEEDED_MAJOR} first on PATH)`,
    );
    process.exit(1);
  }
  const child = spawn(node, [entry, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}
