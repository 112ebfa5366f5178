/** Requests and responses on top of the raw imports, as much as the guest's routes need. */
import * as wasi from "./wasi";

/** Where results are written: the largest, option<string>, has 12 bytes. Reused, as calls do not overlap. */
const RET = memory.data(16);

/** What one read asks for. The host writes each chunk to the same place, so that a long body needs no more memory. */
const CHUNK_BYTES: usize = 65536;
const CHUNK = memory.data(65536);
let readingChunk: bool = false;

/** The most that blocking-write-and-flush accepts, by its documentation. */
const WRITE_BYTES: usize = 4096;

/** How the host gets memory for what it returns. */
export function cabi_realloc(oldPtr: usize, oldSize: usize, align: usize, newSize: usize): usize {
  if (readingChunk && oldSize == 0 && newSize <= CHUNK_BYTES) return CHUNK;
  const ptr = heap.alloc(newSize);
  memory.copy(ptr, oldPtr, min(oldSize, newSize));
  return ptr;
}

/** The payload of a result<handle, _>; anything but ok is a bug in the host or here. */
function handleResult(): i32 {
  if (load<u8>(RET) != 0) unreachable();
  return load<i32>(RET, 4);
}

/** Path and query of the request. */
export function pathOf(request: i32): string {
  wasi.requestPath(request, RET);
  if (load<u8>(RET) == 0) return "/";
  return String.UTF8.decodeUnsafe(load<usize>(RET, 4), load<usize>(RET, 8));
}

/** The number that the query gives to `name`, or `fallback`. */
export function queryNumber(path: string, name: string, fallback: i64): i64 {
  const key = name + "=";
  let at = path.indexOf("?" + key);
  if (at < 0) at = path.indexOf("&" + key);
  if (at < 0) return fallback;
  const start = at + 1 + key.length;
  const next = path.indexOf("&", start);
  return I64.parseInt(path.substring(start, next < 0 ? path.length : next));
}

/** A response whose head has been sent. */
export class Sender {
  constructor(
    private body: i32,
    private stream: i32,
  ) {}

  write(ptr: usize, len: usize): void {
    let at: usize = 0;
    while (at < len) {
      const part = min(len - at, WRITE_BYTES);
      wasi.streamWrite(this.stream, ptr + at, part, RET);
      if (load<u8>(RET) != 0) unreachable();
      at += part;
    }
  }

  text(text: string): void {
    const bytes = String.UTF8.encode(text);
    this.write(changetype<usize>(bytes), bytes.byteLength);
  }

  /** Ends the body. `trailers` is a fields handle, or 0 for none. */
  finish(trailers: i32 = 0): void {
    wasi.dropOutputStream(this.stream);
    wasi.outgoingBodyFinish(this.body, trailers == 0 ? 0 : 1, trailers, RET);
  }
}

/** A new fields with one entry. */
export function fieldsWith(name: string, value: string): i32 {
  const fields = wasi.newFields();
  const nameBytes = String.UTF8.encode(name);
  const valueBytes = String.UTF8.encode(value);
  wasi.fieldsAppend(
    fields,
    changetype<usize>(nameBytes),
    nameBytes.byteLength,
    changetype<usize>(valueBytes),
    valueBytes.byteLength,
    RET,
  );
  if (load<u8>(RET) != 0) unreachable();
  return fields;
}

/** Sends the head of a response. */
export function respond(out: i32, status: i32): Sender {
  const response = wasi.newResponse(fieldsWith("content-type", "text/plain"));
  if (wasi.responseSetStatus(response, status) != 0) unreachable();
  wasi.responseBody(response, RET);
  const body = handleResult();
  wasi.outgoingBodyWrite(body, RET);
  const stream = handleResult();
  wasi.outparamSet(out, 0, response, 0, 0, 0, 0, 0, 0);
  return new Sender(body, stream);
}

/** The body of the request; it can be had once. */
export function bodyOf(request: i32): i32 {
  wasi.requestConsume(request, RET);
  return handleResult();
}

/** The stream of a body; it can be had once. */
export function streamOf(body: i32): i32 {
  wasi.incomingBodyStream(body, RET);
  return handleResult();
}

/** Waits for the next of the stream, and has it written to `CHUNK`. Returns how much it is, or -1 when it is no more. */
export function readChunk(stream: i32): i32 {
  readingChunk = true;
  wasi.streamRead(stream, CHUNK_BYTES, RET);
  readingChunk = false;
  if (load<u8>(RET) == 0) return load<i32>(RET, 8);
  // stream-error: 0 is last-operation-failed, 1 closed, which is how a body ends.
  if (load<u8>(RET, 4) == 0) unreachable();
  return -1;
}

/** Passes the request's body on, chunk by chunk. */
export function pipeBody(request: i32, sender: Sender): void {
  const body = bodyOf(request);
  const stream = streamOf(body);
  for (let bytes = readChunk(stream); bytes >= 0; bytes = readChunk(stream)) sender.write(CHUNK, <usize>bytes);
  wasi.dropInputStream(stream);
  wasi.dropFutureTrailers(wasi.incomingBodyFinish(body));
}
