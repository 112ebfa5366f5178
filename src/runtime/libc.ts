import { ftruncateSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import type Koffi from 'koffi';
import { ThawError, messageOf } from '../errors.ts';
import { IMAGE_PAGE_BYTES } from '../snapshot/manifest.ts';
import { nonZeroRuns } from '../snapshot/pages.ts';

/**
 * The calls into libc, all of them. Each costs about 0.3 µs through koffi. Addresses are bigints: V8 places memories
 * above 2^46, within what a double holds exactly, but arithmetic on them is rare enough to be strict.
 */

/** koffi's native half is an optional package for each platform; without it a node restores by plain copies. */
function loadKoffi(): { readonly koffi: typeof Koffi } | { readonly failure: string } {
  try {
    return { koffi: createRequire(import.meta.url)('koffi') as typeof Koffi };
  } catch (error) {
    return { failure: messageOf(error) };
  }
}

/** Loaded at the first call: it takes 15 ms, and most commands call nothing. */
let loaded: ReturnType<typeof loadKoffi> | null = null;

/** @throws ThawError NATIVE_CALLS_MISSING */
function native(): typeof Koffi {
  loaded ??= loadKoffi();
  if ('koffi' in loaded) return loaded.koffi;
  throw new ThawError('NATIVE_CALLS_MISSING', `koffi, which calls libc, could not be loaded: ${loaded.failure}`);
}

/** A function of libc, bound at its first call. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller says what the prototype takes
function bind<Args extends unknown[]>(prototype: string): (...args: Args) => number {
  let bound: ((...args: Args) => number) | undefined;
  return (...args) => {
    // The process's own symbols: works with glibc and with musl.
    bound ??= native().load(null).func(prototype) as (...args: Args) => number;
    return bound(...args);
  };
}

const mmapRaw = bind<[bigint, number, number, number, number, number]>(
  'intptr_t mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t off)',
);
const mprotectRaw = bind<[bigint, number, number]>('int mprotect(uintptr_t addr, size_t len, int prot)');
const madviseRaw = bind<[bigint, number, number]>('int madvise(uintptr_t addr, size_t len, int advice)');
const ioctlRaw = bind<[number, number, BigUint64Array]>('int ioctl(int fd, ulong request, void* arg)');
const getrusageRaw = bind<[number, number]>('int getrusage(int who, uintptr_t usage)');
const getpagesizeRaw = bind<[]>('int getpagesize()');
const memfdCreateRaw = bind<[string, number]>('int memfd_create(const char* name, uint flags)');
const closeRaw = bind<[number]>('int close(int fd)');
const clockGettimeRaw = bind<[number, BigInt64Array]>('int clock_gettime(int clock, void* time)');

// Linux uapi, the same numbers on x86-64 and arm64.
const PROT_NONE = 0;
const PROT_READ = 0x1;
const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MADV_DONTNEED = 4;
const MADV_NOHUGEPAGE = 15;
const RUSAGE_THREAD = 1;
const MFD_CLOEXEC = 1;

/** Whether there are native calls at all. */
export function canCallLibc(): boolean {
  try {
    return kernelPageBytes() > 0;
  } catch {
    return false;
  }
}

function fail(call: string): never {
  throw new ThawError('INTERNAL', `${call} failed with ${lastErrno()}`);
}

/** Bytes in a page of the kernel: 4096, or 16384 on a Raspberry Pi 5. */
export const kernelPageBytes = (): number => getpagesizeRaw();

/** Where the bytes of a buffer lie. A linear memory that grows in place keeps its address. */
export const addressOf = (buffer: ArrayBufferLike): bigint => native().address(buffer);

/** Maps `length` bytes of a file, from `offset` on, over what is at `address`, copy-on-write. */
export function mapFile(address: bigint, length: number, fd: number, offset = 0): void {
  if (mmapRaw(address, length, PROT_READ_WRITE, MAP_PRIVATE | MAP_FIXED, fd, offset) === -1)
    fail(`mmap of ${length} bytes`);
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

/** Lets whole pages be read, or not be touched at all. */
export function setAccess(address: bigint, length: number, access: 'read' | 'none'): void {
  if (mprotectRaw(address, length, access === 'read' ? PROT_READ : PROT_NONE) !== 0)
    fail(`mprotect of ${length} bytes`);
}

/** Drops private pages: the next access sees the mapped file again, or zeroes. */
export function dropPages(address: bigint, length: number): void {
  if (madviseRaw(address, length, MADV_DONTNEED) !== 0) fail(`madvise of ${length} bytes`);
}

/** A descriptor and how it is closed: Node warns of a thread that closes one which it has not opened through Node. */
export type OpenFile = { readonly fd: number; readonly close: () => void };

/**
 * Makes a file of its own memory, without a name: nobody can change it or cut it short. Pages that are zero take none.
 *
 * @returns null where there are no such files, or no memory for one
 */
export function memoryFile(bytes: Uint8Array): OpenFile | null {
  let fd = -1;
  try {
    fd = memfdCreateRaw('thaw-image', MFD_CLOEXEC);
    if (fd < 0) return null;
    ftruncateSync(fd, bytes.length);
    for (const run of nonZeroRuns(bytes)) {
      const start = run.start * IMAGE_PAGE_BYTES;
      const end = Math.min(start + run.pages * IMAGE_PAGE_BYTES, bytes.length);
      for (let at = start; at < end;) at += writeSync(fd, bytes, at, end - at, at);
    }
    return { fd, close: () => void closeRaw(fd) };
  } catch {
    if (fd >= 0) closeRaw(fd);
    return null;
  }
}

/** @returns what ioctl returned; negative when it failed. */
export const ioctl = (fd: number, request: number, argument: BigUint64Array): number => ioctlRaw(fd, request, argument);

/**
 * `struct rusage` of 64-bit systems: 18 words of 64 bits, here in halves. Its address is known, since it is asked for at every
 * restore: koffi takes a number more cheaply than an array. A buffer of its own is never moved, short arrays may be.
 */
const usage = new Uint32Array(new ArrayBuffer(18 * 8));
let usageAddress: number | null = null;
const MINOR_FAULTS = 8 * 2;
const MAJOR_FAULTS = 9 * 2;

/** Page faults of the calling thread since it began, modulo 2³². */
export function threadFaults(): number {
  usageAddress ??= Number(addressOf(usage.buffer));
  if (getrusageRaw(RUSAGE_THREAD, usageAddress) !== 0) fail('getrusage');
  return ((usage[MINOR_FAULTS] as number) + (usage[MAJOR_FAULTS] as number)) >>> 0;
}

/** The errno of the last failed call, by name. */
export function lastErrno(): string {
  const koffi = native();
  const errno = koffi.errno();
  return Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? String(errno);
}

/**
 * The id of the calling thread's CPU clock, which the other threads of the process can read, too; 0 where there is none.
 * Source: POSIX, pthread_getcpuclockid; macOS does not have it.
 */
export function threadCpuClock(): number {
  try {
    const libc = native().load(null);
    const self = libc.func('uintptr_t pthread_self()') as () => bigint;
    const clockOf = libc.func('int pthread_getcpuclockid(uintptr_t thread, void* clock)') as (
      thread: bigint,
      clock: Int32Array,
    ) => number;
    const clock = new Int32Array(1);
    return clockOf(self(), clock) === 0 ? (clock[0] as number) : 0;
  } catch {
    return 0;
  }
}

/** `struct timespec` of 64-bit systems: seconds, nanoseconds. */
const timespec = new BigInt64Array(2);

/** What a clock says, in microseconds, or null when it cannot be read: its thread has ended. */
export function cpuClockMicros(clock: number): number | null {
  if (clockGettimeRaw(clock, timespec) !== 0) return null;
  return Number(timespec[0]) * 1e6 + Number(timespec[1]) / 1000;
}
