import { createServer, isIPv6, type AddressInfo, type Server } from 'node:net';
import { ThawError, messageOf } from '../errors.ts';

type Where = { readonly host: string; readonly port: number; readonly reusePort: boolean };

/** @returns the address as a URL, with the real port @throws ThawError LISTEN_FAILED */
export function listenOn(server: Server, where: Where): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const refuse = (cause: Error): void => {
    reject(
      new ThawError('LISTEN_FAILED', `opening the listener on ${where.host} port ${where.port}: ${messageOf(cause)}`, {
        cause,
      }),
    );
  };
  server.once('error', refuse);
  server.listen(where, () => {
    server.off('error', refuse);
    const { address, port } = server.address() as AddressInfo;
    resolve(`http://${isIPv6(address) ? `[${address}]` : address}:${port}`);
  });
  return promise;
}

/**
 * Looks whether nobody listens at an address. Threads share a port (SO_REUSEPORT), and so would another node of the same
 * user: the kernel would give each a part of the connections, without a word.
 *
 * @throws ThawError LISTEN_FAILED
 */
export async function expectFreePort(host: string, port: number): Promise<void> {
  const probe = createServer((socket) => socket.destroy());
  await listenOn(probe, { host, port, reusePort: false });
  await new Promise((resolve) => probe.close(resolve));
}
