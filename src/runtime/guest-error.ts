import { ThawError, messageOf } from '../errors.ts';
import { CpuTimeExceeded, type GuestClock } from '../wasi/guest.ts';

/**
 * What ended a guest, as thaw's own error. V8 reports traps as RuntimeError, also that of a check that found the guest's
 * time over; and a stack that is full as RangeError.
 *
 * @param wasStopped whether the guest was told to stop: then that is why, whatever it made of it
 */
export function guestError(error: unknown, clock: GuestClock, wasStopped: boolean): ThawError {
  if (wasStopped) return new CpuTimeExceeded(clock, { cause: error });
  if (error instanceof ThawError) return error;
  if (error instanceof RangeError && /call stack/i.test(error.message)) {
    return new ThawError('GUEST_TRAP', 'the guest ran out of stack: its recursion does not end', { cause: error });
  }
  return new ThawError('GUEST_TRAP', `the guest trapped: ${messageOf(error)}`, { cause: error });
}
