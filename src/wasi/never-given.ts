import { ThawError, invariant } from '../errors.ts';
import type { HostFunction } from './lowered.ts';

/**
 * Implementations for the methods of a resource type that no function of this host ever returns. Lifting `self` traps
 * with HANDLE_INVALID before any of them is called.
 *
 * @param wit the interface that declares the resource, its text without comments
 * @returns a function for every method, by its export name
 */
export function neverGiven(wit: string, resource: string): Record<string, HostFunction> {
  const body = new RegExp(`resource ${resource} \\{([^}]*)\\}`).exec(wit)?.[1];
  invariant(body !== undefined, `the WIT declares resource ${resource}`);
  const unreachable = (): never => {
    throw new ThawError('INTERNAL', `a method was called on a ${resource}, which this host never gives out`);
  };
  const methods = [...body.matchAll(/%?([\w-]+): func\(/g)];
  return Object.fromEntries(methods.map(([, method]) => [`[method]${resource}.${method}`, unreachable]));
}
