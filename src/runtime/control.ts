/**
 * The control memory: one shared linear memory per thread, imported by rewritten modules as `thaw`.`control`. The rewriter
 * and the runtime both take the layout from here.
 *
 * Each slot owns one record of it; exported mutable globals of the rewritten module (`thaw:memory<index>`) hold addresses
 * into the record. `memory.size` and `memory.grow` work on these words, so that a reused slot never looks grown to the
 * next request, and each route has a hard memory limit. Record 0 belongs to start functions, which run before the globals
 * can be set, and has the words by which a guest that runs too long is stopped.
 *
 *     record:    | pages, limit | pages, limit | … 7 memories …             | headroom, refused |
 *     record 0:  | pages, limit | segment | deadline | clock | closed | …       | headroom, refused |
 *
 * Behind the records lies the stop page. Nothing is ever in it: the checks in rewritten code load from it, and trap while
 * it is closed.
 */

/** One cache line. */
export const CONTROL_RECORD_BYTES = 64;

/** Pages of records: 1,024 of them. */
export const CONTROL_PAGES = 1;

/** Address and size of the stop page. It is a multiple of every kernel's page, so that it can be closed by itself. */
export const CONTROL_STOP_PAGE = CONTROL_PAGES * 65_536;
export const CONTROL_STOP_BYTES = 65_536;

/** The control memory's size, in pages of 64 KiB. */
export const CONTROL_MEMORY_PAGES = CONTROL_PAGES + 1;

/** Byte offset, in a record, of the i32 of pages by which its memories may still grow, all together. */
export const CONTROL_HEADROOM_WORD = 56;

/** Byte offset, in a record, of the i32 that counts the calls of `memory.grow` that were refused. */
export const CONTROL_REFUSED_WORD = 60;

/** Memories of one slot that can be virtualised: what comes before the headroom, in records of two words. */
export const CONTROL_MAX_MEMORIES = CONTROL_HEADROOM_WORD / 8;

/** Byte offset, from `thaw:memory<index>`, of the i32 that `memory.size` returns: the logical size in 64 KiB pages. */
export const CONTROL_PAGES_WORD = 0;

/** Byte offset of the i32 beyond which `memory.grow` returns -1: the declared maximum in 64 KiB pages. */
export const CONTROL_LIMIT_WORD = 4;

/**
 * Address of the i32 that says which segment runs; a segment is one uninterrupted run of a guest on the thread. Odd while
 * one runs, even between two, negative when the one that runs is to stop: then the stop page is closed. See
 * runtime/meter.ts for who writes it, and why nobody stops the wrong segment.
 */
export const CONTROL_SEGMENT = 8;

/** Address of the i32 with the time on the thread's clock at which the running segment is to stop: µs modulo 2³². */
export const CONTROL_DEADLINE = 12;

/** Address of the i32 with the id of the thread's clock, see runtime/thread-clock.ts. */
export const CONTROL_CLOCK = 16;

/** Address of the i32 that says for which segment the watchdog has closed the stop page last. */
export const CONTROL_CLOSED = 20;
