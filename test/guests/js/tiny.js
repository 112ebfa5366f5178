/** A second app on the same engine, the other way of registering a handler. */
let counter = 0;
console.log('tiny at build time:', new Set(['a', 'b']).size);

addEventListener('fetch', (event) => event.respondWith(new Response(`tiny ${++counter}\n`)));
