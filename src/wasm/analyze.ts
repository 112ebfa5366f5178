import { CheckFinder } from './checks.ts';
import { walkBody } from './code.ts';
import { type CoreModule, readerOf } from './module.ts';
import { OP } from './opcodes.ts';

type Place = { readonly body: number; readonly start: number; readonly end: number };

/**
 * A place in the code where the rewriter works: a `memory.size` or `memory.grow`, with the range of its bytes, or an empty
 * range where a check is wanted whether the guest is to stop. `body` indexes `CoreModule.bodies`.
 */
export type MemorySite = Place & { readonly op: 'size' | 'grow'; readonly memory: number };
type CheckSite = Place & { readonly op: 'check' };
export type Site = MemorySite | CheckSite;

/** How often the code has an instruction, and the index of the first function that has it. */
export type InstructionUse = { readonly count: number; readonly firstFunction: number };

const WATCHED = [
  [OP.tableSet, 'table.set'],
  [OP.tableGrow, 'table.grow'],
  [OP.tableFill, 'table.fill'],
  [OP.tableCopy, 'table.copy'],
  [OP.tableInit, 'table.init'],
  [OP.elemDrop, 'elem.drop'],
  [OP.dataDrop, 'data.drop'],
  [OP.memoryInit, 'memory.init'],
  [OP.arrayNewData, 'array.new_data'],
  [OP.arrayInitData, 'array.init_data'],
  [OP.structSet, 'struct.set'],
  [OP.arraySet, 'array.set'],
  [OP.arrayFill, 'array.fill'],
  [OP.arrayCopy, 'array.copy'],
  [OP.arrayInitElem, 'array.init_elem'],
] as const;

export type WatchedInstruction = (typeof WATCHED)[number][1];

export type CodeFacts = {
  /** In file order. */
  readonly sites: readonly Site[];
  readonly uses: ReadonlyMap<WatchedInstruction, InstructionUse>;
};

const WATCHED_OPS: ReadonlyMap<number, WatchedInstruction> = new Map(WATCHED);
const known = new WeakMap<CoreModule, CodeFacts>();

/**
 * What the rewriter and the check for restorability want to know of the code. All of it is walked once per module: an
 * engine has 9 MB, and freezing asks three times.
 *
 * Throws WASM_MALFORMED or WASM_UNSUPPORTED as `walkBody` does.
 */
export function codeFacts(module: CoreModule): CodeFacts {
  const facts = known.get(module) ?? analyze(module);
  known.set(module, facts);
  return facts;
}

function analyze(module: CoreModule): CodeFacts {
  const sites: Site[] = [];
  const uses = new Map<WatchedInstruction, InstructionUse>();
  module.bodies.forEach((range, body) => {
    const checks = new CheckFinder(range.end - range.start);
    walkBody(readerOf(module, range), (instruction) => {
      const { op, at, end, index } = instruction;
      const side = checks.visit(instruction);
      if (side !== null) sites.push(checkAt(body, side === 'before' ? at : end));
      if (op === OP.memorySize || op === OP.memoryGrow) {
        sites.push({ op: op === OP.memorySize ? 'size' : 'grow', memory: index, body, start: at, end });
        return;
      }
      // All others that are watched have a prefix: most instructions are done with here.
      if (op < 0x100 && op !== OP.tableSet) return;
      const name = WATCHED_OPS.get(op);
      if (name === undefined) return;
      const { count, firstFunction } = uses.get(name) ?? { count: 0, firstFunction: module.imported.func + body };
      uses.set(name, { count: count + 1, firstFunction });
    });
  });
  return { sites, uses };
}

const checkAt = (body: number, at: number): CheckSite => ({ op: 'check', body, start: at, end: at });
