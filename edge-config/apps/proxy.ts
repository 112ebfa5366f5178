/**
 * An outbound proxy: /proxy?url=https://api.example.test/x. It may reach what its route's `allowed_outbound_hosts` names
 * and nothing else; the body of the answer is passed on as it comes in.
 */

/** Belongs to one connection, not to the message (RFC 9110, section 7.6.1), or is the proxy's own business. */
const NOT_PASSED_ON = ['connection', 'keep-alive', 'transfer-encoding', 'te', 'upgrade', 'host', 'cookie'];

function headersToPass(from: Headers): Headers {
  const headers = new Headers(from);
  for (const name of NOT_PASSED_ON) headers.delete(name);
  return headers;
}

const problem = (status: number, text: string): Response => new Response(`${text}\n`, { status });

export default {
  async fetch(request: Request): Promise<Response> {
    const target = new URL(request.url).searchParams.get('url');
    if (target === null) return problem(400, 'name a target: ?url=https://api.example.test/');
    if (request.method !== 'GET' && request.method !== 'HEAD') return problem(405, 'only GET and HEAD');
    try {
      const { method, headers } = request;
      const answer = await fetch(target, { method, headers: headersToPass(headers) });
      const passed = headersToPass(answer.headers);
      passed.set('via', '1.1 thaw');
      return new Response(answer.body, { status: answer.status, headers: passed });
    } catch (error) {
      console.error(`fetching ${target}: ${error}`);
      return problem(502, 'the target cannot be reached, or this route may not reach it');
    }
  },
};
