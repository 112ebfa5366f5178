/**
 * A guest that takes as much of its host as it can get. Each path is one way; where the host says no by an error and not
 * by a trap, the answer says how far it came.
 */
import * as wasi from "./wasi";
import { Sender, pathOf, queryNumber, respond } from "./http";

export { cabi_realloc } from "./http";

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
const WASM_PAGE_BYTES: usize = 65536;

/** Where results are written: the largest here, result<_, error-code>, has 40 bytes. */
const RET = memory.data(64, 8);

/** A field name, and what fills whatever has to be filled. */
const NAME = memory.data(8);
const FILL: u8 = 0x61;

/** Enough for the largest list that is passed: of pollables, 4 bytes each. */
const LIST = memory.data(65536, 8);
const LIST_BYTES: usize = 65536;

/** More memory, filled. Traps when there is none: what is told here is not about memory. */
function claim(bytes: usize): usize {
  const page = memory.grow(<i32>((bytes + WASM_PAGE_BYTES - 1) / WASM_PAGE_BYTES));
  if (page < 0) unreachable();
  const at = <usize>page * WASM_PAGE_BYTES;
  memory.fill(at, FILL, bytes);
  return at;
}

function append(fields: i32, value: usize, bytes: usize): void {
  wasi.fieldsAppend(fields, NAME, 4, value, bytes, RET);
}

/** Grows until the host refuses, and writes to every page. */
function memoryBomb(): string {
  let pages = 0;
  for (;;) {
    const page = memory.grow(1);
    if (page < 0) break;
    memory.fill(<usize>page * WASM_PAGE_BYTES, FILL, WASM_PAGE_BYTES);
    pages++;
  }
  return "refused after " + pages.toString() + " pages\n";
}

/** Asks on and on for what is refused. */
function growForever(): void {
  for (;;) memory.grow(1);
}

function headerBomb(): void {
  const fields = wasi.newFields();
  for (let i = 0; i < 1000000; i++) append(fields, NAME, 4);
}

/** Many fields, each as large as may be. */
function largeFields(): void {
  const value = claim(100 * KIB);
  for (;;) append(wasi.newFields(), value, 100 * KIB);
}

/** Fields of many lines, made again for the price of a call. */
function clones(): void {
  const fields = wasi.newFields();
  for (let i = 0; i < 1000; i++) append(fields, NAME, 4);
  for (;;) wasi.fieldsClone(fields);
}

/** A value too large for any field, again and again; `end` is its last byte: 0 is none that a field may have. */
function largeValues(end: u8): void {
  const value = claim(40 * MIB);
  store<u8>(value + 40 * MIB - 1, end);
  const fields = wasi.newFields();
  for (;;) append(fields, value, 40 * MIB);
}

/** A list of many values that are all the same megabyte. */
function overlappingValues(): void {
  const value = claim(MIB);
  const count = LIST_BYTES / 8;
  for (let i: usize = 0; i < count; i++) {
    store<usize>(LIST + i * 8, value);
    store<usize>(LIST + i * 8 + 4, MIB);
  }
  wasi.fieldsSet(wasi.newFields(), NAME, 4, LIST, count, RET);
}

/** A string longer than any call may pass. */
function hugeString(): void {
  const text = claim(40 * MIB);
  wasi.requestSetPath(wasi.newRequest(wasi.newFields()), 1, text, 40 * MIB);
}

/** Strings that the host keeps. */
function keptStrings(): void {
  const text = claim(1000 * KIB);
  store<u8>(text, 0x2f);
  for (;;) wasi.requestSetPath(wasi.newRequest(wasi.newFields()), 1, text, 1000 * KIB);
}

/** Bodies that are written and never sent. */
function unsentBodies(): void {
  const content = claim(64 * KIB);
  for (;;) {
    wasi.requestBody(wasi.newRequest(wasi.newFields()), RET);
    wasi.outgoingBodyWrite(load<i32>(RET, 4), RET);
    wasi.streamWrite(load<i32>(RET, 4), content, 64 * KIB, RET);
  }
}

function resources(): void {
  for (let i = 0; i < 1000000; i++) wasi.newFields();
}

function pollables(): void {
  for (let i = 0; i < 1000000; i++) wasi.subscribeDuration(3600 * 1000000000);
}

/** Waits for a long list of which only the last is ever ready. */
function pollStorm(): void {
  const count: i32 = 10000;
  for (let i = 0; i < count - 1; i++) store<i32>(LIST + <usize>i * 4, wasi.subscribeDuration(3600 * 1000000000));
  for (;;) {
    const soon = wasi.subscribeDuration(3000000);
    store<i32>(LIST + <usize>(count - 1) * 4, soon);
    wasi.poll(LIST, count, RET);
    wasi.dropPollable(soon);
  }
}

/** As many as one call gives, until its own memory is full of them. */
function randomForever(): void {
  for (;;) wasi.getRandomBytes(<u64>MIB, RET);
}

function print(line: usize, bytes: usize): void {
  const stdout = wasi.getStdout();
  for (;;) wasi.streamWrite(stdout, line, bytes, RET);
}

function printLineFeeds(): void {
  const lines = claim(64 * KIB);
  memory.fill(lines, 0x0a, 64 * KIB);
  print(lines, 64 * KIB);
}

/** A body without end, as fast as the client takes it. */
function endlessBody(sender: Sender): void {
  const content = claim(4 * KIB);
  for (;;) sender.write(content, 4 * KIB);
}

/** A body that is passed in one call, to a client that reads as it likes. */
function largeWrite(out: i32): void {
  const content = claim(40 * MIB);
  const response = wasi.newResponse(wasi.newFields());
  wasi.responseBody(response, RET);
  const body = load<i32>(RET, 4);
  wasi.outgoingBodyWrite(body, RET);
  const stream = load<i32>(RET, 4);
  wasi.outparamSet(out, 0, response, 0, 0, 0, 0, 0, 0);
  wasi.streamWrite(stream, content, 40 * MIB, RET);
  wasi.dropOutputStream(stream);
  wasi.outgoingBodyFinish(body, 0, 0, RET);
}

/** Sends requests to the port until one is refused: how many were taken, and the case of error-code. */
function endlessRequests(port: i64): string {
  const authority = String.UTF8.encode("127.0.0.1:" + port.toString());
  let sent = -1;
  do {
    sent++;
    const request = wasi.newRequest(wasi.newFields());
    wasi.requestSetScheme(request, 1, 0, 0, 0);
    wasi.requestSetAuthority(request, 1, changetype<usize>(authority), authority.byteLength);
    wasi.send(request, 0, 0, RET);
  } while (load<u8>(RET) == 0);
  return sent.toString() + " sent, then error " + load<u8>(RET, 8).toString() + "\n";
}

/** The paths that never answer. Returns whether `route` was one of them. */
function attack(route: string): bool {
  if (route == "/grow-forever") growForever();
  else if (route == "/header-bomb") headerBomb();
  else if (route == "/large-fields") largeFields();
  else if (route == "/clones") clones();
  else if (route == "/large-values") largeValues(FILL);
  else if (route == "/invalid-values") largeValues(0);
  else if (route == "/overlapping-values") overlappingValues();
  else if (route == "/huge-string") hugeString();
  else if (route == "/kept-strings") keptStrings();
  else if (route == "/unsent-bodies") unsentBodies();
  else if (route == "/resources") resources();
  else if (route == "/pollables") pollables();
  else if (route == "/poll-storm") pollStorm();
  else if (route == "/random") wasi.getRandomBytes(0x80000000, RET);
  else if (route == "/random-forever") randomForever();
  else if (route == "/print") print(NAME, 8);
  else if (route == "/print-line-feeds") printLineFeeds();
  else return false;
  return true;
}

export function handle(request: i32, out: i32): void {
  const path = pathOf(request);
  const query = path.indexOf("?");
  const route = query < 0 ? path : path.substring(0, query);
  memory.fill(NAME, FILL, 8);
  if (attack(route)) return;
  if (route == "/large-write") return largeWrite(out);
  if (route == "/endless-body") return endlessBody(respond(out, 200));
  let text = "no such way\n";
  if (route == "/memory-bomb") text = memoryBomb();
  if (route == "/endless-requests") text = endlessRequests(queryNumber(path, "port", 0));
  const sender = respond(out, 200);
  sender.text(text);
  sender.finish();
}
