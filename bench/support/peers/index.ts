import type { PeerChoice } from '../../suites/input.ts';
import { ThawError } from '../../../src/errors.ts';
import type { Contender, Found } from './contender.ts';
import { JCO } from './jco.ts';
import { NODE_HTTP } from './node-http.ts';
import { THAW } from './thaw.ts';
import { WASMTIME } from './wasmtime.ts';
import { WORKERD } from './workerd.ts';

/** The servers that thaw is held against, by the names that `--peers` takes. */
const PEERS: Readonly<Record<string, readonly Contender[]>> = {
  wasmtime: WASMTIME,
  jco: JCO,
  workerd: [WORKERD],
  'node:http': [NODE_HTTP],
};

export const PEER_NAMES: readonly string[] = Object.keys(PEERS);

export type Entrant = { readonly contender: Contender; readonly found: Found };

/**
 * thaw, and the servers that are to be held against it, each looked for.
 * @throws ThawError USAGE when one is named that is unknown or missing
 */
export function entrantsFor(choice: PeerChoice): Entrant[] {
  const names = choice === 'auto' ? PEER_NAMES : choice === 'none' ? [] : choice;
  return [enter(THAW), ...names.flatMap((name) => entrantsOf(name, choice !== 'auto'))];
}

const enter = (contender: Contender): Entrant => ({ contender, found: contender.find() });

function entrantsOf(name: string, isNeeded: boolean): Entrant[] {
  const contenders = Object.hasOwn(PEERS, name) ? PEERS[name] : undefined;
  if (contenders === undefined) {
    throw new ThawError('USAGE', `${JSON.stringify(name)} is none of the peers: ${PEER_NAMES.join(', ')}`);
  }
  const entrants = contenders.map(enter);
  const [first] = entrants;
  // Others of the same server may lack what only its newer versions have.
  if (isNeeded && first?.found.kind === 'missing') {
    throw new ThawError('USAGE', `the peer ${name} was asked for, and cannot be run: ${first.found.reason}`);
  }
  return entrants;
}
