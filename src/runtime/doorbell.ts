/**
 * How serving threads wake the watchdog: one shared word, which says how closely it looks. A thread first makes its segment
 * visible and then looks at the word; the watchdog first changes the word and then looks for segments once more. Atomics are
 * sequentially consistent, so one of the two sees the other.
 */
export const AWAKE = 0;
/** It looks every {@link DOZE_MS}. Whoever has less time left than that rings. */
export const DOZING = 1;
/** It does not look at all. Whoever runs a guest rings. */
export const ASLEEP = 2;
/** The watchdog is to end. */
export const ENDED = 3;

/**
 * Between two looks of a watchdog that dozes, in milliseconds. Each wakes a thread, some 60 µs: with 50 a second, and not
 * 200, a thread that is busy all the time serves 1 % more.
 */
export const DOZE_MS = 20;

export const newDoorbell = (): SharedArrayBuffer => new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);

/** Wakes the watchdog if it would look too late for a segment that has begun. @param leftMs until it is to be stopped */
export function ringDoorbell(doorbell: Int32Array, leftMs: number): void {
  const state = Atomics.load(doorbell, 0);
  if (state !== ASLEEP && (state !== DOZING || leftMs >= DOZE_MS)) return;
  if (Atomics.compareExchange(doorbell, 0, state, AWAKE) === state) Atomics.notify(doorbell, 0);
}

/** Ends the watchdog. */
export function endDoorbell(doorbell: Int32Array): void {
  Atomics.store(doorbell, 0, ENDED);
  Atomics.notify(doorbell, 0);
}
