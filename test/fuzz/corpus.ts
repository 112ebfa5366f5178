import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildGuest } from '../guests/build.ts';
import { SILENT, handlerComponent, parseWat, silentComponent } from '../support/wat.ts';
import { FAMILIES } from '../wasm/fixtures/families.ts';

/** What is mutated. Small files, most of them: a mutation of one hits something that matters, and costs little. */
export type Corpus = {
  readonly components: readonly Uint8Array[];
  readonly modules: readonly Uint8Array[];
  /** A component with a whole JavaScript engine, 14 MB. */
  readonly engine: Uint8Array;
};

const FIXTURES = join(import.meta.dirname, '../wasm/fixtures');

const fixture = async (name: string): Promise<Uint8Array> =>
  parseWat(await readFile(join(FIXTURES, `${name}.wat`), 'utf8'));

/** A start function, data, globals, a table, memory.grow and a loop: all that the rewriter works on. */
const STATEFUL = `(memory (export "memory") 2 9) (global $count (mut i32) (i32.const 7)) (global $ratio (mut f64) (f64.const 0.5))
  (table funcref (elem $init $work)) (data (i32.const 8) "data") (data "passive")
  (func $init (global.set $count (memory.size)))
  (func $work (loop $l (drop (memory.grow (i32.const 1))) (br_if $l (i32.eqz (global.get $count)))))
  (start $init) ${SILENT}`;

/** A function with every kind of type that WASI interfaces have. */
const TYPES = `(component
  (import "test:types/all@0.2.1" (instance $all
    (export "thing" (type $thing (sub resource)))
    (type $pair (record (field "first" u8) (field "second" (option string))))
    (export "pair" (type $p (eq $pair)))
    (type $kind (enum "one" "two" "three")) (export "kind" (type $k (eq $kind)))
    (type $choice (variant (case "none") (case "some" (list $p)) (case "thing" (own $thing))))
    (export "choice" (type $c (eq $choice)))
    (export "[method]thing.use" (func (param "self" (borrow $thing)) (param "kind" $k) (result (result $c (error string)))))
    (export "[constructor]thing" (func (param "values" (list (tuple f32 f64 s64))) (result (own $thing))))))
  (core module $Memory (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (alias export $all "thing" (type $thing))
  (core func $use (canon lower (func $all "[method]thing.use") (memory $mem) (realloc $realloc) string-encoding=utf16))
  (core func $drop (canon resource.drop $thing))
  (core module $App
    (import "all" "use" (func (param i32 i32 i32))) (import "all" "drop" (func (param i32)))
    (func (export "run") (call 0 (i32.const 1) (i32.const 2) (i32.const 16)) (call 1 (i32.const 1))))
  (core instance $app (instantiate $App
    (with "all" (instance (export "use" (func $use)) (export "drop" (func $drop))))))
  (func $run (canon lift (core func $app "run")))
  (instance $exports (export "run" (func $run)))
  (export "test:types/runs@1.0.0" (instance $exports)))`;

export async function loadCorpus(): Promise<Corpus> {
  const components = await Promise.all([
    ...['env', 'nested', 'shim'].map(fixture),
    silentComponent('silent'),
    handlerComponent({ core: STATEFUL }),
    parseWat(TYPES),
    buildGuest('wat-two'),
  ]);
  const modules = await Promise.all([`(module ${STATEFUL})`, ...FAMILIES.map(({ wat }) => wat)].map(parseWat));
  return { components, modules, engine: await buildGuest('js-tiny') };
}
