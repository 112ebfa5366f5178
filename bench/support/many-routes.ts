import type { BenchStore } from './snapshots.ts';
import { Variants } from './snapshots.ts';

/** Many routes, each with a snapshot of its own, made from one build of bench/apps/constants.js. */

export type ManyRoute = {
  readonly route: string;
  /** A digest. */
  readonly snapshot: string;
  /** What this route answers, and no other. */
  readonly answer: string;
};

const APP = 'app-000000000000';
const ROUTE = 'route-0000000000';

const padded = (marker: string, value: number): string => {
  const digits = String(value);
  return marker.slice(0, marker.length - digits.length) + digits;
};

/** @param apps distinct apps; the routes share them in turn and differ by a second constant */
export async function makeRoutes(snapshots: BenchStore, count: number, apps: number): Promise<ManyRoute[]> {
  const { digest } = await snapshots.buildApp('constants');
  const variants = new Variants(snapshots.store, digest, [APP, ROUTE]);
  const routes: ManyRoute[] = [];
  for (let index = 0; index < count; index++) {
    const [app, route] = [padded(APP, index % apps), padded(ROUTE, index)];
    const snapshot = await variants.add([
      [APP, app],
      [ROUTE, route],
    ]);
    routes.push({ route: `/r${index}`, snapshot, answer: `${app} ${route}` });
  }
  return routes;
}

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
