/**
 * How serving threads wake the watchdog, which sleeps while no guest runs: one shared word. A thread first makes its
 * segment visible and then looks at the word; the watchdog first says that it sleeps and then looks for segments once more.
 * Atomics are sequentially consistent, so one of the two sees the other.
 */
export const AWAKE = 0;
export const ASLEEP = 1;
/** The watchdog is to end. */
export const ENDED = 2;

export const newDoorbell = (): SharedArrayBuffer => new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);

/** Wakes the watchdog if it sleeps. */
export function ringDoorbell(doorbell: Int32Array): void {
  if (Atomics.load(doorbell, 0) !== ASLEEP) return;
  if (Atomics.compareExchange(doorbell, 0, ASLEEP, AWAKE) === ASLEEP) Atomics.notify(doorbell, 0);
}

/** Ends the watchdog. */
export function endDoorbell(doorbell: Int32Array): void {
  Atomics.store(doorbell, 0, ENDED);
  Atomics.notify(doorbell, 0);
}
