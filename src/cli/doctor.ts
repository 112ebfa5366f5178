import type { Command } from 'commander';
import { type Diagnosis, diagnose } from './diagnosis.ts';
import { type JsonFlag, type StoreFlags, addJsonOption, addStoreOption, storeDirectory } from './options.ts';
import { grouped, print, printJson, readableBytes, table } from './output.ts';

const EXAMPLES = `Examples:
  thaw doctor
  thaw doctor --json
`;

export function define(command: Command): void {
  command.addHelpText('before', EXAMPLES).action(doctor);
  addJsonOption(addStoreOption(command));
}

/** Exits with 1 when this machine cannot serve. Without build tools it can: they belong to where snapshots are made. */
async function doctor(flags: StoreFlags & JsonFlag): Promise<void> {
  const diagnosis = await diagnose(storeDirectory(flags));
  if (flags.json === true) printJson(diagnosis);
  else print(table(rowsOf(diagnosis)));
  if (!diagnosis.jspi || diagnosis.restore.used === null) process.exitCode = 1;
}

type Row = readonly [topic: string, finding: string];

function rowsOf({ node, jspi, system, addressSpace, restore, buildTools, store }: Diagnosis): Row[] {
  const { platform, kernel, arch, processors, memoryBytes } = system;
  return [
    ['node', `${node.version}, V8 ${node.v8}, ${node.path}`],
    ...(node.warning === null ? [] : [['', `warning: ${node.warning}`] as const]),
    ['jspi', jspi ? 'yes' : 'no: guests could not wait; this Node is too old for thaw'],
    ['system', `${platform} ${kernel}, ${arch}, ${processors} processors, ${readableBytes(memoryBytes)}`],
    ['address space', addressSpace === null ? 'unknown' : addressSpaceText(addressSpace)],
    ...restoreRows(restore),
    ...buildTools.map(({ name, failure }, index): Row => [
      index === 0 ? 'build tools' : '',
      `${name}: ${failure ?? 'works'}`,
    ]),
    ['store', storeText(store)],
  ];
}

function addressSpaceText({ bits, limitBytes, memories }: NonNullable<Diagnosis['addressSpace']>): string {
  const limit = limitBytes === null ? '' : `, limited to ${readableBytes(limitBytes)} (ulimit -v)`;
  return `${bits} bits${limit}: fewer than ${grouped(memories + 1)} memories`;
}

function restoreRows(restore: Diagnosis['restore']): Row[] {
  if (restore.used === null) return [['restore', `fails: ${restore.failure}`]];
  const { used, pageBytes, tiers } = restore;
  return [
    ['page size', pageBytes === null ? 'not known' : readableBytes(pageBytes)],
    ...tiers.map(({ tier, failure }, index): Row => {
      const finding = failure ?? (tier === used ? 'works, and is used' : 'works');
      return [index === 0 ? 'restore' : '', `${tier}: ${finding}`];
    }),
  ];
}

function storeText({ directory, exists, failure, freeBytes }: Diagnosis['store']): string {
  if (failure !== null) return `${directory}: cannot be written: ${failure}`;
  const free = freeBytes === null ? '' : `, ${readableBytes(freeBytes)} free`;
  return `${directory}: ${exists ? 'writable' : 'not there yet, can be made'}${free}`;
}
