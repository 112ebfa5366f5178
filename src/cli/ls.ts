import type { Command } from 'commander';
import { ThawError } from '../errors.ts';
import type { Ref } from '../snapshot/refs.ts';
import type { SnapshotStore } from '../snapshot/store.ts';
import { type JsonFlag, type StoreFlags, addJsonOption, addStoreOption, openStore } from './options.ts';
import { note, print, printJson, readableBytes, shortDigest, table } from './output.ts';
import { type SnapshotFacts, factsOf } from './snapshot-facts.ts';

const EXAMPLES = `Examples:
  thaw ls
  thaw ls --json | jq -r '.[].name'
`;

export function define(command: Command): void {
  command.addHelpText('before', EXAMPLES).action(ls);
  addJsonOption(addStoreOption(command));
}

/** A name and its snapshot, or why that cannot be read. */
type Row = Ref & ({ readonly facts: SnapshotFacts } | { readonly failure: ThawError });

function ls(flags: StoreFlags & JsonFlag): void {
  const store = openStore(flags);
  const rows = store.listRefs().map((ref): Row => ({ ...ref, ...readFacts(store, ref) }));
  if (flags.json === true) {
    printJson(rows.map(toJson));
    return;
  }
  if (rows.length === 0) {
    note(`no snapshots in ${store.directory}; thaw build makes one`);
    return;
  }
  const head = ['NAME', 'DIGEST', 'START', 'CODE', 'MEMORY', 'OWN', 'BUILT', 'FROM'];
  print(table([head, ...rows.map(toCells)], [3, 4, 5]));
}

function readFacts(store: SnapshotStore, { digest }: Ref): { facts: SnapshotFacts } | { failure: ThawError } {
  try {
    return { facts: factsOf(store.loadManifest(digest)) };
  } catch (error) {
    if (error instanceof ThawError) return { failure: error };
    throw error;
  }
}

function toJson(row: Row): Record<string, unknown> {
  const { name, digest, createdAt, source } = row;
  const rest = 'facts' in row ? row.facts : { error: { code: row.failure.code, message: row.failure.message } };
  return { name, digest, createdAt, source, ...rest };
}

function toCells(row: Row): string[] {
  const { name, digest, createdAt, source } = row;
  const built = createdAt.slice(0, 16).replace('T', ' ');
  if ('failure' in row) return [name, shortDigest(digest), 'damaged', '', '', '', built, row.failure.message];
  const { kind, codeBytes, memory, imageBytes, deltaBytes } = row.facts;
  const sizes =
    memory === null
      ? ['', '']
      : [readableBytes(memory.bytes), readableBytes(deltaBytes === 0 ? imageBytes : deltaBytes)];
  return [name, shortDigest(digest), kind, readableBytes(codeBytes), ...sizes, built, source];
}
