import { ThawError } from '../errors.ts';

/** Something of the host's that a guest holds by handle. `resource` is the qualified WIT name of its type. */
export abstract class HostResource {
  abstract readonly resource: string;

  /** Called once, when the guest drops its handle or the request is over. */
  dispose(): void {}
}

/**
 * The handle table of one component instance. Handle 0 is never valid.
 *
 * Invariant: `#entries[h]` is null exactly for h = 0 and for every h in `#free`. A reset table gives out the same handles
 * in the same order as a new one: restored equals brand-new.
 *
 * Source: CanonicalABI.md, "Table State".
 */
export class HandleTable {
  readonly #entries: (HostResource | null)[] = [null];
  readonly #free: number[] = [];
  readonly #limit: number;

  /** @param limit how many handles one guest may hold at a time; more is a GUEST_LIMIT trap */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Handles in use. */
  get size(): number {
    return this.#entries.length - 1 - this.#free.length;
  }

  add(resource: HostResource): number {
    const reused = this.#free.pop();
    if (reused !== undefined) {
      this.#entries[reused] = resource;
      return reused;
    }
    if (this.#entries.length > this.#limit) {
      throw new ThawError(
        'GUEST_LIMIT',
        `a new ${resource.resource} was wanted while ${this.#limit} handles are open, the limit`,
      );
    }
    return this.#entries.push(resource) - 1;
  }

  /** The resource behind a handle, still owned by the guest. */
  get(handle: number, resource: string): HostResource {
    const entry = this.#entries[handle];
    if (entry === null || entry === undefined) {
      throw new ThawError('HANDLE_INVALID', `handle ${handle} was used as ${resource}, but is not open`);
    }
    if (entry.resource !== resource) {
      throw new ThawError('HANDLE_INVALID', `handle ${handle} was used as ${resource}, but is a ${entry.resource}`);
    }
    return entry;
  }

  /** Takes the resource away from the guest: it is the host's now. */
  take(handle: number, resource: string): HostResource {
    const entry = this.get(handle, resource);
    this.#entries[handle] = null;
    this.#free.push(handle);
    return entry;
  }

  drop(handle: number, resource: string): void {
    this.take(handle, resource).dispose();
  }

  /** Makes the table as new, then disposes of everything that was open. @throws the first error of disposing */
  reset(): void {
    const open = this.#entries.splice(1);
    this.#free.length = 0;
    const errors: unknown[] = [];
    for (const resource of open) {
      try {
        resource?.dispose();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
