import { distance } from 'fastest-levenshtein';
import { ThawError, invariant } from '../errors.ts';
import type { InterfaceName } from '../wasm/plan.ts';
import { compile, type CompiledFunction, type HostFunction } from './lowered.ts';
import { parseInterface, type WitInterface } from './wit.ts';

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

/** WASI versions that this host serves: every 0.2 release. Functions added in a later one are simply not found. */
const SERVED_VERSION = /^0\.2\.\d+$/;

/** All interfaces of a host, parsed ahead of time; functions are compiled when they are first bound. */
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
