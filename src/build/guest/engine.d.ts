/**
 * What the app's engine, StarlingMonkey, gives to the modules of this folder and @types/node does not declare. These
 * modules are bundled into every app; they never run in Node.
 */

/** The app itself: the bundler resolves this name to the file that is built. */
declare module 'thaw:app' {
  const app: unknown;
  export default app;
}

/** Calls the import of the component, so it can only be called while a request is handled. */
declare module 'wasi:cli/environment@0.2.10' {
  export function getEnvironment(): [name: string, value: string][];
}

type EngineFetchEvent = {
  readonly request: Request;
  respondWith(response: Response | Promise<Response>): void;
  waitUntil(work: Promise<unknown>): void;
};

declare function addEventListener(type: 'fetch', listener: (event: EngineFetchEvent) => void): void;
