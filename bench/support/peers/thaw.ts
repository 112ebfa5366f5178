import { readPackageJson } from '../../../src/package.ts';
import { shownCommand } from '../shown.ts';
import { serveThaw } from '../thaw.ts';
import { FRESH, type Contender, type Start } from './contender.ts';

const starter =
  (store: string): Start =>
  (prefix) =>
    serveThaw({ store, routes: [{ route: '/...', snapshot: 'hello' }], threads: 1, prefix });

export const THAW: Contender = {
  name: 'thaw',
  shares: FRESH,
  isFresh: true,
  find: () => ({
    kind: 'found',
    version: readPackageJson().version,
    command: shownCommand(['thaw', 'serve', '--config', 'hello.json', '--store', 'snapshots', '--threads', '1']),
    prepare: async ({ store }) => starter(store),
  }),
};
