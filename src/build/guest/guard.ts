/**
 * The top level of an app runs at build time and what it leaves behind is frozen. This module is evaluated before the
 * app's and makes what cannot work there fail with a JavaScript error that has a stack, where the engine would trap
 * without one. `endInitialisation` puts everything back: no request ever runs through this module.
 */

type Method = (...args: unknown[]) => unknown;
type Patched = { readonly target: object; readonly name: string; readonly own: PropertyDescriptor | undefined };

const patches: Patched[] = [];
let frozen = true;
let listeners = 0;
let randomUse: Error | undefined;

/** Replaces a method until `endInitialisation`. An app that keeps the replacement calls through it to the original. */
function patch(target: object, name: string, replace: (original: Method) => Method): void {
  const original = Reflect.get(target, name) as Method;
  const replacement = replace(original);
  patches.push({ target, name, own: Reflect.getOwnPropertyDescriptor(target, name) });
  Object.defineProperty(target, name, {
    configurable: true,
    enumerable: false,
    writable: true,
    value(this: unknown, ...args: unknown[]) {
      return (frozen ? replacement : original).apply(this, args);
    },
  });
}

/**
 * Random numbers are remembered as well as refused: a library that catches the error and goes on with something that
 * is not random would be frozen like that.
 */
const refuseRandom = (name: string) => () => () => {
  randomUse ??= new Error(`thaw:random ${name}`);
  throw randomUse;
};

patch(Math, 'random', refuseRandom('Math.random()'));
patch(crypto, 'getRandomValues', refuseRandom('crypto.getRandomValues()'));
patch(crypto, 'randomUUID', refuseRandom('crypto.randomUUID()'));
patch(performance, 'now', () => () => {
  throw new TypeError('performance.now can only be used during request handling, not during initialization');
});
patch(
  globalThis,
  'addEventListener',
  (original) =>
    function (this: unknown, ...args) {
      if (args[0] === 'fetch') listeners++;
      return original.apply(this, args);
    },
);

/** Ends the time before the freeze. Throws when the app used random numbers. Returns how many fetch listeners it has. */
export function endInitialisation(): number {
  for (const { target, name, own } of patches) {
    if (own === undefined) Reflect.deleteProperty(target, name);
    else Object.defineProperty(target, name, own);
  }
  frozen = false;
  if (randomUse !== undefined) throw randomUse;
  return listeners;
}
