/**
 * The app whose image is the base layer of all apps; see engine.ts. It is what most apps begin with, since the more an
 * app has in common with it, the smaller its delta is.
 */
export default {
  fetch(request: Request): Response {
    return new Response(`${request.method} ${new URL(request.url).pathname}\n`);
  },
};
