import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../../src/package.ts';

/** Where scripts/fetch-peers.sh installs servers. */
export const PEERS_DIRECTORY = join(PACKAGE_ROOT, 'bench/peers');
