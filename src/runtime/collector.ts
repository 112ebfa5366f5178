import { setFlagsFromString } from 'node:v8';

/**
 * V8 counts each linear memory against a limit of its own for memory outside its heap, and collects garbage for every few
 * memories that are made, mapped pages or not: 44 collections while 200 StarlingMonkey slots were made. As part of the
 * limit for the whole heap it is 10. But then buffers of streamed bodies lie around longer, too, so memories are counted so
 * only while slots are being made.
 */
const WITH_HEAP = '--external-memory-accounted-in-global-limit';
const APART = '--no-external-memory-accounted-in-global-limit';

/** The pause after which a burst of new slots is over. */
const BURST_OVER_MS = 100;

let burst: NodeJS.Timeout | null = null;

/** A slot is about to be made. The flag is the whole process's: threads that are in a burst together profit together. */
export function expectNewMemories(): void {
  if (burst !== null) {
    burst.refresh();
    return;
  }
  setFlagsFromString(WITH_HEAP);
  burst = setTimeout(() => {
    burst = null;
    setFlagsFromString(APART);
  }, BURST_OVER_MS);
  burst.unref();
}
