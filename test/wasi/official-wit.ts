import { readFile, readdir } from 'node:fs/promises';
import { componentEmbed, preview1AdapterReactorPath } from '@bytecodealliance/jco';
import { parseModule } from '../../src/wasm/module.ts';
import type { CoreFuncType } from '../../src/wasm/plan.ts';
import { importedFunctionTypes } from '../../src/wasm/signatures.ts';

/** What wit-component, by way of jco, makes of the official WIT: an oracle for the names and the core types of imports. */
export type OfficialImport = { readonly from: string; readonly name: string; readonly core: CoreFuncType };

/** `import` everything that a proxy or a command may: no other WASI 0.2 interface is stable. */
const WORLD = `
package thaw:test;
world everything {
  include wasi:http/proxy@0.2.12;
  include wasi:cli/imports@0.2.12;
}
`;

/** The official packages as nested ones, so that a single text holds them all. */
async function packages(): Promise<string> {
  const bundled = new URL('./wit/builtin/0.2.12/', preview1AdapterReactorPath());
  const names = await readdir(bundled);
  const texts = await Promise.all(names.map((name) => readFile(new URL(`${name}/package.wit`, bundled), 'utf8')));
  return texts.map((text) => text.replace(/^package ([^;]*);([^]*)$/, 'package $1 {$2}')).join('\n');
}

/** `cm32p2|wasi:io/poll@0.2`, wit-component's names for core imports. */
const MODULE = /^cm32p2\|(.*)@0\.2$/;

/** The imports of a dummy core module that wit-component made for the world. Resource drops are named `<name>_drop`. */
export async function officialImports(): Promise<readonly OfficialImport[]> {
  const witSource = WORLD + (await packages());
  const dummy = await componentEmbed({ witSource, world: 'everything', dummy: true });
  return importedFunctionTypes(parseModule(dummy)).map(({ module, name, type }) => {
    const from = MODULE.exec(module)?.[1];
    if (from === undefined) throw new Error(`the dummy module imports ${module}`);
    return { from, name, core: type };
  });
}
