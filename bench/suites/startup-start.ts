import { addressOf } from '../../src/runtime/libc.ts';
import { createRestorer } from '../../src/runtime/restore-tier.ts';
import type { RestoreTier } from '../../src/runtime/slot-memory.ts';
import { IMAGE_PAGE_BYTES } from '../../src/snapshot/manifest.ts';
import { RecordingCall } from '../support/call.ts';
import { LapTimer, type Laps } from './startup-laps.ts';

/** One start by one way, from nothing to a request that has ended, and the slot clean again where there is one. */
export type Start = () => Promise<Started>;

export type Started = {
  readonly laps: Laps;
  /** Of the response. */
  readonly status: number;
  /**
   * 4 KiB pages that were the memory's own when the guest had returned: not the file of the image, where that is mapped.
   * Null where nobody can tell.
   */
  readonly pagesWritten: number | null;
};

/** The request's side of the host, which stops the clock at the response head. */
export const timedCall = (timer: LapTimer): RecordingCall => new RecordingCall({ onRespond: timer.head });

/** @throws when the guest gave no answer, or one that says that it failed */
export function finished(timer: LapTimer, { sent, output }: RecordingCall): Pick<Started, 'laps' | 'status'> {
  const laps = timer.finish();
  if (sent === null) throw new Error(`the app answered with an error: ${output}`);
  const { status, body } = sent;
  if (status >= 500) throw new Error(`the app answered ${status}: ${output || body}`);
  return { laps, status };
}

/** Counts the private pages of memories, where the tier can find them. */
export function pageCounter(tier: RestoreTier): (memories: readonly WebAssembly.Memory[]) => number | null {
  const restorer = createRestorer(tier);
  if (!('dirty' in restorer)) return () => null;
  const { dirty } = restorer;
  return (memories) => {
    let bytes = 0;
    for (const { buffer } of memories) {
      if (buffer.byteLength === 0) continue;
      dirty.scan(addressOf(buffer), buffer.byteLength, (from, to) => {
        bytes += to - from;
      });
    }
    return bytes / IMAGE_PAGE_BYTES;
  };
}
