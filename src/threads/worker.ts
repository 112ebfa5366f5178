import { parentPort, workerData } from 'node:worker_threads';
import { invariant } from '../errors.ts';
import { createLogger } from '../log.ts';
import type { ObjectRef } from '../snapshot/manifest.ts';
import type { Digest } from '../wasm/plan.ts';
import { DataPlane } from './data-plane.ts';
import { outcomeOf, valueOf, type FromWorker, type PlaneInput, type ToWorker } from './protocol.ts';

/** The entry of a serving thread: a data plane that is told what to do by messages. */

const port = parentPort;
invariant(port !== null, 'a worker has a parent');

const post = (message: FromWorker): void => port.postMessage(message);

/** Compilations that the control thread was asked for. */
const awaited = new Map<Digest, PromiseWithResolvers<WebAssembly.Module>>();

function compile(code: ObjectRef, role: string): Promise<WebAssembly.Module> {
  const module = Promise.withResolvers<WebAssembly.Module>();
  awaited.set(code.digest, module);
  post({ kind: 'compile', code, role });
  return module.promise;
}

const plane = new DataPlane({ ...(workerData as PlaneInput), log: createLogger(), compile });

async function answer(call: number, work: Promise<unknown>): Promise<void> {
  post({ kind: 'answer', call, outcome: await outcomeOf(work) });
}

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'listen':
      void answer(message.call, plane.listen(message.port));
      break;
    case 'report':
      void answer(message.call, plane.report());
      break;
    case 'drain':
      void answer(message.call, plane.drain());
      break;
    case 'compiled': {
      const module = awaited.get(message.digest);
      awaited.delete(message.digest);
      if (message.outcome.kind === 'value') module?.resolve(message.outcome.value);
      else module?.reject(errorOf(message.outcome));
      break;
    }
  }
});

function errorOf(outcome: Parameters<typeof valueOf>[0]): unknown {
  try {
    return valueOf(outcome);
  } catch (error) {
    return error;
  }
}
