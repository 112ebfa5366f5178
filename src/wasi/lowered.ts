import { invariant } from '../errors.ts';
import type { CoreFuncType } from '../wasm/plan.ts';
import type { Abi, CoreValue } from './abi.ts';
import { liftAll, lower } from './flat-values.ts';
import type { Guest } from './guest.ts';
import { layoutOf, loweredShape, type LoweredShape } from './layout.ts';
import { Source } from './source.ts';
import { loadAll, store } from './stored-values.ts';
import type { WitFunc, WitType } from './wit.ts';

/** The implementation of one WIT function: the guest first, then the lifted parameters. */
// oxlint-disable-next-line typescript/no-explicit-any -- the WIT text, not TypeScript, types the parameters
export type HostFunction = (guest: Guest, ...args: any[]) => unknown;

type CoreFunction = (...flat: CoreValue[]) => CoreValue | undefined;

/**
 * A function that may have to wait. `attempt` returns 1 when it could do without; else 0, and `wait` and `finish` must
 * follow. Only what is between them happens while the guest is suspended, and `wait` never rejects: `finish`, which has
 * the parameters of `attempt`, is what throws, on the guest's own stack, and what calls its realloc. So a guest is metered
 * from the moment at which it goes on, whatever it goes on with. None of them returns a core value: results go through
 * memory.
 */
export type WaitingFunction = {
  readonly attempt: (...flat: CoreValue[]) => 0 | 1;
  readonly wait: () => Promise<void>;
  readonly finish: (...flat: CoreValue[]) => void;
};

type Bind<Bound> = (guest: Guest, abi: Abi) => Bound;

/** A host function, ready to be compiled: bind it once per instance and canon options. */
export type CompiledFunction = { readonly declared: WitFunc; readonly core: CoreFuncType } & (
  | { readonly kind: 'immediate'; readonly bind: Bind<CoreFunction> }
  | { readonly kind: 'waiting'; readonly bind: Bind<WaitingFunction> }
);

/** Derives the core function of `canon lower` from a WIT signature. Source: CanonicalABI.md, `canon_lower`. */
export function compile(func: WitFunc, implementation: HostFunction, suspends: boolean): CompiledFunction {
  const shape = loweredShape(func);
  const common = { declared: func, core: shape.core };
  if (!suspends) {
    const bind = once(() => compileImmediate(func, implementation, shape));
    return { ...common, kind: 'immediate', bind: (guest, abi) => bind()(guest, abi) };
  }
  invariant(shape.core.results.length === 0, `${func.name}, which may wait, returns its result through memory`);
  const bind = once(() => compileWaiting(func, implementation, shape));
  return { ...common, kind: 'waiting', bind: (guest, abi) => bind()(guest, abi) };
}

/** Of some 200 functions most guests use 30. */
function once<Made>(make: () => Made): () => Made {
  let made: Made | null = null;
  return () => (made ??= make());
}

/** The names of a function's core parameters in its code. */
const flatNames = ({ core }: LoweredShape): string[] => core.params.map((_, index) => `p${index}`);

function compileImmediate(func: WitFunc, implementation: HostFunction, shape: LoweredShape): Bind<CoreFunction> {
  const source = new Source(func.name);
  const flat = flatNames(shape);
  source.add(`return (${flat.join()}) => {`, 'guest.checkAborted();');
  if (shape.core.params.length === 0 && isNumber(func.result)) {
    // A clock, which is what engines call most, and within their allocators, too: nothing is lifted or lowered.
    source.add(`return ${source.constant(implementation)}(guest);`);
  } else {
    const value = called(source, func, implementation, shape);
    source.add(`if (${value} instanceof Promise) ${source.constant(mustNotWait)}(${JSON.stringify(func.name)});`);
    lowerResult(source, func.result, shape, value);
  }
  source.add('};');
  return source.compile('guest, abi') as Bind<CoreFunction>;
}

/** Whether values of the type are passed as they are. */
const isNumber = (type: WitType | null): boolean => type?.kind === 'u64' || type?.kind === 'u32';

function mustNotWait(name: string): never {
  invariant(false, `${name} is declared not to wait`);
}

/** Adds the code that lifts the parameters and calls the implementation. @returns the name of what that returns */
function called(source: Source, func: WitFunc, implementation: HostFunction, shape: LoweredShape): string {
  source.add('abi.beginCall();');
  const types = func.params.map(([, type]) => type);
  const flat = flatNames(shape);
  const params = shape.paramsInMemory ? loadParams(source, types) : liftAll(source, types, flat);
  return source.evaluated(`${source.constant(implementation)}(${['guest', ...params].join()})`);
}

/** More than sixteen core parameters are passed as the address of a tuple. */
function loadParams(source: Source, types: readonly WitType[]): string[] {
  const { size, align } = layoutOf({ kind: 'tuple', items: types });
  const at = source.evaluated(`abi.check(p0, ${size}, ${align})`);
  const view = source.evaluated('abi.view');
  return loadAll(source, types, { view, at, offset: 0 });
}

/** Adds the code that lowers what the implementation has returned. */
function lowerResult(source: Source, type: WitType | null, { core, retptr }: LoweredShape, value: string): void {
  if (type === null) return;
  if (!retptr) {
    source.add(`return ${lower(source, type, value)};`);
    return;
  }
  const { size, align } = layoutOf(type);
  // Before anything is asked of the guest's realloc.
  const at = source.evaluated(`abi.check(p${core.params.length - 1}, ${size}, ${align})`);
  const view = source.variable();
  source.add(`${view} = abi.view;`);
  store(source, type, { view, at, offset: 0 }, value);
}

/** What a wait has come to. */
type Outcome =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'error'; readonly error: unknown };

/** The parts of a waiting function that are text: `begin` is given the promise, `end` returns what became of it. */
type BindAttempt = (guest: Guest, abi: Abi, begin: (work: Promise<unknown>) => void) => WaitingFunction['attempt'];
type BindFinish = (guest: Guest, abi: Abi, end: () => unknown) => WaitingFunction['finish'];

function compileWaiting(func: WitFunc, implementation: HostFunction, shape: LoweredShape): Bind<WaitingFunction> {
  const bindAttempt = compileAttempt(func, implementation, shape);
  const bindFinish = compileFinish(func, shape);
  return (guest, abi) => {
    // A guest has one stack, so between `attempt` and `finish` there is no other call of this instance.
    let begun: Promise<unknown> | null = null;
    let outcome: Outcome | null = null;
    const begin = (work: Promise<unknown>): void => {
      invariant(guest.hasWaited, 'a host function that waits commits its guest first');
      begun = work;
    };
    const end = (): unknown => {
      guest.clock.resume();
      const ended = outcome;
      outcome = null;
      invariant(ended !== null, 'a finish follows a wait');
      if (ended.kind === 'error') throw ended.error;
      return ended.value;
    };
    const wait = async (): Promise<void> => {
      guest.clock.pause();
      const work = begun;
      begun = null;
      invariant(work !== null, 'a wait follows an attempt');
      try {
        outcome = { kind: 'value', value: await work };
      } catch (error) {
        outcome = { kind: 'error', error };
      }
    };
    return { attempt: bindAttempt(guest, abi, begin), wait, finish: bindFinish(guest, abi, end) };
  };
}

function compileAttempt(func: WitFunc, implementation: HostFunction, shape: LoweredShape): BindAttempt {
  const source = new Source(func.name);
  source.add(`return (${flatNames(shape).join()}) => {`, 'guest.checkAborted();');
  const value = called(source, func, implementation, shape);
  source.add(`if (${value} instanceof Promise) { begin(${value}); return 0; }`);
  lowerResult(source, func.result, shape, value);
  source.add('return 1;', '};');
  return source.compile('guest, abi, begin') as BindAttempt;
}

function compileFinish(func: WitFunc, shape: LoweredShape): BindFinish {
  const source = new Source(func.name);
  source.add(`return (${flatNames(shape).join()}) => {`);
  const value = source.evaluated('end()');
  lowerResult(source, func.result, shape, value);
  source.add('};');
  return source.compile('guest, abi, end') as BindFinish;
}
