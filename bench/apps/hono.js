/** A framework from npm: routes with parameters and a middleware, set up at the top level. */
import { Hono } from 'hono';

const app = new Hono();

app.use('*', async (c, next) => {
  await next();
  c.header('x-powered-by', 'hono');
});
app.get('/', (c) => c.text('home'));
app.get('/hello/:name', (c) => c.text(`Hello ${c.req.param('name')}`));
app.get('/numbers/:number{[0-9]+}', (c) => c.json({ number: Number(c.req.param('number')) }));
app.notFound((c) => c.text('not here', 404));

export default app;
