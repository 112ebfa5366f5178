/**
 * A guest that is not JavaScript: a core module for `thaw build --wit`. Its initialisation finds the first 20,000 primes.
 * Routes beside /lookup/<n> do to the instance what a restore must undo, or what a host must survive.
 */
import * as wasi from "./wasi";
import { fieldsWith, pathOf, pipeBody, queryNumber, respond } from "./http";

export { cabi_realloc } from "./http";

const ENTRIES = 20000;
const TABLE = memory.data(80000);
const ENTRY_BYTES = 4;

/** 0 until the table is built. */
let entries: i32 = 0;

/** A counter in a global of the module, and one in its memory: both must start anew with each request. */
let counter: i32 = 0;
const MEMORY_COUNTER = memory.data(4);

/** Kept by /spin, so that its loop is not optimised away. */
let spins: u64 = 0;

function entryAt(index: i32): u32 {
  return load<u32>(TABLE + <usize>(index * ENTRY_BYTES));
}

function isPrime(candidate: u32): bool {
  for (let i = 0; i < entries; i++) {
    const prime = entryAt(i);
    if (prime * prime > candidate) return true;
    if (candidate % prime == 0) return false;
  }
  return true;
}

/** Wizer runs this. Without Wizer the first lookup does. */
export function initialize(): void {
  for (let candidate: u32 = 2; entries < ENTRIES; candidate++) {
    if (!isPrime(candidate)) continue;
    store<u32>(TABLE + <usize>(entries * ENTRY_BYTES), candidate);
    entries++;
  }
}

function lookup(path: string): string {
  if (entries == 0) initialize();
  const n = I32.parseInt(path.substring("/lookup/".length));
  return n >= 1 && n <= ENTRIES ? entryAt(n - 1).toString() + "\n" : "no such entry\n";
}

function count(): string {
  counter++;
  store<i32>(MEMORY_COUNTER, load<i32>(MEMORY_COUNTER) + 1);
  return counter.toString() + " " + load<i32>(MEMORY_COUNTER).toString() + "\n";
}

/** memory.size before, what memory.grow returned, memory.size after; in pages. */
function grow(path: string): string {
  const before = memory.size();
  const result = memory.grow(<i32>queryNumber(path, "pages", 1));
  return before.toString() + " " + result.toString() + " " + memory.size().toString() + "\n";
}

function scribble(path: string): string {
  const at = <usize>queryNumber(path, "at", MEMORY_COUNTER);
  const n = <usize>queryNumber(path, "n", 4);
  memory.fill(at, <u8>queryNumber(path, "value", 255), n);
  return "wrote " + n.toString() + " bytes at " + at.toString() + "\n";
}

function peek(path: string): string {
  const at = <usize>queryNumber(path, "at", MEMORY_COUNTER);
  const n = <usize>queryNumber(path, "n", 4);
  let hex = "";
  for (let i: usize = 0; i < n; i++) {
    const byte = load<u8>(at + i);
    hex += (byte >> 4).toString(16) + (byte & 15).toString(16);
  }
  return hex + "\n";
}

/** Leaves a resource of each kind behind. */
function leak(): string {
  wasi.newFields();
  wasi.newResponse(wasi.newFields());
  wasi.subscribeDuration(3600 * 1000000000);
  return "leaked\n";
}

/** Waits, and is busy after that. */
function wait(path: string): string {
  const pollable = wasi.subscribeDuration(<u64>queryNumber(path, "ms", 10) * 1000000);
  wasi.pollableBlock(pollable);
  wasi.dropPollable(pollable);
  const busyUntil = wasi.now() + <u64>queryNumber(path, "busy", 0) * 1000000;
  while (wasi.now() < busyUntil) {}
  return "waited\n";
}

function spin(): void {
  while (true) spins++;
}

/** Never ends, and hardly ever leaves the host. */
function askForever(): void {
  while (true) wasi.getRandomU64();
}

function descend(depth: u32): u32 {
  return depth == 0xffffffff ? 0 : descend(depth + 1) + depth;
}

function answer(path: string, route: string): string | null {
  if (route == "/hello") return "hello from AssemblyScript\n";
  if (route == "/counter") return count();
  if (route.startsWith("/lookup/")) return lookup(route);
  if (route == "/grow") return grow(path);
  if (route == "/scribble") return scribble(path);
  if (route == "/peek") return peek(path);
  if (route == "/leak") return leak();
  if (route == "/wait") return wait(path);
  if (route == "/random") return wasi.getRandomU64().toString(16) + "\n";
  return null;
}

/** The routes that do something else than answer with a text. Returns whether `route` was one of them. */
function act(request: i32, out: i32, path: string, route: string): bool {
  if (route == "/echo") {
    const sender = respond(out, 200);
    pipeBody(request, sender);
    sender.finish();
  } else if (route == "/trailers") {
    const sender = respond(out, 200);
    sender.text("trailers follow\n");
    sender.finish(fieldsWith("x-checksum", "42"));
  } else if (route == "/status") {
    respond(out, <i32>queryNumber(path, "code", 200)).finish();
  } else if (route == "/trap") {
    unreachable();
  } else if (route == "/exit") {
    wasi.exit(0);
  } else if (route == "/spin") {
    spin();
  } else if (route == "/ask-forever") {
    askForever();
  } else if (route == "/recurse") {
    if (descend(0) == 1) unreachable();
  } else {
    return route == "/no-response";
  }
  return true;
}

export function handle(request: i32, out: i32): void {
  const path = pathOf(request);
  const query = path.indexOf("?");
  const route = query < 0 ? path : path.substring(0, query);
  if (!act(request, out, path, route)) {
    const text = answer(path, route);
    const sender = respond(out, text === null ? 404 : 200);
    sender.text(text === null ? "no such route\n" : text);
    sender.finish();
  }
  wasi.dropRequest(request);
}
