/**
 * A guest that does as it is told, to see what is left of it for the next request. The path is a program: steps separated
 * by slashes, each a word and its numbers separated by dots, such as /grow.3/fill.4096.100.170/trap. A program that comes
 * to its end answers with all of the guest's state: see `state`.
 */
import * as wasi from "./wasi";
import { Sender, bodyOf, fieldsWith, pathOf, readChunk, respond, streamOf } from "./http";

export { cabi_realloc } from "./http";

/** Tests change the digit within the component: three apps of one code. */
const VARIANT = "scribe variant 0";
const DIGIT_AT = 15;
const DIGIT_0 = 48;

/** No two words are the same, so that what is missing after a restore shows. No byte is over 15: see the tests. */
const FIELD = memory.data(1048576);
const FIELD_BYTES: usize = 1048576;
const PAGE_BYTES: usize = 4096;
/** Every so many pages of the field are the variant's own. */
const VARIANT_PAGES: usize = 29;

/** Handles as the host gave them out, in the order in which they came. */
const HANDLES = memory.data(256);
const MAX_HANDLES = 64;
let handles: i32 = 0;

/** One global of each type. All of them start as the variant has them. */
let marked: u64 = 0;
let steps: i32 = 0;
let share: f64 = 0;
let part: f32 = 0;

function variant(): i32 {
  return VARIANT.charCodeAt(DIGIT_AT) - DIGIT_0;
}

/** The start function: what an app's own initialisation would be. */
function initialize(): void {
  const own = variant();
  for (let at: usize = 0; at < FIELD_BYTES; at += 8) store<u64>(FIELD + at, (<u64>(at + 1) * 0x9e3779b97f4a7c15) & 0x0f0f0f0f0f0f0f0f);
  for (let page = <usize>own; page * PAGE_BYTES < FIELD_BYTES; page += VARIANT_PAGES) {
    memory.fill(FIELD + page * PAGE_BYTES, <u8>(own + 1), PAGE_BYTES);
  }
  memory.grow(own * 2);
  marked = <u64>own << 40;
  steps = own * 1000;
  share = 1.0 / <f64>(own + 3);
  part = <f32>own / 7;
}
initialize();

function keep(handle: i32): i32 {
  if (handles < MAX_HANDLES) store<i32>(HANDLES + <usize>handles * 4, handle);
  handles++;
  return handle;
}

/** FNV-1a over the memory by words, and the globals: one wrong bit makes another answer. */
function state(): string {
  const globals = marked ^ (<u64>steps << 7) ^ reinterpret<u64>(share) ^ reinterpret<u32>(part);
  let hash: u64 = 0xcbf29ce484222325 ^ globals;
  const end = <usize>memory.size() << 16;
  for (let at: usize = 0; at < end; at += 8) hash = (hash ^ load<u64>(at)) * 0x100000001b3;
  return "variant " + variant().toString() + ", " + memory.size().toString() + " pages, " + hash.toString(16) + "\n";
}

/** Where memory begins that the request has grown. */
let grownFrom: usize = 0;

/** What the request has opened. */
class Run {
  sender: Sender | null = null;
  body: i32 = 0;
  input: i32 = 0;

  constructor(
    private request: i32,
    private out: i32,
  ) {}

  /** The head is sent when the first of the body is wanted. */
  answer(): Sender {
    let sender = this.sender;
    if (sender === null) {
      sender = respond(this.out, 200);
      this.sender = sender;
    }
    return sender;
  }

  stream(): i32 {
    if (this.input == 0) {
      this.body = keep(bodyOf(this.request));
      this.input = keep(streamOf(this.body));
    }
    return this.input;
  }

  /** One of each kind of resource that is there without a server. */
  open(): void {
    keep(wasi.newFields());
    keep(wasi.newResponse(fieldsWith("x-left", "open")));
    keep(wasi.newRequest(fieldsWith("x-left", "open")));
    keep(wasi.subscribeDuration(3600 * 1000000000));
    keep(wasi.getStdout());
    this.stream();
  }

  /** Leaves a number wherever a guest can leave something. */
  mark(number: u64): void {
    marked = number;
    store<u64>(FIELD + FIELD_BYTES / 2, number);
    store<u64>((<usize>memory.size() << 16) - 8, number);
    if (this.sender !== null) {
      const copy = heap.alloc(8);
      store<u64>(copy, number);
      this.answer().write(copy, 8);
    }
  }
}

function sleep(ms: u64): void {
  const pollable = keep(wasi.subscribeDuration(ms * 1000000));
  wasi.pollableBlock(pollable);
  wasi.dropPollable(pollable);
}

function descend(depth: u32): u32 {
  return depth == 0xffffffff ? 0 : descend(depth + 1) + depth;
}

/** The steps that do something to the memory or to globals. Returns whether `word` was one of them. */
function change(word: string, a: u64, b: u64, c: u64): bool {
  if (word == "grow") {
    memory.grow(<i32>a);
  } else if (word == "grow-all") {
    while (memory.grow(1) >= 0) continue;
  } else if (word == "fill") {
    memory.fill(FIELD + <usize>a, <u8>c, <usize>b);
  } else if (word == "fill-top") {
    const top = <usize>memory.size() << 16;
    const bytes = min(<usize>a, top - grownFrom);
    memory.fill(top - bytes, <u8>b, bytes);
  } else if (word == "count") {
    steps += <i32>a;
    share *= 1.5;
    part += 0.25;
  } else {
    return false;
  }
  return true;
}

/** The steps after which none comes. */
function end(word: string): void {
  if (word == "trap") unreachable();
  if (word == "exit") wasi.exit(0);
  if (word == "spin") while (true) steps++;
  if (word == "recurse" && descend(0) == 1) steps++;
  // What the host throws: more than it gives, a handle that is none.
  if (word == "greed") wasi.fieldsAppend(wasi.newFields(), changetype<usize>(VARIANT), 1, FIELD, FIELD_BYTES, HANDLES);
  if (word == "forge") wasi.dropFields(0x7fffffff);
}

/** Radix 16 for numbers that must not be found in the memory as text. */
function numberOf(fields: string[], index: i32, radix: i32 = 10): u64 {
  return index < fields.length ? <u64>U64.parseInt(fields[index], radix) : 0;
}

function step(run: Run, text: string): void {
  const fields = text.split(".");
  const word = fields[0];
  const first = numberOf(fields, 1);
  if (change(word, first, numberOf(fields, 2), numberOf(fields, 3))) return;
  if (word == "mark") {
    run.mark(numberOf(fields, 1, 16));
  } else if (word == "open") {
    run.open();
  } else if (word == "respond") {
    run.answer();
  } else if (word == "stream") {
    for (let i: u64 = 0; i < first; i++) run.answer().write(FIELD, PAGE_BYTES);
  } else if (word == "read") {
    readChunk(run.stream());
  } else if (word == "sleep") {
    sleep(first);
  } else {
    end(word);
  }
}

export function handle(request: i32, out: i32): void {
  grownFrom = <usize>memory.size() << 16;
  const run = new Run(request, out);
  const program = pathOf(request).split("/");
  for (let i = 1; i < program.length; i++) step(run, program[i]);
  const text = state();
  const sender = run.answer();
  sender.text(text);
  sender.finish();
}
