import { dirname, extname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin, RolldownError } from 'rolldown';
import { ThawError, messageOf } from '../errors.ts';
import { ENVIRONMENT } from './wit.ts';
import type { Tools } from './tools.ts';

/** One ES module with everything in it, and where each of its places came from. */
export type Bundle = {
  readonly code: string;
  /** Source map, revision 3. Its sources are absolute paths. */
  readonly map: SourceMapV3;
};

/** The members of a source map that thaw reads; the type that Node's `SourceMap` takes. */
export type SourceMapV3 = {
  readonly file: string;
  readonly version: number;
  readonly sources: string[];
  readonly sourcesContent: string[];
  readonly names: string[];
  readonly mappings: string;
  readonly sourceRoot: string;
};

/** The modules that thaw itself adds to every app; compiled to .js when thaw is installed from npm. */
const GUEST_ENTRY = fileURLToPath(new URL(`./guest/entry${extname(import.meta.url)}`, import.meta.url));

/** True for the sources, in a bundle's map, that are thaw's and not the app's. */
export const isOwnSource = (source: string): boolean => dirname(source) === dirname(GUEST_ENTRY);

/** Packages choose their build by these; the engine is closest to a browser's service worker. */
const CONDITIONS = ['workerd', 'worker', 'browser', 'import', 'module', 'default'];

/** Paths in messages are relative to where the command runs, when they are inside of it. */
export function displayPath(path: string): string {
  const inside = relative(process.cwd(), path);
  return inside.startsWith('..') ? path : inside;
}

/** Resolves the app's name in guest/entry.ts to the file, and notes who imports what, for messages. */
const appPlugin = (input: string, importers: Map<string, string>): Plugin => ({
  name: 'thaw',
  resolveId(source, importer) {
    if (source === 'thaw:app') return input;
    if (source === ENVIRONMENT) return { id: source, external: true };
    if (importer !== undefined && !importers.has(source)) importers.set(source, importer);
    return null;
  },
});

const describe = ({ message, id, loc, frame }: RolldownError): string => {
  const file = loc?.file ?? id;
  if (file === undefined) return message;
  const place = loc === undefined ? '' : `:${loc.line}:${loc.column + 1}`;
  // The first line of the message is what is wrong; the others draw what `frame` draws.
  const what = (message.split('\n')[0] ?? message).replace(/^\[\w+\] /, '');
  return `${displayPath(file)}${place}: ${what}${frame === undefined ? '' : `\n${frame}`}`;
};

function sourceError(error: unknown): ThawError {
  const errors = error instanceof Error && 'errors' in error ? (error.errors as RolldownError[]) : [];
  const text = errors.length === 0 ? messageOf(error) : errors.map(describe).join('\n\n');
  return new ThawError('BUILD_SOURCE_ERROR', text, { cause: error });
}

/** Names an import that the bundler left in: it exists nowhere, or only in Node. */
function unresolvedError(specifier: string, importer: string | undefined): ThawError {
  const who = importer === undefined ? 'the app' : displayPath(importer);
  const why = specifier.startsWith('node:')
    ? 'it is a module of Node, which the engine inside a component does not have'
    : 'it is not installed';
  return new ThawError('BUILD_SOURCE_ERROR', `${who} imports '${specifier}', but ${why}`);
}

/**
 * Bundles an app, a JavaScript or TypeScript file, with all that it imports and with thaw's wrapper, which turns
 * `export default { fetch }` into a listener. The result depends on the sources' text only, not on where they lie.
 *
 * @param input absolute path of the app's file
 * @throws ThawError BUILD_SOURCE_ERROR with file, line, column and the line itself; BUILD_TOOLS_MISSING
 */
export async function bundleApp(input: string, tools: Tools): Promise<Bundle> {
  const { rolldown } = await tools('rolldown');
  const importers = new Map<string, string>();
  try {
    await using build = await rolldown({
      input: GUEST_ENTRY,
      cwd: dirname(input),
      platform: 'neutral',
      logLevel: 'silent',
      plugins: [appPlugin(input, importers)],
      resolve: { conditionNames: CONDITIONS, mainFields: ['browser', 'module', 'main'] },
      // The engine has no `process`; packages ask it for this one thing.
      transform: { define: { 'process.env.NODE_ENV': '"production"' } },
      // Comments that name files would put paths of this machine into the snapshot.
      experimental: { attachDebugInfo: 'none' },
    });
    const { output } = await build.generate({
      format: 'esm',
      codeSplitting: false,
      comments: false,
      sourcemap: 'hidden',
      sourcemapPathTransform: (source, mapPath) => resolve(dirname(mapPath), source),
    });
    const [chunk] = output;
    const foreign = chunk.imports.find((specifier) => specifier !== ENVIRONMENT);
    if (foreign !== undefined) throw unresolvedError(foreign, importers.get(foreign));
    if (chunk.map === null) throw new ThawError('INTERNAL', 'rolldown gave no source map');
    return { code: chunk.code, map: chunk.map as unknown as SourceMapV3 };
  } catch (error) {
    throw error instanceof ThawError ? error : sourceError(error);
  }
}
