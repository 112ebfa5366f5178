import { isIP } from 'node:net';

/** The host of a Host header, lower-case, without port and brackets. Null when the header is not `host[:port]`. */
function hostOf(header: string): string | null {
  const match = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[^:[\]]+))(?::\d*)?$/i.exec(header);
  return (match?.groups?.['v6'] ?? match?.groups?.['name'])?.toLowerCase() ?? null;
}

/**
 * Whether a request with this Host header is for us. A page on the web can point its own name at 127.0.0.1 and then read
 * what the browser fetches from there as its own (DNS rebinding); its Host header gives it away. So only names that no
 * page can own are taken: an IP literal, `localhost`, and the name that the operator bound the listener to. A request
 * without Host (HTTP/1.0) does not come from a browser.
 */
export function isTrustedHost(header: string | undefined, boundTo: string): boolean {
  if (header === undefined) return true;
  const host = hostOf(header);
  return host !== null && (isIP(host) !== 0 || host === 'localhost' || host === boundTo.toLowerCase());
}
