import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildComponent } from '../../src/build/input.ts';
import { buildTools } from '../../src/build/tools.ts';
import { writeWit } from '../../src/build/wit.ts';

/** A core module in text, as a component of a world that is called `guest`. */
export async function buildWat(wat: string, world: string): Promise<Uint8Array> {
  const tools = buildTools();
  const directory = await mkdtemp(join(tmpdir(), 'thaw-wat-'));
  try {
    const input = join(directory, 'guest.wasm');
    const wit = join(directory, 'wit');
    await writeFile(input, await (await tools('@bytecodealliance/jco')).parse(wat));
    await writeWit(wit, world, tools);
    return (await buildComponent(input, { wit, world: 'guest' })).component;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
