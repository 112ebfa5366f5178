/** A handler that takes all the time that it gets. */
export default {
  fetch() {
    for (;;);
  },
};
