/**
 * The control memory: one shared linear memory per thread, imported by rewritten modules as `thaw`.`control`. Each slot
 * owns one record of it; exported mutable globals of the rewritten module (`thaw:memory<index>`) hold addresses into the
 * record. `memory.size` and `memory.grow` work on these words, so that a reused slot never looks grown to the next
 * request, and each route has a hard memory limit. The rewriter and the runtime both take the layout from here.
 */

/** One cache line. */
export const CONTROL_RECORD_BYTES = 64;

/** The control memory's size: 1,024 records. */
export const CONTROL_PAGES = 1;

/** Memories of one slot that can be virtualised: 64 / 8 records of two words. */
export const CONTROL_MAX_MEMORIES = CONTROL_RECORD_BYTES / 8;

/** Byte offset, from `thaw:memory<index>`, of the i32 that `memory.size` returns: the logical size in 64 KiB pages. */
export const CONTROL_PAGES_WORD = 0;

/** Byte offset of the i32 beyond which `memory.grow` returns -1: the limit in 64 KiB pages. */
export const CONTROL_LIMIT_WORD = 4;
