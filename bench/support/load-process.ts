/** A load generator in a process of its own: a {@link LoadJob} as JSON on stdin, what came of it as JSON on stdout. */
import { text } from 'node:stream/consumers';
import { perform, type LoadJob } from './load-jobs.ts';

const result = await perform(JSON.parse(await text(process.stdin)) as LoadJob);
// Answers that are still awaited must not keep it.
process.stdout.write(JSON.stringify(result), () => process.exit(0));
