import type { Command } from 'commander';
import type { EdgeConfig } from '../config/schema.ts';
import { ThawError } from '../errors.ts';
import type { Ref } from '../snapshot/refs.ts';
import { SnapshotStore } from '../snapshot/store.ts';
import { type App, findApps } from './apps.ts';
import { DEFAULT_CONFIG, readConfig } from './config-options.ts';
import { note, readableMs, showProgress } from './output.ts';
import { type ServeFlags, addServeOptions, serveUntilStopped } from './serve.ts';

const EXAMPLES = `Examples:
  thaw up                       build the apps in ${DEFAULT_CONFIG}/apps that routes name, then serve
  thaw up --listen 127.0.0.1:0  on a free port
`;

const APPS = `
Apps: a route's snapshot "hello" is built from apps/hello.js beside the config (or .ts, .mjs, .mts, .jsx, .tsx, a
component .wasm), or from apps/hello/index.js and what is in that directory. An app is built when the store does not have
it, and again when its sources change; other files in apps/ count as sources of every app. A name that thaw build gave by
hand is left as it is: thaw rm it to have it built here.`;

export function define(command: Command): void {
  command.addHelpText('before', EXAMPLES).addHelpText('after', APPS).action(up);
  addServeOptions(command);
}

async function up(flags: ServeFlags): Promise<void> {
  const located = readConfig(flags);
  const { config } = located;
  await buildApps(findApps(flags.config, config), config);
  await serveUntilStopped(located, flags);
}

async function buildApps(apps: readonly App[], config: EdgeConfig): Promise<void> {
  const store = SnapshotStore.open(config.store, { create: true });
  try {
    const refs = new Map(store.listRefs().map((ref) => [ref.name, ref]));
    for (const app of apps) if (mustBuild(app, refs.get(app.name), store)) await buildApp(app, store);
  } finally {
    store.close();
  }
}

/** Behind the input and a `#`, which a shell takes for a comment: so the text can follow `thaw build`. */
const sourceOf = ({ input, sources }: App): string => `${input} # sources ${sources}`;

const SOURCES = / # sources ([0-9a-f]+)$/;

function mustBuild(app: App, ref: Ref | undefined, store: SnapshotStore): boolean {
  if (ref === undefined) return true;
  const builtFrom = SOURCES.exec(ref.source)?.[1];
  if (builtFrom === undefined) {
    note(`${app.name}: the store has one built by hand from ${ref.source}; ${app.input} is not built`);
    return false;
  }
  return builtFrom !== app.sources || !isReadable(ref, store);
}

function isReadable({ digest }: Ref, store: SnapshotStore): boolean {
  try {
    store.loadManifest(digest);
    return true;
  } catch (error) {
    if (error instanceof ThawError) return false;
    throw error;
  }
}

async function buildApp(app: App, store: SnapshotStore): Promise<void> {
  const startedAt = performance.now();
  const { buildSnapshot } = await import('../build/build.ts');
  const progress = showProgress(app.name);
  const { digest } = await buildSnapshot(app.input, store, { progress });
  await store.setRef(app.name, digest, sourceOf(app));
  note(`built ${app.name} from ${app.input} in ${readableMs(performance.now() - startedAt)}`);
}
