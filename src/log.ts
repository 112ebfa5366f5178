import type { Logger } from 'pino';
import { destination, levels, pino, stdTimeFunctions } from 'pino';
import { ThawError } from './errors.ts';

const DEFAULT_LEVEL = 'info';
/** The descriptor itself: `process.stderr` of a worker thread has none. */
const STDERR = 2;
/** Of lines that cannot be written now, so many bytes are kept for later; beyond, lines are lost. */
const MAX_UNWRITTEN_BYTES = 1_048_576;
const LEVELS: readonly string[] = [...Object.keys(levels.values), 'silent'];

/**
 * The logger of the process: JSON lines on stderr, stdout being for data. Writes are synchronous, so that nothing is
 * lost however the process ends. Where they fail, on a full disk for one, the node serves on: the log goes on when there
 * is room.
 *
 * @param level `trace` to `fatal`, or `silent`; `THAW_LOG_LEVEL` unless given, else `info`.
 * @throws ThawError `USAGE` for another level.
 */
export function createLogger(level: string = process.env['THAW_LOG_LEVEL'] || DEFAULT_LEVEL): Logger {
  if (!LEVELS.includes(level)) {
    throw new ThawError('USAGE', `THAW_LOG_LEVEL is ${JSON.stringify(level)}, not one of ${LEVELS.join(', ')}`);
  }
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const stream = destination({ fd: STDERR, sync: true, maxLength: MAX_UNWRITTEN_BYTES });
  // There is nowhere to tell it. Without a listener it would end the process.
  stream.on('error', () => {});
  return pino(options, stream);
}

export type GuestStream = 'stdout' | 'stderr';

/**
 * One line of guest output, without its line feed. `whole` ended with a line feed or with the output; `continued` was cut
 * because it grew too long, and the next line of the stream goes on with it; `truncated` is the last of a request, says
 * in thaw's words that there was more, and is not the guest's.
 */
export type GuestLine = {
  readonly stream: GuestStream;
  readonly line: string;
  readonly part: 'whole' | 'continued' | 'truncated';
};

/** Bytes of one line: log collectors cut at 16 KiB (container runtimes) and need room for the JSON around it. */
export const GUEST_LINE_BYTES = 8192;

/** Bytes of both streams that one request may log; a guest that prints in a loop must not fill the node's disk. */
export const GUEST_OUTPUT_BYTES = 65_536;

/**
 * Lines of both streams that one request may log. Each is written by itself, which takes some 5 µs of the thread, with some
 * 150 bytes around it: a thousand line feeds are 5 ms and 150 KB.
 */
export const GUEST_OUTPUT_LINES = 1000;

const LINE_FEED = 0x0a;

const isContinuationByte = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/**
 * The largest length up to `GUEST_LINE_BYTES` at which `bytes` can be cut without splitting a character. A UTF-8
 * character has at most 3 continuation bytes; more are no UTF-8, and may be cut anywhere.
 */
function cutLength(bytes: Uint8Array): number {
  for (let length = GUEST_LINE_BYTES; length > GUEST_LINE_BYTES - 4; length--) {
    if (!isContinuationByte(bytes[length])) return length;
  }
  return GUEST_LINE_BYTES;
}

/** The unfinished line of one stream: at most `GUEST_LINE_BYTES` bytes between calls. */
type PendingLine = { bytes: Uint8Array };

/**
 * Cuts the output of one request into lines of text, for the log. Bytes may come in any portions; bytes that are no
 * UTF-8 become U+FFFD. The caller adds route and request id to what `onLine` gets.
 */
export class GuestLineWriter {
  readonly #onLine: (line: GuestLine) => void;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  readonly #pending: Record<GuestStream, PendingLine> = {
    stdout: { bytes: new Uint8Array() },
    stderr: { bytes: new Uint8Array() },
  };
  /** Bytes that may still be logged. Never below 0. */
  #budget = GUEST_OUTPUT_BYTES;
  /** Lines that may still be logged. At 0 nothing is. */
  #lines = GUEST_OUTPUT_LINES;
  /** The stream whose bytes were the first to be dropped. */
  #truncated: GuestStream | null = null;

  constructor(onLine: (line: GuestLine) => void) {
    this.#onLine = onLine;
  }

  /** Takes what the guest wrote. Copies what it keeps: `bytes` may lie in the guest's memory. */
  write(stream: GuestStream, bytes: Uint8Array): void {
    const admitted = bytes.subarray(0, this.#lines > 0 ? this.#budget : 0);
    this.#budget -= admitted.length;
    if (admitted.length < bytes.length) this.#truncated ??= stream;
    if (admitted.length > 0) this.#split(stream, admitted);
  }

  /** The request is over: unfinished lines are lines now, and if bytes were dropped one last line says so. */
  end(): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      const { bytes } = this.#pending[stream];
      if (bytes.length > 0 && this.#lines > 0) this.#emit(stream, bytes, 'whole');
      else if (bytes.length > 0) this.#truncated ??= stream;
      this.#pending[stream].bytes = new Uint8Array();
    }
    if (this.#truncated === null) return;
    const line = `output of this request beyond ${GUEST_OUTPUT_BYTES} bytes or ${GUEST_OUTPUT_LINES} lines is not logged`;
    this.#onLine({ stream: this.#truncated, line, part: 'truncated' });
    this.#truncated = null;
  }

  #split(stream: GuestStream, bytes: Uint8Array): void {
    const pending = this.#pending[stream];
    let rest = pending.bytes.length > 0 ? Buffer.concat([pending.bytes, bytes]) : bytes;
    while (this.#lines > 0) {
      const end = rest.indexOf(LINE_FEED);
      const isLong = end > GUEST_LINE_BYTES || (end < 0 && rest.length > GUEST_LINE_BYTES);
      if (end < 0 && !isLong) break;
      const length = isLong ? cutLength(rest) : end;
      this.#emit(stream, rest.subarray(0, length), isLong ? 'continued' : 'whole');
      rest = rest.subarray(isLong ? length : length + 1);
    }
    pending.bytes = new Uint8Array();
    if (this.#lines > 0) pending.bytes = rest.slice();
    else if (rest.length > 0) this.#truncated ??= stream;
  }

  #emit(stream: GuestStream, bytes: Uint8Array, part: 'whole' | 'continued'): void {
    this.#lines--;
    this.#onLine({ stream, line: this.#decoder.decode(bytes), part });
  }
}
