import { ThawError, messageOf } from '../errors.ts';
import { readPackageJson } from '../package.ts';

/** What each optional package gives. They weigh 340 MB and an edge box has none of them: never import one statically. */
type ToolModules = {
  '@bytecodealliance/jco': typeof import('@bytecodealliance/jco');
  '@bytecodealliance/componentize-js': typeof import('@bytecodealliance/componentize-js');
  /** The path of Wizer's executable for this platform. */
  '@bytecodealliance/wizer': { readonly default: string };
  rolldown: typeof import('rolldown');
};

type ToolName = keyof ToolModules;

/** Imports a package by name; `import()` itself, except in tests. */
export type Importer = (specifier: string) => Promise<unknown>;

/** Loads a build tool on first use. */
export type Tools = <Name extends ToolName>(name: Name) => Promise<ToolModules[Name]>;

const MISSING = new Set<unknown>(['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND', 'ERR_PACKAGE_PATH_NOT_EXPORTED']);

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);

/** The version of an optional package that this version of thaw was tested with. */
const wantedVersion = (name: ToolName): string => readPackageJson().optionalDependencies[name] ?? 'latest';

/** Wizer's package loads on every platform, but its executable is a package of its own that some platforms lack. */
const isWizerWithoutExecutable = (name: ToolName, error: unknown): boolean =>
  name === '@bytecodealliance/wizer' && codeOf(error) === undefined;

/**
 * A loader of the optional build tools.
 *
 * The loader throws BUILD_TOOLS_MISSING, with the package and the npm command, when a tool is not installed or not made
 * for this platform, and BUILD_TOOL_FAILED when it is installed and cannot be loaded.
 */
export function buildTools(importer: Importer = (specifier) => import(specifier)): Tools {
  return async <Name extends ToolName>(name: Name): Promise<ToolModules[Name]> => {
    try {
      return (await importer(name)) as ToolModules[Name];
    } catch (cause) {
      if (isWizerWithoutExecutable(name, cause)) {
        throw new ThawError(
          'BUILD_TOOLS_MISSING',
          `${name} ${wantedVersion(name)} has no executable for ${process.platform}-${process.arch} here ` +
            `(${messageOf(cause)}): snapshots are portable, so build on x64 and copy the store`,
          { cause },
        );
      }
      if (MISSING.has(codeOf(cause))) {
        throw new ThawError(
          'BUILD_TOOLS_MISSING',
          `the build needs the package ${name}, which is not installed: npm install ${name}@${wantedVersion(name)}`,
          { cause },
        );
      }
      throw new ThawError('BUILD_TOOL_FAILED', `loading ${name}: ${messageOf(cause)}`, { cause });
    }
  };
}
