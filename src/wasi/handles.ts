import { ThawError } from '../errors.ts';

/** Something of the host's that a guest holds by handle. `resource` is the qualified WIT name of its type. */
export abstract class HostResource {
  abstract readonly resource: string;
  /** Handles that lead to it; the handle table counts them. Several where a guest is given the same thing again. */
  handles = 0;

  /** Called once, when the guest drops its handle or the request is over. */
  dispose(): void {}
}

/** A table that was larger gives its memory back when it is reset. */
const KEPT_ENTRIES = 256;

/**
 * The handle table of one component instance. Handle 0 is never valid.
 *
 * Invariant: of the entries below `#top`, `#entries[h]` is null exactly for h = 0 and for every h in `#free`; all above are
 * null. A reset table gives out the same handles in the same order as a new one: restored equals brand-new.
 *
 * Source: CanonicalABI.md, "Table State".
 */
export class HandleTable {
  #entries: (HostResource | null)[] = [null];
  /** One more than the highest handle that was given out. Entries above are kept for the next request. */
  #top = 1;
  readonly #free: number[] = [];
  readonly #maxResources: number;
  readonly #maxHandles: number;
  /** Distinct resources behind the handles. */
  #resources = 0;

  /** How many resources, and how many handles to them, one guest may hold at a time; more is a GUEST_LIMIT trap. */
  constructor(maxResources: number, maxHandles = maxResources) {
    this.#maxResources = maxResources;
    this.#maxHandles = maxHandles;
  }

  /** Handles in use. */
  get size(): number {
    return this.#top - 1 - this.#free.length;
  }

  add(resource: HostResource): number {
    if (resource.handles === 0 && this.#resources >= this.#maxResources) throw tooMany(resource, this.#maxResources);
    const reused = this.#free.pop();
    if (reused === undefined && this.#top > this.#maxHandles) throw tooMany(resource, this.#maxHandles);
    if (resource.handles++ === 0) this.#resources++;
    const handle = reused ?? this.#top++;
    this.#entries[handle] = resource;
    return handle;
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
    if (--entry.handles === 0) this.#resources--;
    return entry;
  }

  drop(handle: number, resource: string): void {
    const dropped = this.take(handle, resource);
    if (dropped.handles === 0) dropped.dispose();
  }

  /** Makes the table as new, then disposes of everything that was open. @throws the first error of disposing */
  reset(): void {
    const closed = this.#takeAll();
    const errors: unknown[] = [];
    for (const resource of closed) {
      try {
        resource.dispose();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Makes the table as new. @returns what the guest held */
  #takeAll(): HostResource[] {
    const [entries, top] = [this.#entries, this.#top];
    const taken: HostResource[] = [];
    for (let handle = 1; handle < top; handle++) {
      const resource = entries[handle] as HostResource | null;
      entries[handle] = null;
      if (resource !== null && --resource.handles === 0) taken.push(resource);
    }
    if (entries.length > KEPT_ENTRIES) this.#entries = [null];
    this.#top = 1;
    // Setting a length is slow.
    if (this.#free.length > 0) this.#free.length = 0;
    this.#resources = 0;
    return taken;
  }
}

const tooMany = ({ resource }: HostResource, limit: number): ThawError =>
  new ThawError('GUEST_LIMIT', `a new ${resource} was wanted while ${limit} are open, the limit`);
