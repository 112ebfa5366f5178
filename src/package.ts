import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The package that this code is part of: a checkout, where sources run, or an installed package, which has dist/ only. */

/** The directory of package.json. Compiled modules lie deeper than their sources, so it is searched upwards. */
export const PACKAGE_ROOT = findRoot(import.meta.dirname);

function findRoot(directory: string): string {
  return existsSync(join(directory, 'package.json')) ? directory : findRoot(dirname(directory));
}

type PackageJson = {
  readonly version: string;
  readonly optionalDependencies: Readonly<Record<string, string>>;
};

export const readPackageJson = (): PackageJson =>
  JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as PackageJson;
