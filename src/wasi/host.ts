import { distance } from 'fastest-levenshtein';
import { ThawError, invariant } from '../errors.ts';
import type { CoreFuncType, InterfaceName } from '../wasm/plan.ts';
import type { Abi, CoreValue } from './abi.ts';
import type { Guest } from './guest.ts';
import { alignTo, flatten, layoutOf, loweredShape, type LoweredShape } from './layout.ts';
import { flatLifter, flatLowerer } from './flat-values.ts';
import { loader, storer, type Load } from './stored-values.ts';
import { parseInterface, type WitFunc, type WitInterface, type WitType } from './wit.ts';

/** The implementation of one WIT function: the guest first, then the lifted parameters. */
// oxlint-disable-next-line typescript/no-explicit-any -- the WIT text, not TypeScript, types the parameters
export type HostFunction = (guest: Guest, ...args: any[]) => unknown;

/** One WASI interface: its WIT text and a function for every function in it. */
export type HostInterface = {
  /** Without version: `wasi:http/types`. */
  readonly name: string;
  /** What stands between the braces of `interface … { }`. */
  readonly wit: string;
  readonly funcs: Readonly<Record<string, HostFunction>>;
  /**
   * Functions that may return a promise, and so suspend the guest; one that returns a plain value does not.
   */
  readonly suspends?: readonly string[];
};

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

/** A host function, compiled: bind it once per instance and canon options. */
export type CompiledFunction = { readonly declared: WitFunc; readonly core: CoreFuncType } & (
  | { readonly kind: 'immediate'; readonly bind: (guest: Guest, abi: Abi) => CoreFunction }
  | { readonly kind: 'waiting'; readonly bind: (guest: Guest, abi: Abi) => WaitingFunction }
);

/** WASI versions that this host serves: every 0.2 release. Functions added in a later one are simply not found. */
const SERVED_VERSION = /^0\.2\.\d+$/;

/** All interfaces of a host, parsed and compiled ahead of time. */
export class Host {
  readonly #interfaces = new Map<string, WitInterface>();
  readonly #funcs = new Map<string, CompiledFunction>();

  /** @param interfaces in an order in which each `use` names one that came before */
  constructor(interfaces: readonly HostInterface[]) {
    for (const declared of interfaces) this.#add(declared);
  }

  #add(declared: HostInterface): void {
    const parsed = parseInterface(declared.name, declared.wit, this.#interfaces);
    this.#interfaces.set(declared.name, parsed);
    for (const name of Object.keys(declared.funcs)) {
      invariant(parsed.funcs.has(name), `${declared.name} implements ${name}, which its WIT does not declare`);
    }
    for (const func of parsed.funcs.values()) {
      const implementation = declared.funcs[func.name];
      invariant(implementation !== undefined, `${declared.name} declares ${func.name} without implementing it`);
      const suspends = declared.suspends?.includes(func.name) ?? false;
      this.#funcs.set(`${declared.name}#${func.name}`, compile(func, implementation, suspends));
    }
  }

  /**
   * The function behind an import.
   * @throws ThawError UNKNOWN_IMPORT, with the nearest name that there is
   */
  func(from: InterfaceName, name: string): CompiledFunction {
    this.#checkInterface(from, name);
    const found = this.#funcs.get(`${from.interface}#${name}`);
    if (found !== undefined) return found;
    const names = [...(this.#interfaces.get(from.interface) as WitInterface).funcs.keys()];
    throw new ThawError(
      'UNKNOWN_IMPORT',
      `the guest imports ${display(from)} ${name}, which thaw does not have${nearest(name, names)}`,
    );
  }

  /**
   * The qualified name of an imported resource type, for `resource.drop`.
   * @throws ThawError UNKNOWN_IMPORT
   */
  resource(from: InterfaceName, name: string): string {
    this.#checkInterface(from, name);
    const { resources } = this.#interfaces.get(from.interface) as WitInterface;
    if (resources.includes(name)) return `${from.interface}#${name}`;
    throw new ThawError(
      'UNKNOWN_IMPORT',
      `the guest imports resource ${name} of ${display(from)}, which thaw does not have${nearest(name, resources)}`,
    );
  }

  #checkInterface(from: InterfaceName, name: string): void {
    if (!this.#interfaces.has(from.interface)) {
      const hint = nearest(from.interface, [...this.#interfaces.keys()]);
      throw new ThawError(
        'UNKNOWN_IMPORT',
        `the guest imports ${name} of ${display(from)}, an interface that thaw does not have${hint}`,
      );
    }
    if (!SERVED_VERSION.test(from.version)) {
      throw new ThawError(
        'UNKNOWN_IMPORT',
        `the guest imports ${name} of ${display(from)}; thaw has ${from.interface} at 0.2`,
      );
    }
  }
}

const display = ({ interface: name, version }: InterfaceName): string => (version === '' ? name : `${name}@${version}`);

/** `; did you mean X?` when a known name is within a third of the word's length, the usual bound for a typo. */
function nearest(word: string, names: readonly string[]): string {
  let best = '';
  let least = Math.ceil(word.length / 3) + 1;
  for (const name of names) {
    const steps = distance(word, name);
    if (steps < least) {
      least = steps;
      best = name;
    }
  }
  return best === '' ? '' : `; did you mean ${best}?`;
}

/** Derives the core function of `canon lower` from a WIT signature. Source: CanonicalABI.md, `canon_lower`. */
function compile(func: WitFunc, implementation: HostFunction, suspends: boolean): CompiledFunction {
  const shape = loweredShape(func);
  const invoke = invoker(func, implementation, shape);
  const lower = resultLowerer(func.result, shape);
  const call = (guest: Guest, abi: Abi, flat: readonly CoreValue[]): unknown => {
    guest.checkAborted();
    abi.beginCall();
    return invoke(guest, abi, flat);
  };
  const common = { declared: func, core: shape.core };
  if (suspends) {
    invariant(shape.core.results.length === 0, `${func.name}, which may wait, returns its result through memory`);
    return {
      ...common,
      kind: 'waiting',
      bind: (guest, abi) => {
        const { params } = shape.core;
        return bindWaiting(params.length, (flat) => call(guest, abi, flat), lower, abi, guest);
      },
    };
  }
  if (shape.core.params.length === 0 && isNumber(func.result)) {
    const bind = (guest: Guest) => (): CoreValue => {
      guest.checkAborted();
      return implementation(guest) as CoreValue;
    };
    return { ...common, kind: 'immediate', bind };
  }
  const bind = (guest: Guest, abi: Abi): CoreFunction =>
    collected(shape.core.params.length, (flat) => {
      const value = call(guest, abi, flat);
      invariant(!(value instanceof Promise), `${func.name} is declared not to wait`);
      return lower(abi, flat, value);
    });
  return { ...common, kind: 'immediate', bind };
}

/** Whether values of the type are passed as they are. A clock is the function that engines call most. */
const isNumber = (type: WitType | null): boolean => type?.kind === 'u64' || type?.kind === 'u32';

/**
 * A core function that hands its parameters over as one list. With few of them it is the same list at each call: a new
 * one for each was a sixth of what a request allocated. A guest whose realloc calls its host, which is refused, comes in
 * between: by then the list has been read, for only lowering a result allocates, and it asks where the result goes first.
 */
function collected<Returned>(
  count: number,
  body: (flat: readonly CoreValue[]) => Returned,
): (...flat: CoreValue[]) => Returned {
  const flat: CoreValue[] = Array.from({ length: count }, () => 0);
  switch (count) {
    case 0:
      return () => body(flat);
    case 1:
      return (first) => {
        flat[0] = first;
        return body(flat);
      };
    case 2:
      return (first, second) => {
        flat[0] = first;
        flat[1] = second;
        return body(flat);
      };
    case 3:
      return (first, second, third) => {
        flat[0] = first;
        flat[1] = second;
        flat[2] = third;
        return body(flat);
      };
    case 4:
      return (first, second, third, fourth) => {
        flat[0] = first;
        flat[1] = second;
        flat[2] = third;
        flat[3] = fourth;
        return body(flat);
      };
    default:
      return (...values) => body(values);
  }
}

type Outcome =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'error'; readonly error: unknown };

function bindWaiting(
  params: number,
  call: (flat: readonly CoreValue[]) => unknown,
  lower: LowerResult,
  abi: Abi,
  guest: Guest,
): WaitingFunction {
  // A guest has one stack, so between `attempt` and `finish` there is no other call of this instance.
  let begun: Promise<unknown> | null = null;
  let outcome: Outcome | null = null;
  return {
    attempt: collected(params, (flat) => {
      const value = call(flat);
      if (value instanceof Promise) {
        invariant(guest.hasWaited, 'a host function that waits commits its guest first');
        begun = value;
        return 0;
      }
      lower(abi, flat, value);
      return 1;
    }),
    wait: async () => {
      guest.clock.pause();
      const work = begun;
      begun = null;
      invariant(work !== null, 'a wait follows an attempt');
      try {
        outcome = { kind: 'value', value: await work };
      } catch (error) {
        outcome = { kind: 'error', error };
      }
    },
    finish: (...flat) => {
      guest.clock.resume();
      const ended = outcome;
      outcome = null;
      invariant(ended !== null, 'a finish follows a wait');
      if (ended.kind === 'error') throw ended.error;
      lower(abi, flat, ended.value);
    },
  };
}

/** Lifts the parameters of a function and calls its implementation. */
type Invoke = (guest: Guest, abi: Abi, flat: readonly CoreValue[]) => unknown;

function invoker(func: WitFunc, implementation: HostFunction, { paramsInMemory }: LoweredShape): Invoke {
  const types = func.params.map(([, type]) => type);
  if (paramsInMemory) {
    const load = memoryParams(types);
    return (guest, abi, flat) => implementation(guest, ...load(abi, flat));
  }
  const lifts = flatParams(types);
  const [first, second] = lifts as [LiftParam, LiftParam];
  switch (lifts.length) {
    case 0:
      return (guest) => implementation(guest);
    case 1:
      return (guest, abi, flat) => implementation(guest, first(abi, flat));
    case 2:
      return (guest, abi, flat) => implementation(guest, first(abi, flat), second(abi, flat));
    default:
      return (guest, abi, flat) => implementation(guest, ...lifts.map((lift) => lift(abi, flat)));
  }
}

type LiftParam = (abi: Abi, flat: readonly CoreValue[]) => unknown;

function flatParams(types: readonly WitType[]): LiftParam[] {
  let next = 0;
  return types.map((type) => {
    const lift = flatLifter(type);
    const at = next;
    next += flatten(type).length;
    return (abi, flat) => lift(abi, flat, at);
  });
}

function memoryParams(types: readonly WitType[]): (abi: Abi, flat: readonly CoreValue[]) => unknown[] {
  const { size, align } = layoutOf({ kind: 'tuple', items: types });
  const load: Load = loader({ kind: 'tuple', items: types });
  return (abi, flat) => load(abi, abi.check(flat[0] as number, alignTo(size, align), align)) as unknown[];
}

type LowerResult = (abi: Abi, flat: readonly CoreValue[], value: unknown) => CoreValue | undefined;

function resultLowerer(result: WitType | null, { core, retptr }: LoweredShape): LowerResult {
  if (result === null) return () => undefined;
  if (!retptr) {
    const lower = flatLowerer(result);
    return (abi, _, value) => lower(abi, value);
  }
  const { size, align } = layoutOf(result);
  const store = storer(result);
  const last = core.params.length - 1;
  return (abi, flat, value) => {
    const at = abi.check(flat[last] as number, size, align);
    store(abi, at, value);
    return undefined;
  };
}
