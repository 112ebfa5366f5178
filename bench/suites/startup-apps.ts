import { writeFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { bundleApp, displayPath } from '../../src/build/bundle.ts';
import type { Frozen } from '../../src/build/freeze.ts';
import { kindOfFile } from '../../src/build/input.ts';
import { buildTools } from '../../src/build/tools.ts';
import { ThawError } from '../../src/errors.ts';
import { APPS, componentFile, watComponent } from '../support/components.ts';
import { Variants } from '../support/snapshots.ts';
import { ENGINE_INIT, engineFiles } from './engine-start.ts';
import type { SuiteInput } from './input.ts';
import type { InitSpec } from './startup-spec.ts';

/** An app of the startup suite, built and frozen. */
export type PreparedApp = {
  readonly name: string;
  readonly about: string;
  readonly frozen: Frozen;
  /** The path that requests ask for. */
  readonly path: string;
  readonly component: string;
  /** The name of another snapshot of the same code; null where there is none. */
  readonly other: string | null;
  /** Null, and why, where the app cannot be had uninitialised. */
  readonly init: InitSpec | { readonly missing: string };
  /** The name of the snapshot in the store. */
  readonly snapshot: string;
  /** Bytes of source that the engine reads, packages included; null where there is no engine. */
  readonly sourceBytes: number | null;
};

type OwnScript = { readonly name: string; readonly path: string; readonly about: string };

const SMALLEST: OwnScript = {
  name: 'hello',
  path: '/x',
  about: 'The smallest app in JavaScript; its top level does nothing.',
};

/** A quick run leaves them out: each takes as long as the smallest. */
const LARGER: readonly OwnScript[] = [
  { name: 'table', path: '/12345', about: 'JavaScript; its top level fills a Map with 20,000 entries.' },
  {
    name: 'hono',
    path: '/hello/x',
    about: 'Hono, a framework from npm; its top level sets up routes and a middleware.',
  },
];

const CORE = {
  name: 'core',
  path: '/',
  about: 'A core module without an engine; its initialisation finds the first 20,000 primes.',
  initFunc: 'initialise',
  /** Text of its image; in capitals in the snapshot that it is switched with. */
  marker: 'prime',
} as const;

const tools = buildTools();

/** The apps of the bench. One that cannot be built here is noted and left out. */
export async function ownApps(input: SuiteInput): Promise<PreparedApp[]> {
  const prepared: PreparedApp[] = [];
  // The second snapshot of the engine's code: hello switches with it, the others with hello.
  await input.snapshots.buildApp('constants');
  if (input.quick) input.note(`A quick run leaves out the apps ${LARGER.map(({ name }) => name).join(' and ')}.`);
  for (const { name, path, about } of input.quick ? [SMALLEST] : [SMALLEST, ...LARGER]) {
    const other = name === 'hello' ? 'constants' : 'hello';
    const source = join(APPS, `${name}.js`);
    try {
      prepared.push(await prepareScript({ name, snapshot: name, source, path, about, other }, input));
    } catch (error) {
      // Packages of an app are optional: without them it is not measured. Everything else is the bench's own fault.
      if (!(error instanceof ThawError) || error.code !== 'BUILD_SOURCE_ERROR') throw error;
      input.note(`The app ${name} is not measured: ${error.message}.`);
    }
  }
  prepared.push(await prepareCore(input));
  return prepared;
}

/** @throws ThawError when the file is no app that can be measured: BUILD_INPUT_MISSING, NOT_A_COMPONENT, USAGE */
export async function checkGivenApp(source: string): Promise<void> {
  if ((await kindOfFile(source)) !== 'core-module') return;
  throw new ThawError(
    'USAGE',
    `--app ${displayPath(source)} is a core module, which does not say what its imports and exports mean: make it a component first, with npx jco embed and npx jco new`,
  );
}

/** The app that the user named. @throws ThawError as building it does */
export async function givenApp(source: string, path: string, input: SuiteInput): Promise<PreparedApp> {
  const name = basename(source, extname(source));
  const about = `${basename(source)}, asked for ${path}.`;
  const app = { name, snapshot: GIVEN, source, path, about };
  if ((await kindOfFile(source)) === 'component') return prepareComponent(app, input);
  await input.snapshots.buildApp('hello');
  return prepareScript({ ...app, other: 'hello' }, input);
}

/** What the app of the user is called in the store, whatever its own name. */
const GIVEN = 'given';

/** `snapshot` is the name in the store. */
type AppInput = Pick<PreparedApp, 'name' | 'snapshot' | 'path' | 'about'> & { readonly source: string };

async function prepareScript(app: AppInput & { readonly other: string }, input: SuiteInput): Promise<PreparedApp> {
  const { name, snapshot, source, path, about, other } = app;
  const { snapshots, progress } = input;
  progress(`startup: preparing ${name}`);
  const frozen = await snapshots.freezeScript(snapshot, source);
  const { component, inputs } = await engineFiles(progress);
  const bundle = join(snapshots.directory, `${snapshot}.bundle.js`);
  const { code } = await bundleApp(source, tools);
  writeFileSync(bundle, code);
  return {
    name,
    snapshot,
    about,
    frozen,
    path,
    other,
    component: await componentFile(source, progress),
    init: { component, func: ENGINE_INIT, engine: { inputs, app: bundle } },
    sourceBytes: Buffer.byteLength(code),
  };
}

/** A component is what a build has made: what it was before its initialisation is not in it. */
async function prepareComponent({ source, ...app }: AppInput, { snapshots }: SuiteInput): Promise<PreparedApp> {
  return {
    ...app,
    frozen: await snapshots.freezeComponent(app.snapshot, source),
    component: source,
    other: null,
    init: { missing: 'a component has been initialised by its build, and holds only what came of it' },
    sourceBytes: null,
  };
}

async function prepareCore({ snapshots, progress }: SuiteInput): Promise<PreparedApp> {
  const { name, path, about, initFunc, marker } = CORE;
  progress(`startup: preparing ${name}`);
  const frozen = await snapshots.freezeWat('sieve', { initFunc });
  const { store } = snapshots;
  await store.setRef(name, frozen.digest, 'a bench');
  const variant = await new Variants(store, frozen.digest, [marker]).add([[marker, marker.toUpperCase()]]);
  const other = `${name}-other`;
  await store.setRef(other, variant, 'a bench');
  return {
    name,
    snapshot: name,
    about,
    frozen,
    path,
    other,
    component: await watComponent('sieve', { initFunc }),
    init: { component: await watComponent('sieve'), func: initFunc, engine: null },
    sourceBytes: null,
  };
}
