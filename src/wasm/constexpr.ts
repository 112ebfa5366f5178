import { InstructionCursor } from './code.ts';
import { OP, prefixed } from './opcodes.ts';
import { malformed, type Reader } from './reader.ts';

const ALLOCATING: ReadonlySet<number> = new Set([
  OP.structNew,
  OP.structNewDefault,
  OP.arrayNew,
  OP.arrayNewDefault,
  OP.arrayNewFixed,
]);

/** ref.null, ref.func; any.convert_extern, extern.convert_any, ref.i31 */
const CONSTANT_REFERENCES = [0xd0, 0xd2, prefixed(0xfb, 26), prefixed(0xfb, 27), prefixed(0xfb, 28)];

/** The constants of i32, i64, f32, f64, v128; add, sub, mul of i32 and of i64. */
const CONSTANT_NUMBERS = [0x41, 0x42, 0x43, 0x44, prefixed(0xfd, 12), 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e];

/** The instructions that a constant expression may have, `end` and those of ALLOCATING apart. */
const CONSTANT: ReadonlySet<number> = new Set([OP.globalGet, ...CONSTANT_NUMBERS, ...CONSTANT_REFERENCES]);

/**
 * Reads a constant expression to its `end`. `allocates`: it makes a struct or an array.
 *
 * Source: WebAssembly 3.0 core specification, section 3.4 (constant expressions).
 */
export function readConstExpr(reader: Reader): 'pure' | 'allocates' {
  const cursor = new InstructionCursor(reader);
  let allocates = false;
  for (cursor.next(); cursor.op !== OP.end; cursor.next()) {
    if (ALLOCATING.has(cursor.op)) allocates = true;
    else if (!CONSTANT.has(cursor.op)) throw malformed('instruction that is not constant', cursor.at);
  }
  return allocates ? 'allocates' : 'pure';
}
