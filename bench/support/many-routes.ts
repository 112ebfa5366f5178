import type { Manifest } from '../../src/snapshot/manifest.ts';
import type { Digest } from '../../src/wasm/plan.ts';
import { Variants, type BenchStore } from './snapshots.ts';

/** Many routes, each with a snapshot of its own, made from one build of bench/apps/constants.js. */

export type ManyRoute = {
  readonly route: string;
  /** A digest. */
  readonly snapshot: Digest;
  /** What this route answers, and no other. */
  readonly answer: string;
};

const APP = 'app-000000000000';
const ROUTE = 'route-0000000000';

const padded = (marker: string, value: number): string => {
  const digits = String(value);
  return marker.slice(0, marker.length - digits.length) + digits;
};

/** Routes as they are needed: one more is made of a few hundred kilobytes. */
export class ManyRoutes {
  /** Of the build that the snapshots are variants of: they have its sizes. */
  readonly manifest: Manifest;
  readonly #variants: Variants;
  readonly #apps: number;
  readonly #routes: ManyRoute[] = [];

  private constructor(manifest: Manifest, variants: Variants, apps: number) {
    this.manifest = manifest;
    this.#variants = variants;
    this.#apps = apps;
  }

  /** @param apps distinct apps; the routes share them in turn and differ by a second constant */
  static async of(snapshots: BenchStore, apps: number): Promise<ManyRoutes> {
    const { digest, manifest } = await snapshots.buildApp('constants');
    return new ManyRoutes(manifest, new Variants(snapshots.store, digest, [APP, ROUTE]), apps);
  }

  /** How many there are already. */
  get made(): number {
    return this.#routes.length;
  }

  /** That one more takes on disk, its manifest of a kilobyte aside. */
  get bytesPerRoute(): number {
    const { state } = this.manifest;
    const memories = state.kind === 'restorable' ? state.memories : [];
    return memories.reduce((sum, { delta }) => sum + (delta?.bytes ?? 0), 0);
  }

  /** The first `count` routes. */
  async upTo(count: number): Promise<readonly ManyRoute[]> {
    while (this.#routes.length < count) this.#routes.push(await this.#make(this.#routes.length));
    return this.#routes.slice(0, count);
  }

  async #make(index: number): Promise<ManyRoute> {
    const [app, route] = [padded(APP, index % this.#apps), padded(ROUTE, index)];
    const snapshot = await this.#variants.add([
      [APP, app],
      [ROUTE, route],
    ]);
    return { route: `/r${index}`, snapshot, answer: `${app} ${route}` };
  }
}

/** The first routes of {@link ManyRoutes}. */
export const makeRoutes = async (snapshots: BenchStore, count: number, apps: number): Promise<ManyRoute[]> => [
  ...(await (await ManyRoutes.of(snapshots, apps)).upTo(count)),
];

/** Routes as the config has them. */
export const configured = (routes: readonly ManyRoute[]): { route: string; snapshot: string }[] =>
  routes.map(({ route, snapshot }) => ({ route, snapshot }));

/** A sequence that is the same in every run: noise should not come from the choice of routes. */
export class Lottery {
  #state = 1;

  /** @returns a whole number from 0, below `below` */
  draw(below: number): number {
    // The constants of Numerical Recipes; the high bits are the random ones.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * below);
  }
}
