/** The handler that thaw and its peers run: the smallest that looks at its request. */
export default {
  fetch(request) {
    return new Response(`Hello ${new URL(request.url).pathname}`);
  },
};
