import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SILENT, handlerComponent } from '../support/wat.ts';
import { scratch, thaw } from './support.ts';

/** What a start function of a component does wrong, and what the build says of it. */
const CASES = [
  {
    name: 'calls an import',
    component: {
      imports: `
        (import "wasi:random/random@0.2.10" (instance $random (export "get-random-u64" (func (result u64)))))
        (core func $get (canon lower (func $random "get-random-u64")))
        (core instance $host (export "get" (func $get)))`,
      links: '(with "host" (instance $host))',
      core: `(import "host" "get" (func $get (result i64))) (func $seed_tables call $get drop) (start $seed_tables) ${SILENT}`,
    },
    message: /initialisation called wasi:random\/random@0\.2\.10 get-random-u64 \(from function .*seed_tables\)/,
  },
  {
    name: 'traps',
    component: { core: `(func $give_up unreachable) (start $give_up) ${SILENT}` },
    message: /instantiating the component failed: unreachable \(from function .*give_up\)/,
  },
] as const;

for (const { name, component, message } of CASES) {
  test(`thaw build tells of a start function that ${name}, and exits with 1`, async (t) => {
    const cwd = await scratch(t);
    await writeFile(join(cwd, 'guest.wasm'), await handlerComponent(component));
    const { code, stderr } = await thaw(['build', 'guest.wasm'], { cwd });
    assert.match(stderr, message);
    assert.equal(code, 1);
  });
}
