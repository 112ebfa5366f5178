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
const clockGettimeRaw = libc.func('int clock_gettime(int clock, void* time)');

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

/** Maps `length` bytes of a file, from `offset` on, over what is at `address`, copy-on-write. */
export function mapFile(address: bigint, length: number, fd: number, offset = 0): void {
  if (mmapRaw(address, length, PROT_READ_WRITE, MAP_PRIVATE | MAP_FIXED, fd, offset) === -1) fail(`mmap of ${length} bytes`);
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

/**
 * The id of the calling thread's CPU clock, which the other threads of the process can read, too; 0 where there is none.
 * Source: POSIX, pthread_getcpuclockid; macOS does not have it.
 */
export function threadCpuClock(): number {
  let calls: { self: () => unknown; clockOf: (thread: unknown, clock: Int32Array) => number };
  try {
    calls = {
      self: libc.func('uintptr_t pthread_self()'),
      clockOf: libc.func('int pthread_getcpuclockid(uintptr_t thread, void* clock)'),
    };
  } catch {
    return 0;
  }
  const clock = new Int32Array(1);
  return calls.clockOf(calls.self(), clock) === 0 ? (clock[0] as number) : 0;
}

/** `struct timespec` of 64-bit systems: seconds, nanoseconds. */
const timespec = new BigInt64Array(2);

/** What a clock says, in microseconds, or null when it cannot be read: its thread has ended. */
export function cpuClockMicros(clock: number): number | null {
  if ((clockGettimeRaw(clock, timespec) as number) !== 0) return null;
  return Number(timespec[0]) * 1e6 + Number(timespec[1]) / 1000;
}
