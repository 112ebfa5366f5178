/** One app with many routes: each does what some test asks of the host. Building an app takes seconds. */

let counter = 0;
const kept = [];

const parameter = (url, name, fallback) => url.searchParams.get(name) ?? String(fallback);
const number = (url, name, fallback) => Number(parameter(url, name, fallback));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const text = (body, init) => new Response(`${body}\n`, init);

/** Passes the request on: method, headers and body. */
const proxy = (request, url) => {
  const { method, headers } = request;
  const body = method === 'GET' || method === 'HEAD' ? undefined : request.body;
  return fetch(parameter(url, 'url', ''), { method, headers, body });
};

/** `bytes` bytes, made chunk by chunk as they are asked for: byte i of the body is i modulo 251. */
function stream(url) {
  const bytes = number(url, 'bytes', 1_000_000);
  const chunkBytes = number(url, 'chunk', 16_384);
  let sent = 0;
  const pull = (controller) => {
    const chunk = new Uint8Array(Math.min(chunkBytes, bytes - sent));
    for (let i = 0; i < chunk.length; i++) chunk[i] = (sent + i) % 251;
    sent += chunk.length;
    if (chunk.length > 0) controller.enqueue(chunk);
    if (sent === bytes) controller.close();
  };
  return new Response(new ReadableStream({ pull }), { headers: { 'content-type': 'application/octet-stream' } });
}

const randomNumbers = () =>
  Response.json({
    random: Math.random(),
    uuid: crypto.randomUUID(),
    values: Array.from(crypto.getRandomValues(new Uint32Array(2))),
  });

/** Ways to take as much time as there is. Each by another part of the engine or of the host. */
const endless = {
  loop: () => {
    for (;;);
  },
  catching: () => {
    for (;;) {
      try {
        null.property;
      } catch {
        // Goes on, whatever happens.
      }
    }
  },
  regex: () => text(/^(a+)+$/.test(`${'a'.repeat(60)}!`)),
  sort: () => text(new Int32Array(10_000_000).sort((a, b) => b - a)[0]),
  recursion: () => {
    // Twice at each depth: the engine's own limit of the depth does not end it.
    const descend = () => {
      try {
        descend();
      } finally {
        descend();
      }
    };
    descend();
  },
  microtasks: async () => {
    for (;;) await null;
  },
  timers: async () => {
    for (;;) await sleep(0);
  },
  hostcalls: () => {
    for (;;) performance.now();
  },
};

const routes = {
  '/hello': () => text('hello from JavaScript'),
  '/counter': () => text(++counter),
  '/echo': (request) =>
    new Response(request.body, {
      headers: { 'content-type': request.headers.get('content-type') ?? 'application/octet-stream' },
    }),
  '/headers': (request) => Response.json(Object.fromEntries(request.headers)),
  '/method': (request) => text(request.method),
  '/url': (request) => text(request.url),
  '/env': (_request, _url, env) => Response.json(env),
  '/random': randomNumbers,
  '/time': () => Response.json({ date: Date.now(), performance: performance.now() }),
  '/sleep': async (_request, url) => {
    await sleep(number(url, 'ms', 10));
    return text('slept');
  },
  '/fetch': proxy,
  '/stream': (_request, url) => stream(url),
  '/after': (_request, url, _env, ctx) => {
    const work = async () => {
      await sleep(number(url, 'ms', 10));
      console.log('work after the response is done');
    };
    ctx.waitUntil(work());
    return text('answered');
  },
  '/throw': () => {
    throw new TypeError('thrown on purpose');
  },
  '/undefined': () => undefined,
  '/log': () => {
    console.log('to stdout');
    console.error('to stderr');
    return text('logged');
  },
  '/status': (_request, url) => new Response(null, { status: number(url, 'code', 200) }),
  '/set-headers': () =>
    new Response('several headers\n', {
      headers: [
        ['x-one', '1'],
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ],
    }),
  '/grow': (_request, url) => {
    kept.push(new Uint8Array(number(url, 'mb', 1) * 1_048_576).fill(kept.length + 1));
    return text(kept.length);
  },
  '/spin': (_request, url) => endless[parameter(url, 'how', 'loop')](),
  // The head is out and the first chunk is on its way when the loop begins.
  '/stream-spin': () => {
    let chunks = 0;
    const pull = async (controller) => {
      if (++chunks === 1) return controller.enqueue(new Uint8Array(16));
      await sleep(20);
      for (;;);
    };
    return new Response(new ReadableStream({ pull }));
  },
  '/recurse': () => {
    const descend = (depth) => 1 + descend(depth + 1);
    return text(descend(0));
  },
};

export default {
  fetch(request, env, ctx) {
    const url = new URL(request.url);
    const route = routes[url.pathname];
    return route === undefined ? text('no such route', { status: 404 }) : route(request, url, env, ctx);
  },
};
