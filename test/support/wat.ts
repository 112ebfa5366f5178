import { buildTools } from '../../src/build/tools.ts';

const tools = buildTools();

/** The binary of a text of WebAssembly, module or component. */
export const parseWat = async (text: string): Promise<Uint8Array> => (await tools('@bytecodealliance/jco')).parse(text);

export type Handler = {
  /** Imports and canon lowers on the component level. */
  readonly imports?: string;
  /** `(with …)` clauses for the core module. */
  readonly links?: string;
  /** Fields of the core module, which exports `handle`. */
  readonly core: string;
};

/** The text of a component whose handler is one core module. */
export const handlerText = ({ imports = '', links = '', core }: Handler): string => `
(component
  (import "wasi:http/types@0.2.10" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $incoming-request))
  (alias export $types "response-outparam" (type $response-outparam))
  ${imports}
  (core module $App ${core})
  (core instance $app (instantiate $App ${links}))
  (func $handle
    (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $app "handle")))
  (component $Handler
    (import "incoming-request" (type $request (sub resource)))
    (import "response-outparam" (type $outparam (sub resource)))
    (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))))
    (export $exported-request "incoming-request" (type $request))
    (export $exported-outparam "response-outparam" (type $outparam))
    (export "handle" (func $handle)
      (func (param "request" (own $exported-request)) (param "response-out" (own $exported-outparam)))))
  (instance $handler
    (instantiate $Handler
      (with "incoming-request" (type $incoming-request))
      (with "response-outparam" (type $response-outparam))
      (with "handle" (func $handle))))
  (export "wasi:http/incoming-handler@0.2.10" (instance $handler)))`;

export const handlerComponent = (handler: Handler): Promise<Uint8Array> => parseWat(handlerText(handler));

/** A handler that answers nothing. */
export const SILENT = '(func (export "handle") (param i32 i32))';

/**
 * A component that answers nothing, with `data` at address 0. Those with equal `code` have equal code, whatever their
 * data and number of memory pages.
 */
export const silentComponent = (data: string, { code = 0, pages = 1 } = {}): Promise<Uint8Array> =>
  handlerComponent({
    core: `(memory (export "memory") ${pages}) (data (i32.const 0) "${data}")
      (func (export "code") (result i32) (i32.const ${code}))
      (func (export "dirty") (i32.store (i32.const 64) (i32.const 1)))
      ${SILENT}`,
  });
