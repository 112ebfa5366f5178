import { monotonicClock, wallClock } from './clocks.ts';
import { cliInterfaces } from './cli.ts';
import { filesystemInterfaces } from './filesystem.ts';
import { Host, type HostInterface } from './host.ts';
import { httpOutgoingHandler } from './http-outgoing.ts';
import { httpTypes } from './http-types.ts';
import { ioError, ioPoll, ioStreams } from './io.ts';
import { randomInterfaces } from './random.ts';
import { socketsInterfaces } from './sockets.ts';

const INTERFACES: readonly HostInterface[] = [
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
];

/**
 * The host of all guests: wasi:http/proxy@0.2 and what real components import besides. Made once per thread.
 *
 * @param replacements interfaces that take the place of those of the same name: tests bring a clock and randomness that
 * repeat
 */
export const createHost = (replacements: readonly HostInterface[] = []): Host =>
  new Host(INTERFACES.map((own) => replacements.find(({ name }) => name === own.name) ?? own));
