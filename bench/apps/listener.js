/** The same answer as hello.js, from a listener: nothing of thaw's stands between the engine and the app. */
addEventListener('fetch', (event) => event.respondWith(new Response(`Hello ${new URL(event.request.url).pathname}`)));
