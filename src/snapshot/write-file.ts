import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { IMAGE_PAGE_BYTES } from './manifest.ts';
import { storeError } from './file-ops.ts';
import type { FileOps, WritableFile } from './file-ops.ts';
import { nonZeroRuns } from './pages.ts';

/** Where unfinished files are: in the file system of the store, or a rename would be a copy. */
export type Scratch = { readonly ops: FileOps; readonly directory: string };

/**
 * Makes `target` hold `bytes`, durably, or leaves it as it was: at no moment does a reader, or the disk after a crash,
 * have anything between. The directory of the target exists.
 *
 * @throws STORE_FULL, STORE_UNWRITABLE or STORE_IO_FAILED with the path and the bytes wanted; the temporary file is gone.
 */
export async function replaceFile(scratch: Scratch, target: string, bytes: Uint8Array, mode: number): Promise<void> {
  const { ops } = scratch;
  const temporary = scratchPath(scratch);
  await makeScratch(scratch);
  try {
    const file = await ops.create(temporary, mode);
    try {
      await writeSparse(file, bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await ops.rename(temporary, target);
    await ops.syncDirectory(dirname(target));
  } catch (error) {
    // It may not be there, and the first error is the one to tell; what stays is collected when it is stale.
    await ops.unlink(temporary).catch(() => undefined);
    throw storeError(error, `writing ${bytes.length} bytes to ${target} (first to ${temporary})`);
  }
}

/** Makes the directory of unfinished files: git and archives, which stores travel in, do not keep it when empty. */
export async function makeScratch({ ops, directory }: Scratch): Promise<void> {
  await ops.makeDirectory(directory).catch((error: unknown) => {
    throw storeError(error, `making the directory ${directory}`);
  });
}

export const scratchPath = ({ directory }: Scratch): string => join(directory, `${process.pid}-${randomUUID()}`);

/** Leaves holes where pages are zero: most of an image is, and reads the same without taking up disk. */
async function writeSparse(file: WritableFile, bytes: Uint8Array): Promise<void> {
  for (const run of nonZeroRuns(bytes)) {
    const start = run.start * IMAGE_PAGE_BYTES;
    const end = Math.min(start + run.pages * IMAGE_PAGE_BYTES, bytes.length);
    for (let at = start; at < end;) at += await file.write(bytes.subarray(at, end), at);
  }
  await file.truncate(bytes.length);
}
