/** Sends `count` requests to `url` at once, and says how each ended: its status, or "error". */
export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url);
    const send = async () => (await fetch(searchParams.get('url'))).status;
    const ends = await Promise.allSettled(Array.from({ length: Number(searchParams.get('count')) }, send));
    return Response.json(ends.map(({ value }) => value ?? 'error'));
  },
};
