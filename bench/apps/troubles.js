/** What a request can do beside answering: let its memory grow, and throw. */
const MEBIBYTE = 1_048_576;
const kept = [];

export default {
  fetch(request) {
    switch (new URL(request.url).pathname) {
      case '/grow':
        kept.push(new Uint8Array(MEBIBYTE).fill(1));
        return new Response(`${kept.length}`);
      case '/throw':
        throw new TypeError('thrown on purpose');
      default:
        return new Response('no trouble');
    }
  },
};
