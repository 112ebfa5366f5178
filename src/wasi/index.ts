import { monotonicClock, wallClock } from './clocks.ts';
import { cliInterfaces } from './cli.ts';
import { filesystemInterfaces } from './filesystem.ts';
import { Host } from './host.ts';
import { httpOutgoingHandler } from './http-outgoing.ts';
import { httpTypes } from './http-types.ts';
import { ioError, ioPoll, ioStreams } from './io.ts';
import { randomInterfaces } from './random.ts';
import { socketsInterfaces } from './sockets.ts';

/** The host of all guests: wasi:http/proxy@0.2 and what real components import besides. Made once per thread. */
export const createHost = (): Host =>
  new Host([
    ioError,
    ioPoll,
    ioStreams,
    monotonicClock,
    wallClock,
    ...randomInterfaces,
    ...cliInterfaces,
    ...filesystemInterfaces,
    ...socketsInterfaces,
    httpTypes,
    httpOutgoingHandler,
  ]);
