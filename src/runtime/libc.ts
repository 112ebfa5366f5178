import koffi from 'koffi';
import { ThawError } from '../errors.ts';

/**
 * The calls into libc, all of them. Each costs about 0.3 µs through koffi. Addresses are bigints: V8 places memories
 * above 2^46, within what a double holds exactly, but arithmetic on them is rare enough to be strict.
 */

// The process's own symbols: works with glibc and with musl.
const libc = koffi.load(null);

const mmapRaw = libc.func('intptr_t mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t off)');
const madviseRaw = libc.func('int madvise(uintptr_t addr, size_t len, int advice)');
const ioctlRaw = libc.func('int ioctl(int fd, ulong request, void* arg)');
const getpagesizeRaw = libc.func('int getpagesize()');

// Linux uapi, the same numbers on x86-64 and arm64.
const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MADV_DONTNEED = 4;
const MADV_NOHUGEPAGE = 15;

function fail(call: string): never {
  const errno = koffi.errno();
  const name = Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? String(errno);
  throw new ThawError('INTERNAL', `${call} failed with ${name}`);
}

/** Bytes in a page of the kernel: 4096, or 16384 on a Raspberry Pi 5. */
export const kernelPageBytes = (): number => getpagesizeRaw() as number;

/** Where the bytes of a buffer lie. A linear memory that grows in place keeps its address. */
export const addressOf = (buffer: ArrayBufferLike): bigint => koffi.address(buffer);

/** Maps `length` bytes of a file over what is at `address`, copy-on-write. */
export function mapFile(address: bigint, length: number, fd: number): void {
  if (mmapRaw(address, length, PROT_READ_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) === -1) fail(`mmap of ${length} bytes`);
}

/** Maps fresh zero pages over what is at `address`. */
export function mapZeroes(address: bigint, length: number): void {
  const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
  if (mmapRaw(address, length, PROT_READ_WRITE, flags, -1, 0) === -1) fail(`mmap of ${length} zero bytes`);
  adviseSmallPages(address, length);
}

/**
 * Small pages only: one byte written to a huge page would make 512 pages private, to be zeroed at every restore. A kernel
 * without huge pages refuses the advice, which is as good; so is an error for addresses where nothing is mapped.
 */
export function adviseSmallPages(address: bigint, length: number): void {
  madviseRaw(address, length, MADV_NOHUGEPAGE);
}

/** Drops private pages: the next access sees the mapped file again, or zeroes. */
export function dropPages(address: bigint, length: number): void {
  if ((madviseRaw(address, length, MADV_DONTNEED) as number) !== 0) fail(`madvise of ${length} bytes`);
}

/** @returns what ioctl returned; negative when it failed. */
export const ioctl = (fd: number, request: number, argument: BigUint64Array): number =>
  ioctlRaw(fd, request, argument) as number;

/** The errno of the last failed call, by name. */
export function lastErrno(): string {
  const errno = koffi.errno();
  return Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? String(errno);
}
