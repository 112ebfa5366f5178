/** Has two constants that benches vary in its image: an app of its own for each value. Of fixed length, found by value. */
const APP = 'app-000000000000';
const ROUTE = 'route-0000000000';

export default {
  fetch() {
    return new Response(`${APP} ${ROUTE}`);
  },
};
