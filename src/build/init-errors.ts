import { SourceMap } from 'node:module';
import { ThawError } from '../errors.ts';
import { displayPath, isOwnSource } from './bundle.ts';
import type { SourceMapV3 } from './bundle.ts';

/** A place in the app's sources; line and column count from 1, `text` is the line. */
type Place = { readonly file: string; readonly line: number; readonly column: number; readonly text: string };

/** Frames of a stack that are worth showing: an endless recursion has thousands. */
const MAX_FRAMES = 8;

const show = ({ file, line, column }: Place): string => `${displayPath(file)}:${line}:${column}`;

const frame = ({ line, column, text }: Place): string =>
  `${line}: ${text}\n${' '.repeat(`${line}: `.length + column - 1)}^`;

/** Where a place of the bundle came from, or undefined for thaw's own wrapper. */
function mapPlace(map: SourceMap, payload: SourceMapV3, line: number, column: number): Place | undefined {
  const entry = map.findEntry(line - 1, column - 1);
  if (!('originalSource' in entry) || isOwnSource(entry.originalSource)) return undefined;
  const { originalSource, originalLine, originalColumn } = entry;
  const source = payload.sourcesContent[payload.sources.indexOf(originalSource)] ?? '';
  const text = source.split('\n')[originalLine] ?? '';
  return { file: originalSource, line: originalLine + 1, column: originalColumn + 1, text };
}

/** The frames `name@app.js:1:69` of the engine's report that lie in the app, as places of its sources. */
function appFrames(report: string, payload: SourceMapV3): { readonly name: string; readonly place: Place }[] {
  const map = new SourceMap(payload);
  const frames = [];
  for (const [, name = '', line, column] of report.matchAll(/^ *(\S*)@app\.js:(\d+):(\d+)$/gm)) {
    const place = mapPlace(map, payload, Number(line), Number(column));
    if (place !== undefined) frames.push({ name, place });
    if (frames.length === MAX_FRAMES) break;
  }
  return frames;
}

/** What is said of an exception: `TypeError: boom`, with the engine's own place taken off. */
const exceptionText = (report: string): string =>
  /^Exception while evaluating top-level script\n(?:app\.js:\d+:\d+ )?(.*)$/m.exec(report)?.[1] ?? 'an exception';

function exceptionError(file: string, report: string, map: SourceMapV3): ThawError {
  const frames = appFrames(report, map);
  const top = frames[0]?.place;
  const where = top === undefined ? displayPath(file) : show(top);
  const drawing = top === undefined ? '' : `\n${frame(top)}`;
  const what = exceptionText(report);
  if (what.endsWith('thaw:no-handler')) {
    return new ThawError('BUILD_NO_HANDLER', `${displayPath(file)} has no fetch handler`);
  }
  const random = /thaw:random (.*)$/.exec(what);
  if (random !== null) {
    return new ThawError('BUILD_INIT_RANDOM', `${where}: ${random[1]} is called at the top level${drawing}`);
  }
  const stack = frames
    .slice(1)
    .map(({ name, place }) => `\n    from ${name === '' ? 'the top level' : name} ${show(place)}`);
  return new ThawError('BUILD_INIT_FAILED', `${where}: at the top level: ${what}${drawing}${stack.join('')}`);
}

/** The words of Wizer 10 and of Wizer 11 for a call out of the module. */
const IMPORT_CALLS = [
  /attempted to call an unknown imported function: '([^']*)' '([^']*)'/,
  /unknown import: `(.*)::(.*?)` has not been defined/,
];

/** `interface` and `func` of the import that initialisation called, according to Wizer, or undefined. */
export function calledImport(wizerError: string): { readonly interface: string; readonly func: string } | undefined {
  const match = IMPORT_CALLS.map((pattern) => pattern.exec(wizerError)).find((found) => found !== null);
  return match === undefined ? undefined : { interface: match[1] ?? '', func: match[2] ?? '' };
}

/**
 * Says what went wrong while the top level of an app ran at build time.
 *
 * @param file the app's file @param report what componentize-js and Wizer printed @param map of the app's bundle
 */
export function initError(file: string, report: string, map: SourceMapV3): ThawError {
  if (report.includes('Exception while evaluating top-level script')) return exceptionError(file, report, map);
  const called = calledImport(report);
  if (called?.interface.startsWith('wasi:random/') === true) {
    return new ThawError(
      'BUILD_INIT_RANDOM',
      `${displayPath(file)} uses random numbers at the top level (${called.interface} ${called.func})`,
    );
  }
  if (called !== undefined) {
    return new ThawError(
      'BUILD_INIT_CALLS_IMPORT',
      `the top level of ${displayPath(file)} calls ${called.interface} ${called.func}`,
    );
  }
  const trap = /wasm trap: (.*)/.exec(report);
  if (trap !== null) {
    const said = report.split('\n\nError: the `componentize.wizer` function trapped')[0]?.trim() ?? '';
    return new ThawError(
      'BUILD_INIT_FAILED',
      `the top level of ${displayPath(file)} trapped: ${trap[1]}\n${said}`.trim(),
    );
  }
  return new ThawError('BUILD_TOOL_FAILED', `componentizing ${displayPath(file)}: ${report.trim()}`);
}
