import { ThawError } from '../errors.ts';

/**
 * What the host may keep in its own memory for one request, beside the resources themselves: header fields that the guest
 * makes, requests and bodies that are not sent yet. As much as 128 of the largest header sections, or 256 bodies of 64 KiB:
 * more than an app has under way at once, and little beside the memory that the guest itself may have.
 */
export const MAX_KEPT_BYTES = 16 * 1_048_576;

/** Counts what the host keeps for one request. Never more than was allowed. */
export class Allowance {
  #left: number;

  constructor(bytes: number = MAX_KEPT_BYTES) {
    this.#left = bytes;
  }

  /**
   * To be called before the bytes are copied.
   * @param what is kept, for people
   * @throws ThawError GUEST_LIMIT
   */
  take(bytes: number, what: string): void {
    if (bytes > this.#left) {
      throw new ThawError(
        'GUEST_LIMIT',
        `${what} of ${bytes} bytes more, where the host keeps ${MAX_KEPT_BYTES} bytes for one request and has room for ${this.#left}`,
      );
    }
    this.#left -= bytes;
  }

  /** They are no longer kept. */
  give(bytes: number): void {
    this.#left += bytes;
  }
}
