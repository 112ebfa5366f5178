import { setFlagsFromString } from 'node:v8';

/**
 * V8 counts each linear memory against a limit of its own for memory outside its heap, and collects garbage for every few
 * memories that are made, mapped pages or not: 40 collections while 200 StarlingMonkey slots were made, 23 ms a slot. As
 * part of the limit for the whole heap it was 10 collections and 7 ms. Holds for all threads; call it before there are
 * slots.
 */
export function countMemoriesWithHeap(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}
