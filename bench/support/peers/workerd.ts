import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Child } from '../child.ts';
import { freePort, served, serverDirectory, type Contender, type Found, type Start } from './contender.ts';
import { PEERS_DIRECTORY } from './directory.ts';

/** workerd, of npm: the runtime of Cloudflare Workers. It serves the module itself, in an isolate that lives on. */

const PACKAGE = join(PEERS_DIRECTORY, 'node_modules/workerd');
const BINARY = join(PEERS_DIRECTORY, 'node_modules/.bin/workerd');

const configOf = (module: string, port: number): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .hello)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const hello :Workerd.Worker = (
  modules = [(name = "${module}", esModule = embed "${module}")],
  compatibilityDate = "2026-01-01"
);
`;

const starter =
  (source: string): Start =>
  async (prefix) => {
    const directory = serverDirectory('workerd');
    const port = await freePort();
    const config = join(directory.path, 'config.capnp');
    // Cap'n Proto looks for what it embeds beside the config.
    copyFileSync(source, join(directory.path, basename(source)));
    writeFileSync(config, configOf(basename(source), port));
    const child = new Child({ name: 'workerd', command: [...prefix, BINARY, 'serve', config] });
    return served(child, port, directory.remove);
  };

function find(): Found {
  if (!existsSync(BINARY)) return { kind: 'missing', reason: 'not installed: scripts/fetch-peers.sh workerd' };
  const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { version: string };
  const command = 'workerd serve config.capnp';
  return { kind: 'found', version, command, prepare: async ({ source }) => starter(source) };
}

export const WORKERD: Contender = {
  name: 'workerd',
  shares: 'all: one isolate serves every request',
  isFresh: false,
  find,
};
