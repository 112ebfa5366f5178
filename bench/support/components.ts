import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildComponent } from '../../src/build/input.ts';

const ROOT = join(import.meta.dirname, '../..');
const CACHE = join(import.meta.dirname, '../out/components');

/**
 * The component of a JavaScript app, as a file. Componentizing takes seconds, so it is kept until the app, thaw's build or
 * the versions of the tools change.
 */
export async function componentFile(source: string): Promise<string> {
  const path = join(CACHE, `${keyOf(source)}.wasm`);
  try {
    readFileSync(path);
  } catch {
    process.stdout.write(`building ${source}\n`);
    const { component } = await buildComponent(source);
    mkdirSync(CACHE, { recursive: true });
    // Renamed into place: no bench finds half of it.
    writeFileSync(`${path}.${process.pid}`, component);
    renameSync(`${path}.${process.pid}`, path);
  }
  return path;
}

function keyOf(source: string): string {
  const hash = createHash('sha256')
    .update(readFileSync(source))
    .update(readFileSync(join(ROOT, 'package.json')));
  const build = join(ROOT, 'src/build');
  const names = readdirSync(build, { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((name) => name.endsWith('.ts')).toSorted()) {
    hash.update(name).update(readFileSync(join(build, name)));
  }
  return hash.digest('hex').slice(0, 16);
}
