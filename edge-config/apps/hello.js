/** The smallest app. Every request sees the state that was frozen: `visits` is 1 for everybody, always. */
let visits = 0;

export default {
  fetch(request, env) {
    visits++;
    const { pathname } = new URL(request.url);
    return new Response(`${env.GREETING ?? 'Hello'} from ${pathname}, visit ${visits}\n`);
  },
};
