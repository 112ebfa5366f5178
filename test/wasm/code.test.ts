import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from '@bytecodealliance/jco';
import { messageOf, ThawError } from '../../src/errors.ts';
import { InstructionCursor, walkBody } from '../../src/wasm/code.ts';
import { parseModule, readerOf } from '../../src/wasm/module.ts';
import { Reader } from '../../src/wasm/reader.ts';
import { Writer } from '../../src/wasm/writer.ts';
import { FAMILIES } from './fixtures/families.ts';

const malformed = (error: unknown) => error instanceof ThawError && error.code === 'WASM_MALFORMED';
const unsupported = (error: unknown) => error instanceof ThawError && error.code === 'WASM_UNSUPPORTED';

/** WASM_UNSUPPORTED, with a message that says this. */
const says = (text: string) => (error: unknown) => unsupported(error) && messageOf(error).includes(text);

const walk = (...bytes: number[]): number[] => {
  const ops: number[] = [];
  walkBody(new Reader(Uint8Array.from(bytes)), ({ op }) => ops.push(op));
  return ops;
};

describe('walkBody', () => {
  for (const { name, wat, ops } of FAMILIES) {
    test(`walks ${name}, instruction by instruction, to the last byte`, async () => {
      const module = parseModule(await parse(wat));
      const seen = module.bodies.flatMap((body) => {
        const found: number[] = [];
        let expected = -1;
        walkBody(readerOf(module, body), ({ op, at, end }) => {
          assert.ok(expected === -1 || at === expected, 'each instruction starts where the one before it ended');
          expected = end;
          found.push(op);
        });
        assert.equal(expected, body.end);
        return found;
      });
      assert.deepEqual(
        seen.map((op) => op.toString(16)),
        ops.trim().split(/\s+/),
      );
    });
  }

  test('reports the first index among the immediates', () => {
    const body = [0, 0x10, 0x85, 0x01, 0x3f, 0x02, 0xfc, 0x08, 0x07, 0x01, 0x28, 0x42, 0x03, 0x00, 0x0b];
    const indexes: number[] = [];
    walkBody(new Reader(Uint8Array.from(body)), ({ index }) => indexes.push(index));
    assert.deepEqual(indexes, [133, 2, 7, 3, 0]);
  });

  test('refuses a body that goes on after its end, or stops before it', () => {
    assert.throws(() => walk(0, 0x0b, 0x01), malformed);
    assert.throws(() => walk(0, 0x02, 0x40, 0x0b), malformed);
    assert.throws(() => walk(), malformed);
    assert.deepEqual(walk(0, 0x02, 0x40, 0x0b, 0x0b), [0x02, 0x0b, 0x0b]);
  });

  test('refuses delegate as the end of a function', () => {
    assert.throws(() => walk(0, 0x18, 0x00), malformed);
    assert.deepEqual(walk(0, 0x06, 0x40, 0x18, 0x00, 0x0b), [0x06, 0x18, 0x0b]);
  });

  test('refuses damaged immediates', () => {
    assert.throws(() => walk(0, 0x28, 0x80, 0x01, 0x00, 0x0b), malformed, 'memory argument flags');
    assert.throws(() => walk(0, 0x1f, 0x40, 0x01, 0x04, 0x00, 0x0b, 0x0b), malformed, 'catch clause');
    assert.throws(() => walk(0, 0xfb, 0x18, 0x04, 0x00, 0x6e, 0x6e, 0x0b), malformed, 'cast flags');
    assert.throws(() => walk(0, 0x02, 0xff, 0x7f, 0x0b, 0x0b), malformed, 'negative block type');
    assert.throws(() => walk(0, 0x0e, 0xff, 0xff, 0x03, 0x00, 0x0b), malformed, 'label count');
    assert.throws(() => walk(0xff, 0x7f, 0x0b), malformed, 'local group count');
  });

  test('names an unknown instruction and where it is', () => {
    assert.throws(() => walk(0, 0x01, 0x27, 0x0b), says('instruction 0x27 at byte offset 0x2'));
    assert.throws(() => walk(0, 0xfd, 0x9a, 0x01, 0x0b), says('instruction 0xfd 0x9a at byte offset 0x1'));
    assert.throws(() => walk(0, 0xfc, 0xff, 0xff, 0x03, 0x0b), says('instruction 0xfc 0xffff at byte offset 0x1'));
  });
});

/**
 * A module whose one function has this body. Types: 0 function, 1 struct, 2 array, 3 struct of i8, 4 array of i8,
 * 5 array of funcref; one function, table, memory, tag, mutable global, passive element segment and passive data segment.
 */
function moduleWithBody(body: readonly number[]): Uint8Array<ArrayBuffer> {
  const section = (id: number, bytes: number[]): void => void out.section(id, Uint8Array.from(bytes));
  const out = new Writer().bytes([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const structsAndArrays = [0x5f, 1, 0x7f, 1, 0x5e, 0x7f, 1, 0x5f, 1, 0x78, 1, 0x5e, 0x78, 1, 0x5e, 0x70, 1];
  section(1, [6, 0x60, 0, 0, ...structsAndArrays]);
  section(3, [1, 0]);
  section(4, [1, 0x70, 0, 1]);
  section(5, [1, 0, 1]);
  section(13, [1, 0, 0]);
  section(6, [1, 0x7f, 1, 0x41, 0, 0x0b]);
  section(9, [1, 1, 0, 1, 0]);
  section(12, [1]);
  section(10, [1, ...new Writer().u32(body.length).finish(), ...body]);
  section(11, [1, 1, 0]);
  return out.finish().slice();
}

type Complaint = { readonly what: string; readonly at: number };

/** What V8 says about `code` and, if it likes that, about the unknown instruction 0x27 after it. `at`: within `code`. */
function v8Complaint(code: readonly number[]): Complaint {
  // Bodies begin with one group of one i32 local, and unreachable, after which all operands are there.
  const prologue = [1, 1, 0x7f, 0x00];
  const body = [...prologue, ...code, 0x27];
  const bytes = moduleWithBody(body);
  const codeAt = bytes.length - 5 - body.length + prologue.length;
  try {
    assert.ok(!new WebAssembly.Module(bytes));
  } catch (error) {
    const match = /failed: (.*) @\+(\d+)$/.exec(String(error));
    if (match) return { what: match[1] ?? '', at: Number(match[2]) - codeAt };
  }
  return assert.fail(`V8 does not refuse instruction 0x27 after ${code.join(' ')}`);
}

type Context = { readonly before?: readonly number[]; readonly immediates?: readonly number[] };

/** What instructions need before them, or as immediates, for V8 to like them. All others are good with zeros. */
const CONTEXTS: readonly (readonly [opcodes: string, context: Context])[] = [
  ['5', { before: [0x04, 0x40] }],
  ['7, 18, 19', { before: [0x06, 0x40] }],
  ['9', { before: [0x06, 0x40, 0x19] }],
  ['b', { before: [0x02, 0x40] }],
  ['1c', { immediates: [1, 0x7f] }],
  ['fb 0, fb 1', { immediates: [1] }],
  ['fb 2, fb 5', { immediates: [1, 0] }],
  ['fb 3, fb 4', { immediates: [3, 0] }],
  ['fb 6, fb 7, fb b, fb e, fb 10', { immediates: [2] }],
  ['fb 8, fb 9, fb 12', { immediates: [2, 0] }],
  ['fb c, fb d', { immediates: [4] }],
  ['fb a, fb 13', { immediates: [5, 0] }],
  ['fb 11', { immediates: [2, 2] }],
  ['fb 18, fb 19', { before: [0x02, 0x6e, 0x00], immediates: [3, 0, 0x6e, 0x6e] }],
];

const CONTEXT_OF: ReadonlyMap<string, Context> = new Map(
  CONTEXTS.flatMap(([opcodes, context]) => opcodes.split(', ').map((opcode) => [opcode, context])),
);

/**
 * Instructions on which thaw and V8 differ on purpose. Wide arithmetic (fc) is finished, but not in this V8. Of custom
 * descriptors (fb) V8 reads the immediates before it says that they are behind a flag.
 */
const DIFFERENT: ReadonlySet<string> = new Set(['fc 13', 'fc 14', 'fc 15', 'fc 16', 'fb 20', 'fb 21']);

function lengthOf(code: readonly number[]): number | null {
  const cursor = new InstructionCursor(new Reader(Uint8Array.from(code)));
  try {
    cursor.next();
    return cursor.end;
  } catch (error) {
    if (unsupported(error)) return null;
    throw error;
  }
}

/** Atomics want the alignment of their width, which V8's complaint names. */
function withAlignment(opcode: readonly number[], immediates: readonly number[], complaint: Complaint): number[] {
  const wanted = /expected alignment is (\d)/.exec(complaint.what)?.[1];
  return [...opcode, ...(wanted === undefined ? immediates : [Number(wanted), ...immediates.slice(1)])];
}

function assertSameAsV8(opcode: readonly number[]): void {
  const label = [opcode[0] ?? 0, ...(opcode.length > 1 ? [new Reader(Uint8Array.from(opcode), 1).u32()] : [])]
    .map((part) => part.toString(16))
    .join(' ');
  if (DIFFERENT.has(label)) return;
  const { before = [], immediates = Array<number>(20).fill(0) } = CONTEXT_OF.get(label) ?? {};
  const length = lengthOf([...opcode, ...immediates]);
  if (length === null) {
    assert.match(v8Complaint([...before, ...opcode]).what, /invalid .*opcode/i, `V8 knows ${label}`);
    assert.equal(v8Complaint([...before, ...opcode]).at, before.length, `V8 knows ${label}`);
    return;
  }
  const code = [...opcode, ...immediates].slice(0, length);
  const complaint = v8Complaint([...before, ...code]);
  const { what, at } = v8Complaint([...before, ...withAlignment(opcode, code.slice(opcode.length), complaint)]);
  assert.deepEqual([what, at], ['Invalid opcode 0x27', before.length + length], `instruction ${label}`);
}

describe('the instruction set', () => {
  const prefixes = [0xfb, 0xfc, 0xfd, 0xfe];

  test('of one byte is what V8 knows, and ends where V8 says', () => {
    for (let op = 0; op < 0x100; op++) if (!prefixes.includes(op)) assertSameAsV8([op]);
  });

  for (const prefix of prefixes) {
    test(`after 0x${prefix.toString(16)} is what V8 knows, and ends where V8 says`, () => {
      for (let sub = 0; sub < 0x180; sub++) assertSameAsV8([prefix, ...new Writer().u32(sub).finish()]);
    });
  }
});
